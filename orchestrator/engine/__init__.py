"""One query from recall to answer."""
