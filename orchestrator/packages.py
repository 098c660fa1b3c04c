"""Packages that come with extras: what is missing is told before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from orchestrator.errors import ConfigError

NAMES = {"sklearn": "scikit-learn", "python_multipart": "python-multipart", "prometheus_client": "prometheus-client"}
"""How packages are called whose modules have other names."""


def need_packages(what: str, extra: str, modules: Iterable[str], *, otherwise: str = "") -> None:
    """Raises `ConfigError` where `what` needs modules that are not installed; `extra` brings them."""
    missing = [NAMES.get(name, name) for name in modules if find_spec(name) is None]
    if missing:
        remedy = f"pip install 'compound-orchestrator[{extra}]'{otherwise}"
        raise ConfigError(f"{what} needs {', '.join(missing)}", remedy=remedy)
