"""The models at hand: built from the configuration, found on this machine, measured, and their memory."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
