"""One lookup for all kinds of plugins.

Another package names what it adds in its pyproject.toml:

    [project.entry-points."orchestrator.verifiers"]
    polite = "my_package:PoliteVerifier"

Nothing is imported before it is used by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

VERIFIERS = "orchestrator.verifiers"
ENCODERS = "orchestrator.encoders"
BACKENDS = "orchestrator.backends"
STRATEGIES = "orchestrator.strategies"
STEPS = "orchestrator.steps"


class PluginError(ImportError):
    """A plugin that is installed cannot be used."""


def plugin_names(group: str) -> tuple[str, ...]:
    """The names of all plugins of a kind, in alphabetical order."""
    return tuple(sorted(_points(group)))


def load_plugin(group: str, name: str) -> Any:
    """What stands behind a name.

    Raises `KeyError` on a name that no package registers, `PluginError` if it cannot be imported.
    """
    point = _points(group)[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{name!r} ({point.value}) cannot be loaded: {error}") from error


def where_from(group: str, name: str) -> str:
    """The module and attribute that a plugin's package names for it, for messages."""
    return _points(group)[name].value


def _points(group: str) -> dict[str, EntryPoint]:
    from importlib import metadata  # reading what is installed takes milliseconds, and most processes need none of it

    return {point.name: point for point in metadata.entry_points(group=group)}
