"""Documents and chat logs, read into records."""
