"""What an answer says, and when two are the same."""
