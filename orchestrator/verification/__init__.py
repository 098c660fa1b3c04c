"""Which checks an answer gets: from the query, and from the configuration."""
