"""How fast a model is and how long its answers are, learned from what is observed.

Immutable: every observation gives a new value.

Means forget with a half-life of `HALF_LIFE` observations, so that a provider's bad hour passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from orchestrator.router.profile import ModelProfile

HALF_LIFE = 50.0
PRIOR_WEIGHT = 5.0
MIN_FOR_LINE = 5.0
MIN_SPREAD = 0.25  # standard deviation of the prompts' lengths, in units of their mean
_DECAY = 0.5 ** (1.0 / HALF_LIFE)


@dataclass(frozen=True, slots=True)
class Speed:
    """Exponentially forgetting sums; starts at the profile's own figures, worth 5 observations.

    The time to the first token is a line over the tokens that had to be read, by least squares: `x` are thousands of
    tokens, `y` seconds. Its slope is believed once prompts of different lengths were seen, and only if longer ones take
    longer.
    """

    weight: float
    ttft_s: float
    decode_s: float
    output_tokens: float
    observations: int = 0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    first_weight: float = 0.0
    first_s: float = 0.0

    @classmethod
    def of(cls, profile: ModelProfile) -> Speed:
        """What a profile states, as observations of a small weight."""
        w = PRIOR_WEIGHT
        return cls(w, w * profile.ttft_s, w * profile.output_tokens / profile.tokens_per_s, w * profile.output_tokens)

    def observe(self, *, ttft_s: float, decode_s: float, output_tokens: int, fresh_tokens: int | None = None) -> Speed:
        """One finished call, times in seconds.

        `fresh_tokens` were read that no cache held, `None` if the time to the first token was not measured.

        Raises `ValueError` on negative or non-finite values; a call without output teaches only the TTFT.
        """
        if not all(0.0 <= value < float("inf") for value in (ttft_s, decode_s, output_tokens, fresh_tokens or 0)):
            raise ValueError(
                f"times and tokens must be finite and not negative, not {ttft_s}, {decode_s}, {output_tokens}, "
                f"{fresh_tokens}"
            )
        first, seen = (fresh_tokens or 0) / 1_000, fresh_tokens is not None
        decay = _DECAY if seen else 1.0
        return Speed(
            self.weight * _DECAY + 1.0,
            self.ttft_s * _DECAY + ttft_s,
            self.decode_s * _DECAY + decode_s,
            self.output_tokens * _DECAY + output_tokens,
            self.observations + 1,
            self.x * decay + first,
            self.xx * decay + first * first,
            self.xy * decay + first * ttft_s * seen,
            self.first_weight * decay + seen,
            self.first_s * decay + ttft_s * seen,
        )

    def apply(self, profile: ModelProfile) -> ModelProfile:
        """The profile with what was learned."""
        tokens_per_s = (
            self.output_tokens / self.decode_s if self.decode_s > 0 and self.output_tokens > 0 else profile.tokens_per_s
        )
        output_tokens = self.output_tokens / self.weight
        line = self._line()
        if line is not None:
            ttft_s, prefill = line
            return replace(
                profile,
                ttft_s=ttft_s,
                tokens_per_s=tokens_per_s,
                output_tokens=output_tokens,
                prefill_tokens_per_s=prefill,
            )
        return replace(
            profile, ttft_s=self.ttft_s / self.weight, tokens_per_s=tokens_per_s, output_tokens=output_tokens
        )

    def _line(self) -> tuple[float, float] | None:
        """(seconds to the first token of an empty prompt, tokens read per second), where enough prompts of different
        lengths were seen.
        """
        n = self.first_weight
        if n < MIN_FOR_LINE:
            return None
        spread = self.xx - self.x * self.x / n
        if spread < (MIN_SPREAD * self.x / n) ** 2 * n or spread <= 0:
            return None
        slope = (self.xy - self.x * self.first_s / n) / spread
        at_nothing = (self.first_s - slope * self.x) / n
        return (max(at_nothing, 0.0), 1_000 / slope) if slope > 0 else None


class Speeds:
    """The profiles of a fleet, kept up to date with what is observed of each."""

    def __init__(self, profiles: Iterable[ModelProfile]) -> None:
        self._stated = {profile.name: profile for profile in profiles}
        self._speeds = {name: Speed.of(profile) for name, profile in self._stated.items()}
        self.profiles = dict(self._stated)

    def observe(
        self, model: str, *, latency_s: float, ttft_s: float | None, output_tokens: int, fresh_tokens: int = 0
    ) -> None:
        """One finished call, in seconds; `fresh_tokens` were read that no cache held.

        Without a `ttft_s` (an answer that was not streamed) what is known of it so far is taken.
        """
        if model not in self._speeds or not 0.0 < latency_s < float("inf") or output_tokens < 0:
            return  # a call of no duration (a calculator) says nothing
        known = self.profiles[model].latency_s(0.0, fresh_tokens)
        first = min(known if ttft_s is None else max(ttft_s, 0.0), latency_s)
        read = None if ttft_s is None else fresh_tokens
        speed = self._speeds[model].observe(
            ttft_s=first, decode_s=latency_s - first, output_tokens=output_tokens, fresh_tokens=read
        )
        self._speeds[model] = speed
        self.profiles[model] = speed.apply(self._stated[model])
