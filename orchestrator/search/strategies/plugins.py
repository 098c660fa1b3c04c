"""Strategies by name.

Those of this package, and those that other packages register under the entry point `orchestrator.strategies`.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.config.names import STRATEGY_ALIASES
from orchestrator.errors import ConfigError
from orchestrator.plugins.entry_points import STRATEGIES as GROUP
from orchestrator.plugins.entry_points import PluginError, load_plugin, plugin_names, where_from
from orchestrator.search.actions import Action
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.registry import STRATEGIES


def strategy_named(name: str) -> Strategy:
    """Raises `ConfigError` on a name that nobody knows, or an entry point that gives no function."""
    name = STRATEGY_ALIASES.get(name, name)
    if name in STRATEGIES:
        return STRATEGIES[name]
    if name not in plugin_names(GROUP):
        raise ConfigError(
            f"unknown strategy {name!r}", remedy=f"Known: {', '.join([*STRATEGIES, *plugin_names(GROUP)])}"
        )
    try:
        strategy: Strategy = load_plugin(GROUP, name)
    except PluginError as error:
        raise ConfigError(f"the strategy {error}", remedy="Look at its package, or reinstall it") from None

    def checked(state: SearchState) -> Sequence[Action]:
        actions = strategy(state)
        if not isinstance(actions, Sequence):
            told = f"the strategy {name!r} ({where_from(GROUP, name)}) returned {actions!r}, no list of actions"
            raise ConfigError(told, remedy="An empty list waits; Stop(...) ends")
        return actions

    return checked
