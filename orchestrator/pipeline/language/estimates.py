"""What a step will probably take: the value that verbs give, and what they make it of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a step or a pipeline will probably take.

    `usd` and `seconds` are expected, `worst_usd` is the most; `None` where a price is not known. `guesses` says what
    was guessed.
    """

    calls: float = 0.0
    prefill_tokens: float = 0.0
    output_tokens: float = 0.0
    usd: float | None = 0.0
    worst_usd: float | None = 0.0
    seconds: float = 0.0
    model: str = ""
    guesses: tuple[str, ...] = ()

    def and_(self, other: Forecast, *, seconds: float) -> Forecast:
        """Both; how long they take together is the caller's to say."""
        return Forecast(
            self.calls + other.calls,
            self.prefill_tokens + other.prefill_tokens,
            self.output_tokens + other.output_tokens,
            _sum(self.usd, other.usd),
            _sum(self.worst_usd, other.worst_usd),
            seconds,
            self.model or other.model,
            tuple(dict.fromkeys([*self.guesses, *other.guesses])),
        )

    def times(self, count: float, *, worst: float | None = None, rounds: float = 1.0) -> Forecast:
        """So many of it, at most `worst`, in so many rounds one after the other."""
        return replace(
            self,
            calls=self.calls * count,
            prefill_tokens=self.prefill_tokens * count,
            output_tokens=self.output_tokens * count,
            usd=None if self.usd is None else self.usd * count,
            worst_usd=None if self.worst_usd is None else self.worst_usd * (count if worst is None else worst),
            seconds=self.seconds * rounds,
        )


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b
