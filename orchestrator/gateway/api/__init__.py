"""The operations of the API, one dialect or resource a file."""
