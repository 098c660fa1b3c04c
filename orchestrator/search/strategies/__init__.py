"""Strategies: pure functions from the state of a search to its next actions. One file each."""
