"""Prices of hosted models, offline, from the package genai-prices (extra `prices`) or a table, and what a call costs.

What is stated in the configuration goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from orchestrator.jsontypes import JsonValue
from orchestrator.providers.models import known_model
from orchestrator.router import ModelProfile
from orchestrator.router.profile import PriceStep
from orchestrator.types import Usage


@dataclass(frozen=True, slots=True)
class ListPrices:
    """USD per million tokens, in the fields of `ModelProfile`.

    `context_tokens` is the model's window where it is known.
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None
    cache_write_usd_per_mtok: float | None
    cache_write_1h_usd_per_mtok: float | None
    audio_input_usd_per_mtok: float | None
    audio_output_usd_per_mtok: float | None
    price_steps: tuple[PriceStep, ...]
    context_tokens: int | None


def billed_usd(profile: ModelProfile, usage: Usage) -> float | None:
    """What a call cost, each kind of token at its own price; `None` if a price that it needs is unknown."""
    return profile.cost_usd(
        usage.prefill_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        audio_prefill_tokens=usage.audio_prefill_tokens,
        audio_output_tokens=usage.audio_output_tokens,
    )


@lru_cache(maxsize=256)
def list_prices(provider: str, model: str) -> ListPrices | None:
    """What the provider's public price list says, or our own table; `None` if both do not know the model."""
    try:
        from genai_prices import Usage as Counted  # optional: extra `prices`
        from genai_prices import calc_price
    except ImportError:
        return _from_table(provider, model)
    try:
        found = calc_price(Counted(input_tokens=1), model, provider_id=provider)
    except (LookupError, ValueError):
        return _from_table(provider, model)
    listed = _dearest(found.model)
    reading, writing = _price(listed, "input_mtok"), _price(listed, "output_mtok")
    if reading is None or writing is None:
        return None
    return ListPrices(
        reading,
        writing,
        _price(listed, "cache_read_mtok"),
        _price(listed, "cache_write_mtok"),
        _price(listed, "cache_write_1h_mtok"),
        _price(listed, "input_audio_mtok"),
        _price(listed, "output_audio_mtok"),
        _steps(listed),
        getattr(found.model, "context_window", None),
    )


def _dearest(model: Any) -> Any:
    """Its prices at the hour of the day at which they are highest: a bound must hold at every hour."""
    now = datetime.now(UTC)
    hours = [now] if not isinstance(model.prices, list) else [now.replace(hour=hour) for hour in range(24)]
    return max((model.get_prices(at) for at in hours), key=lambda prices: _price(prices, "output_mtok") or 0.0)


def _from_table(provider: str, model: str) -> ListPrices | None:
    row = known_model(provider, model)
    if row is None:
        return None
    cached, window = row.cached_usd_per_mtok, row.context_tokens
    return ListPrices(
        row.input_usd_per_mtok, row.output_usd_per_mtok, cached, None, None, None, None, (), context_tokens=window
    )


def _price(listed: JsonValue, name: str, above: int = 0) -> float | None:
    """A price for prompts of more than `above` tokens."""
    price = getattr(listed, name, None)
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return float(price)
    return float(
        next((tier.price for tier in sorted(tiers, key=lambda t: -t.start) if above >= tier.start), price.base)
    )


def _steps(listed: JsonValue) -> tuple[PriceStep, ...]:
    starts = sorted(
        {
            tier.start
            for name in ("input_mtok", "output_mtok")
            for tier in getattr(getattr(listed, name, None), "tiers", ())
        }
    )
    return tuple(
        PriceStep(
            start,
            _price(listed, "input_mtok", start) or 0.0,
            _price(listed, "output_mtok", start) or 0.0,
            _price(listed, "cache_read_mtok", start),
            _price(listed, "cache_write_mtok", start),
            _price(listed, "cache_write_1h_mtok", start),
        )
        for start in starts
    )
