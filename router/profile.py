"""What is known about a model before it is asked: prices, window, capabilities, speed, and one number for its skill."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """A model of the fleet. Prices are USD per million tokens; `None` means unknown, which a money budget refuses.

    `skill` is the expected share of right answers on ordinary questions, in (0, 1): a public score, or a guess; outcomes sharpen it.
    `like` names a model with pretrained parameters to start from. `output_tokens` is the expected length of an answer.
    `effective_context_tokens` is how much of the window the model uses well (long-context tests put it far below the window).
    `max_output_tokens` is the longest answer that it writes.
    """

    name: str
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cached_usd_per_mtok: float | None = None
    context_tokens: int = 128_000
    capabilities: frozenset[str] = frozenset()
    skill: float | None = None
    like: str | None = None
    output_tokens: float = 250.0
    ttft_s: float = 0.5
    tokens_per_s: float = 60.0
    simulated: bool = False
    effective_context_tokens: int | None = None
    max_output_tokens: int = 8_192

    def __post_init__(self) -> None:
        for field in ("input_usd_per_mtok", "output_usd_per_mtok", "cached_usd_per_mtok"):
            price = getattr(self, field)
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise ValueError(f"model {self.name!r}: {field} must be a finite number of at least 0, not {price!r}")
        if self.skill is not None and not 0.0 < self.skill < 1.0:
            raise ValueError(f"model {self.name!r}: skill must lie strictly between 0 and 1, not {self.skill!r}")
        if self.tokens_per_s <= 0 or self.context_tokens <= 0:
            raise ValueError(f"model {self.name!r}: tokens_per_s and context_tokens must be positive")

    @property
    def usable_context_tokens(self) -> int:
        """How much the model can really use: its effective context length where that is known, else its window."""
        return self.context_tokens if self.effective_context_tokens is None else min(self.context_tokens, self.effective_context_tokens)

    def cost_usd(self, prefill_tokens: float, output_tokens: float | None = None, cached_tokens: float = 0.0) -> float | None:
        """Expected price of one call in USD, or `None` if the model's prices are unknown. `cached_tokens` are part of the prefill."""
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        cached_price = self.input_usd_per_mtok if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        answered = self.output_tokens if output_tokens is None else output_tokens
        fresh = max(prefill_tokens - cached_tokens, 0.0)
        return (fresh * self.input_usd_per_mtok + cached_tokens * cached_price + answered * self.output_usd_per_mtok) / 1e6

    def latency_s(self, output_tokens: float | None = None) -> float:
        """Expected seconds to the last token: time to first token plus decoding."""
        return self.ttft_s + (self.output_tokens if output_tokens is None else output_tokens) / self.tokens_per_s
