"""Models that are often named, with their prices, windows and capabilities: for who has no price list installed.

USD per million tokens and tokens, from the providers' public price pages as genai-prices lists them (November 2026).
Where the extra `prices` is installed, its list goes first, because it is newer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.providers.provider import Provider


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A row: what it costs and how much it reads."""

    model: str
    context_tokens: int
    input_usd_per_mtok: float
    cached_usd_per_mtok: float | None
    output_usd_per_mtok: float


_ROWS: Mapping[str, tuple[KnownModel, ...]] = {
    "openai": (
        KnownModel("gpt-4o", 128_000, 2.5, 1.25, 10.0),
        KnownModel("gpt-4o-mini", 128_000, 0.15, 0.075, 0.6),
        KnownModel("gpt-4.1", 1_000_000, 2.0, 0.5, 8.0),
        KnownModel("gpt-4.1-mini", 1_000_000, 0.4, 0.1, 1.6),
        KnownModel("gpt-4.1-nano", 1_000_000, 0.1, 0.025, 0.4),
        KnownModel("gpt-5", 400_000, 1.25, 0.125, 10.0),
        KnownModel("gpt-5-mini", 400_000, 0.25, 0.025, 2.0),
        KnownModel("gpt-5-nano", 400_000, 0.05, 0.005, 0.4),
        KnownModel("gpt-5.4", 1_050_000, 2.5, 0.25, 15.0),
        KnownModel("gpt-5.4-mini", 400_000, 0.75, 0.075, 4.5),
        KnownModel("gpt-5.4-nano", 400_000, 0.2, 0.02, 1.25),
        KnownModel("gpt-6-luna", 1_050_000, 0.1, 0.01, 0.5),
        KnownModel("gpt-6-sol", 1_050_000, 2.0, 0.2, 10.0),
        KnownModel("gpt-6.1-terra", 1_050_000, 1.0, 0.05, 5.0),
        KnownModel("gpt-6.1-sol", 1_050_000, 2.0, 0.1, 10.0),
        KnownModel("o3", 200_000, 2.0, 0.5, 8.0),
        KnownModel("o4-mini", 200_000, 1.1, 0.275, 4.4),
    ),
    "anthropic": (
        KnownModel("claude-haiku-4-5", 200_000, 1.0, 0.1, 5.0),
        KnownModel("claude-haiku-5-5", 1_000_000, 0.1, 0.01, 0.5),
        KnownModel("claude-sonnet-4-5", 200_000, 3.0, 0.3, 15.0),
        KnownModel("claude-sonnet-5", 1_000_000, 2.0, 0.2, 10.0),
        KnownModel("claude-sonnet-5-5", 1_000_000, 2.0, 0.1, 10.0),
        KnownModel("claude-opus-4-5", 200_000, 5.0, 0.5, 25.0),
        KnownModel("claude-opus-5-5", 1_000_000, 4.0, 0.2, 20.0),
    ),
    "google": (
        KnownModel("gemini-2.5-flash", 1_048_576, 0.3, 0.03, 2.5),
        KnownModel("gemini-2.5-flash-lite", 1_000_000, 0.1, 0.01, 0.4),
        KnownModel("gemini-3.5-flash", 1_000_000, 1.5, 0.15, 9.0),
        KnownModel("gemini-3.8-flash", 1_000_000, 0.75, 0.075, 3.75),
        KnownModel("gemini-4-argon", 1_048_576, 2.0, 0.1, 10.0),
    ),
    "mistral": (
        KnownModel("mistral-small-2603", 262_144, 0.15, 0.015, 0.6),
        KnownModel("mistral-medium-3-5", 262_144, 1.5, 0.15, 7.5),
        KnownModel("mistral-large-2512", 262_144, 0.5, 0.05, 1.5),
    ),
    "groq": (
        KnownModel("openai/gpt-oss-20b", 131_072, 0.075, 0.0375, 0.3),
        KnownModel("openai/gpt-oss-120b", 131_072, 0.15, 0.075, 0.6),
        KnownModel("llama-3.1-8b-instant", 131_072, 0.05, None, 0.08),
    ),
    "deepseek": (
        KnownModel("deepseek-flash", 1_000_000, 0.3, 0.006, 1.2),
        KnownModel("deepseek-v4-pro", 1_000_000, 1.32, 0.044, 3.96),
    ),
    "x-ai": (
        KnownModel("grok-4.3", 1_000_000, 1.25, 0.2, 2.5),
        KnownModel("grok-4.7", 500_000, 2.0, 0.5, 6.0),
    ),
}
_SEES = {
    "openai": r"^(gpt-(4o|4\.1|[5-9])|o[34])",
    "anthropic": r"^claude-",
    "google": r"^gemini-",
    "x-ai": r"^grok-4",
}
_HOLDS_TO_SCHEMA = {
    "openai": r"^(gpt-(4o|4\.1|[5-9])|o[34])",
    "anthropic": r"^claude-(haiku|sonnet|opus)-(4-5|[5-9])",
    "google": r"^gemini-",
    "mistral": r"^mistral-",
    "x-ai": r"^grok-",
}


def known_model(prices: str, model: str) -> KnownModel | None:
    """What is known here of a model; `prices` is its provider's name in price lists."""
    return next((row for row in _ROWS.get(prices, ()) if row.model == model), None)


def known_capabilities(prices: str, model: str) -> frozenset[str]:
    """What a hosted model can do, by its name: an empty set where that is not known."""
    if prices not in _ROWS:
        return frozenset()
    found = {"tools"}
    for capability, patterns in (("vision", _SEES), ("json", _HOLDS_TO_SCHEMA)):
        if prices in patterns and re.search(patterns[prices], model):
            found.add(capability)
    return frozenset(found)


def known_of(row: Provider | None, model: str, *, base_url: str | None) -> frozenset[str]:
    """What a model can do as far as is known: of a hosted one by its name, of a server of one's own by what it is.

    `base_url` is an address that is not the provider's own.
    """
    if row is None:
        return frozenset()
    if not row.is_local and base_url is None:
        return known_capabilities(row.prices or row.name, model)
    return frozenset(("json",)) if row.is_local and row.json == "schema" else frozenset()


@lru_cache(maxsize=64)
def listed_models(prices: str) -> tuple[str, ...]:
    """Names of a provider's models in the price list (extra `prices`) and in our table."""
    ours = [row.model for row in _ROWS.get(prices, ())]
    try:
        from genai_prices import data_snapshot  # optional: extra `prices`
    except ImportError:
        return tuple(ours)
    provider = next((each for each in data_snapshot.get_snapshot().providers if each.id == prices), None)
    listed = [] if provider is None else [str(model.id) for model in provider.models]
    return tuple(dict.fromkeys([*ours, *listed]))
