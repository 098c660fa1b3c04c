"""One lookup for all kinds of plugins.

Another package names what it adds in its pyproject.toml:

    [project.entry-points."orchestrator.verifiers"]
    polite = "my_package:PoliteVerifier"

Nothing is imported before it is used by its name.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

VERIFIERS = "orchestrator.verifiers"
ENCODERS = "orchestrator.encoders"
BACKENDS = "orchestrator.backends"
STRATEGIES = "orchestrator.strategies"
STEPS = "orchestrator.steps"
GROUPS = (VERIFIERS, ENCODERS, BACKENDS, STRATEGIES, STEPS)


class PluginError(OrchestratorError, ImportError):
    """A plugin that is installed cannot be used."""

    code = "plugin"


def plugin_names(group: str) -> tuple[str, ...]:
    """The names of all plugins of a kind, in alphabetical order."""
    return tuple(sorted(_points(group)))


def load_plugin(group: str, name: str) -> Any:
    """The class or function behind a name.

    Raises `KeyError` on a name that no package registers, `PluginError` on what cannot be imported or called.
    """
    point = _points(group)[name]
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # the code of another package may raise anything while it is imported
        raise PluginError(f"{name!r} ({point.value}) cannot be loaded: {_told(error)}") from error
    if not callable(found):
        raise PluginError(f"{name!r} ({point.value}) is neither a class nor a function")
    return found


def make_plugin(
    group: str, name: str, *arguments: object, needs: tuple[str, ...] = (), settings: Mapping[str, object] | None = None
) -> Any:
    """What the function or class behind a name makes of `arguments` and `settings`; it has the attributes in `needs`.

    Raises `KeyError` on a name that no package registers, `PluginError` on one that cannot be imported or called, or
    that makes something else.
    """
    maker = load_plugin(group, name)
    try:
        made = maker(*arguments, **(settings or {}))
    except (Exception, SystemExit) as error:  # nor is it known what its functions raise
        raise PluginError(f"{name!r} ({where_from(group, name)}) cannot be made: {_told(error)}") from error
    if missing := [attribute for attribute in needs if not hasattr(made, attribute)]:
        told = f"makes a {type(made).__name__}, which has no {missing[0]!r}"
        raise PluginError(f"{name!r} ({where_from(group, name)}) {told}")
    return made


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"


def where_from(group: str, name: str) -> str:
    """The module and attribute that a plugin's package names for it, for messages."""
    return _points(group)[name].value


def _points(group: str) -> dict[str, EntryPoint]:
    return _installed(group, tuple(sys.path))


@lru_cache(maxsize=len(GROUPS))
def _installed(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """The entry points of a kind that are installed on `path`: reading them takes milliseconds, and queries ask."""
    from importlib import metadata  # most processes need none of it

    return {point.name: point for point in metadata.entry_points(group=group)}
