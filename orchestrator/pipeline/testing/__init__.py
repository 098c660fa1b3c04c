"""Tests that stand in a pipeline's file, with models and tools played."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
