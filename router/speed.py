"""How fast a model is and how long its answers are, learned from what is observed. Immutable: every observation gives a new value.

Means forget with a half-life of `HALF_LIFE` observations, so that a provider's bad hour passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from router.profile import ModelProfile

HALF_LIFE = 50.0
PRIOR_WEIGHT = 5.0
_DECAY = 0.5 ** (1.0 / HALF_LIFE)


@dataclass(frozen=True, slots=True)
class Speed:
    """Exponentially forgetting sums; starts at the profile's own figures, worth 5 observations."""

    weight: float
    ttft_s: float
    decode_s: float
    output_tokens: float
    observations: int = 0

    @classmethod
    def of(cls, profile: ModelProfile) -> Speed:
        w = PRIOR_WEIGHT
        return cls(w, w * profile.ttft_s, w * profile.output_tokens / profile.tokens_per_s, w * profile.output_tokens)

    def observe(self, *, ttft_s: float, decode_s: float, output_tokens: int) -> Speed:
        """One finished call, times in seconds. Raises `ValueError` on negative or non-finite values; a call without output teaches only the TTFT."""
        if not all(0.0 <= value < float("inf") for value in (ttft_s, decode_s, output_tokens)):
            raise ValueError(f"times and tokens must be finite and not negative, not {ttft_s}, {decode_s}, {output_tokens}")
        return Speed(
            self.weight * _DECAY + 1.0,
            self.ttft_s * _DECAY + ttft_s,
            self.decode_s * _DECAY + decode_s,
            self.output_tokens * _DECAY + output_tokens,
            self.observations + 1,
        )

    def apply(self, profile: ModelProfile) -> ModelProfile:
        """The profile with what was learned."""
        tokens_per_s = self.output_tokens / self.decode_s if self.decode_s > 0 and self.output_tokens > 0 else profile.tokens_per_s
        output_tokens = self.output_tokens / self.weight
        return replace(profile, ttft_s=self.ttft_s / self.weight, tokens_per_s=tokens_per_s, output_tokens=output_tokens)


class Speeds:
    """The profiles of a fleet, kept up to date with what is observed of each."""

    def __init__(self, profiles: Iterable[ModelProfile]) -> None:
        self._stated = {profile.name: profile for profile in profiles}
        self._speeds = {name: Speed.of(profile) for name, profile in self._stated.items()}
        self.profiles = dict(self._stated)

    def observe(self, model: str, *, latency_s: float, ttft_s: float | None, output_tokens: int) -> None:
        """One finished call, in seconds. Without a `ttft_s` (an answer that was not streamed) what is known of it so far is taken."""
        if model not in self._speeds or not 0.0 < latency_s < float("inf") or output_tokens < 0:
            return  # a call of no duration (a calculator) says nothing
        first = min(self.profiles[model].ttft_s if ttft_s is None else max(ttft_s, 0.0), latency_s)
        speed = self._speeds[model].observe(ttft_s=first, decode_s=latency_s - first, output_tokens=output_tokens)
        self._speeds[model] = speed
        self.profiles[model] = speed.apply(self._stated[model])
