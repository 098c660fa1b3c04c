"""The provider table: everything in which one API differs from another, as data."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
