"""Which policy is best for a price, learned from graded answers."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
