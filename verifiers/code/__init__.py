"""Checks of programs: unit tests, and what programs do on the same inputs."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
