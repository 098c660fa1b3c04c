"""Checks by name, for both YAML languages: `checks:` of a configuration and `verify:` of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.backends.base import Backend
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonValue
from orchestrator.packages import need_packages
from orchestrator.plugins.entry_points import PluginError
from orchestrator.verification.judging import judge_of
from orchestrator.verifiers import Verifier
from orchestrator.verifiers.registry import make_verifier, verifier_names

NEED_MODELS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Backend]], Verifier]] = {"judge": judge_of}
"""Checks that ask a model of the fleet."""
NEED_PACKAGES = {"language": "py3langid"}
"""Checks that pass nothing and fail nothing without a package, which an extra of the check's name brings."""


def check_names() -> tuple[str, ...]:
    """Every name that `checks:` and `verify:` take."""
    return (*verifier_names(), *NEED_MODELS)


def make_check(name: str, settings: JsonValue, backends: Mapping[str, Backend]) -> Verifier:
    """The verifier behind a name with settings as they stand in a file.

    Raises `ConfigError` on one that cannot be made.
    """
    if name in NEED_PACKAGES:
        need_packages(f"the check {name!r}", name, [NEED_PACKAGES[name]])
    try:
        if name in NEED_MODELS:
            return NEED_MODELS[name](settings, backends)
        return make_verifier(name, settings)
    except KeyError:
        raise ConfigError(f"there is no check {name!r}", remedy=f"There are: {', '.join(check_names())}") from None
    except PluginError as error:
        raise ConfigError(f"the check {error}", remedy="Reinstall its package") from None
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigError(f"the check {name!r} cannot be made: {error}", remedy="See docs/verification.md") from None
