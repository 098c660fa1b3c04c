"""List prices of hosted models, offline, from the package genai-prices (extra `prices`). What the configuration states goes before them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

TOKENS = 1_000  # priced at a time: a million at once would fall into the price steps for very long prompts


@dataclass(frozen=True, slots=True)
class ListPrices:
    """USD per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float


@lru_cache(maxsize=256)
def list_prices(provider: str, model: str) -> ListPrices | None:
    """What the provider's public price list says; `None` if it does not know the model, or without the extra."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None

    def usd_per_mtok(usage: Usage) -> float:
        return float(calc_price(usage, model, provider_id=provider).total_price) * 1e6 / TOKENS

    try:
        return ListPrices(
            usd_per_mtok(Usage(input_tokens=TOKENS)),
            usd_per_mtok(Usage(output_tokens=TOKENS)),
            usd_per_mtok(Usage(input_tokens=TOKENS, cache_read_tokens=TOKENS)),
        )
    except (LookupError, ValueError):
        return None
