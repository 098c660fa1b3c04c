"""orchestrator.yaml: its models, and mistakes with their place."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
