"""Strategies by name: those of this package, and those that other packages register under the entry point `orchestrator.strategies`."""

from __future__ import annotations

from importlib import metadata

from orchestrator.config.names import STRATEGY_ALIASES, STRATEGY_GROUP
from orchestrator.errors import ConfigError
from orchestrator.search.state import Strategy
from orchestrator.search.strategies.registry import STRATEGIES


def strategy_named(name: str) -> Strategy:
    """Raises `ConfigError` on a name that nobody knows, or an entry point that gives no function."""
    name = STRATEGY_ALIASES.get(name, name)
    if name in STRATEGIES:
        return STRATEGIES[name]
    found = {point.name: point for point in metadata.entry_points(group=STRATEGY_GROUP)}
    if name not in found:
        raise ConfigError(f"unknown strategy {name!r}", remedy=f"Known: {', '.join([*STRATEGIES, *sorted(found)])}")
    try:
        strategy: Strategy = found[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the strategy {name!r} ({found[name].value}) cannot be loaded: {error}", remedy="Reinstall its package"
        ) from None
    if not callable(strategy):
        raise ConfigError(f"the strategy {name!r} ({found[name].value}) is no function", remedy="It takes a SearchState, returns actions")
    return strategy
