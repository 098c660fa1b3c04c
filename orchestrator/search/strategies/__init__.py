"""Strategies: pure functions from the state of a search to its next actions. One file each."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
