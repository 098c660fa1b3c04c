"""Promised quality: certificates, and the monitor that withdraws them."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
