"""Checks that the configuration names, which every answer gets."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.backends.base import Backend
from orchestrator.config.checks import ChecksConfig
from orchestrator.verification.registry import make_check
from orchestrator.verifiers import Verifier


def checks_from_config(config: ChecksConfig, backends: Mapping[str, Backend]) -> list[Verifier]:
    """Raises `ConfigError` on a check that cannot be made, or a judge that is not in the fleet."""
    return [make_check(name, settings, backends) for name, settings in config.stated().items()]
