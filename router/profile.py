"""What is known about a model before it is asked: prices, window, capabilities, speed, and one number for its skill."""

from __future__ import annotations

import math
from dataclasses import dataclass

CACHE_WRITE_FACTOR, CACHE_WRITE_1H_FACTOR = 1.25, 2.0  # of the input price: the most that any provider takes for it


@dataclass(frozen=True, slots=True)
class PriceStep:
    """Prices in USD per million tokens of calls that read more than `above_tokens`: all their tokens cost this."""

    above_tokens: int
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    cache_write_1h_usd_per_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """A model of the fleet. Prices are USD per million tokens; `None` means unknown, which a money budget refuses.

    `skill` is the expected share of right answers on ordinary questions, in (0, 1): a public score, or a guess;
    outcomes sharpen it. `like` names a model with pretrained parameters to start from. `output_tokens` is the expected
    length of an answer. `effective_context_tokens` is how much of the window the model uses well (long-context tests
    put it far below the window). `max_output_tokens` is the longest answer that it writes. `ttft_s` is for a short
    prompt; each token of a longer one that no cache holds adds 1 / `prefill_tokens_per_s`. `price_steps` are dearer
    prices for long prompts, rising. Writing to a cache for five minutes costs `cache_write_usd_per_mtok`, for an hour
    `cache_write_1h_usd_per_mtok`; unknown, they count as 1.25 and 2 times the input price.
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
    cache_write_usd_per_mtok: float | None = None
    cache_write_1h_usd_per_mtok: float | None = None
    audio_input_usd_per_mtok: float | None = None
    audio_output_usd_per_mtok: float | None = None
    price_steps: tuple[PriceStep, ...] = ()
    prefill_tokens_per_s: float | None = None

    def __post_init__(self) -> None:
        for field in PRICE_FIELDS:
            price = getattr(self, field)
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise ValueError(f"model {self.name!r}: {field} must be a finite number of at least 0, not {price!r}")
        if self.skill is not None and not 0.0 < self.skill < 1.0:
            raise ValueError(f"model {self.name!r}: skill must lie strictly between 0 and 1, not {self.skill!r}")
        for field in ("output_tokens", "ttft_s", "tokens_per_s", "context_tokens"):
            number = getattr(self, field)
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"model {self.name!r}: {field} must be a finite number of at least 0, not {number!r}")
        if self.tokens_per_s <= 0 or self.context_tokens <= 0 or (self.prefill_tokens_per_s or 1.0) <= 0:
            raise ValueError(f"model {self.name!r}: tokens_per_s and context_tokens must be positive")

    @property
    def usable_context_tokens(self) -> int:
        """How much the model can really use: its effective context length where that is known, else its window."""
        return (
            self.context_tokens
            if self.effective_context_tokens is None
            else min(self.context_tokens, self.effective_context_tokens)
        )

    def cost_usd(
        self,
        prefill_tokens: float,
        output_tokens: float | None = None,
        cached_tokens: float = 0.0,
        *,
        cache_write_tokens: float = 0.0,
        cache_write_1h_tokens: float = 0.0,
        audio_prefill_tokens: float = 0.0,
        audio_output_tokens: float = 0.0,
    ) -> float | None:
        """Expected price of one call in USD, or `None` if a price that it needs is unknown.

        `cached_tokens`, `cache_write_tokens` (those for an hour, `cache_write_1h_tokens`, among them) and
        `audio_prefill_tokens` are parts of the prefill, `audio_output_tokens` of the output.
        """
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        at = self._prices_at(prefill_tokens) if self.price_steps else self
        reading = at.input_usd_per_mtok or 0.0
        cached_price = reading if at.cached_usd_per_mtok is None else at.cached_usd_per_mtok
        answered = self.output_tokens if output_tokens is None else output_tokens
        if not (cache_write_tokens or audio_prefill_tokens or audio_output_tokens):
            fresh = max(prefill_tokens - cached_tokens, 0.0)
            return (fresh * reading + cached_tokens * cached_price + answered * (at.output_usd_per_mtok or 0.0)) / 1e6
        if (audio_prefill_tokens and self.audio_input_usd_per_mtok is None) or (
            audio_output_tokens and self.audio_output_usd_per_mtok is None
        ):
            return None
        for_an_hour = min(cache_write_1h_tokens, cache_write_tokens)
        write, write_1h = at.cache_write_usd_per_mtok, at.cache_write_1h_usd_per_mtok
        return (
            max(prefill_tokens - cached_tokens - cache_write_tokens - audio_prefill_tokens, 0.0) * reading
            + cached_tokens * cached_price
            + (cache_write_tokens - for_an_hour) * (reading * CACHE_WRITE_FACTOR if write is None else write)
            + for_an_hour * (reading * CACHE_WRITE_1H_FACTOR if write_1h is None else write_1h)
            + audio_prefill_tokens * (self.audio_input_usd_per_mtok or 0.0)
            + max(answered - audio_output_tokens, 0.0) * (at.output_usd_per_mtok or 0.0)
            + audio_output_tokens * (self.audio_output_usd_per_mtok or 0.0)
        ) / 1e6

    def worst_usd(self, prefill_tokens: float, output_tokens: float) -> float | None:
        """The most that one call may cost: a prompt that is written to a cache at the dearest known price.

        `None` if the prices are unknown.
        """
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        at = self._prices_at(prefill_tokens)
        reading = max(
            at.input_usd_per_mtok or 0.0, at.cache_write_usd_per_mtok or 0.0, at.cache_write_1h_usd_per_mtok or 0.0
        )
        return (prefill_tokens * reading + output_tokens * (at.output_usd_per_mtok or 0.0)) / 1e6

    def _prices_at(self, prefill_tokens: float) -> ModelProfile | PriceStep:
        """The prices for prompts of this length."""
        return next((step for step in reversed(self.price_steps) if prefill_tokens > step.above_tokens), self)

    def latency_s(self, output_tokens: float | None = None, fresh_tokens: float = 0.0) -> float:
        """Expected seconds to the last token.

        Time to first token, reading `fresh_tokens` that no cache holds, and decoding.
        """
        reading = fresh_tokens / self.prefill_tokens_per_s if self.prefill_tokens_per_s else 0.0
        return (
            self.ttft_s + reading + (self.output_tokens if output_tokens is None else output_tokens) / self.tokens_per_s
        )


PRICE_FIELDS = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
    "audio_input_usd_per_mtok",
    "audio_output_usd_per_mtok",
)
