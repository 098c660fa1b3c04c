"""One query from recall to answer."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
