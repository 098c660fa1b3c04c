"""What a query looks like to the router, as numbers."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
