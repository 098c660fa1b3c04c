"""Checks that a step can ask for."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
