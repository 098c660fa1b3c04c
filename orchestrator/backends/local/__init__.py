"""Models that need no server: the calculator, and answers quoted from memory."""
