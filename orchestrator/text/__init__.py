"""Text to words, pieces and vectors, for whoever needs them: memory, the router, students."""
