"""What a verifier says about a candidate, and the protocol that every verifier follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's result on one candidate.

    `score` is the verifier's support for the candidate in [0, 1], or `None` when it abstains; `passed` is its yes or no
    (`None` when it abstains). `feedback` is text that a revision can act on, `evidence` what the verdict rests on,
    `cost_usd` the price of the check. `decisive` says that a failed verdict rules the candidate out (a schema error,
    not a matter of opinion). Candidates with the same `group` are equivalent as far as the verifier can tell (programs
    that behave alike).
    """

    verifier: str
    score: float | None
    passed: bool | None
    feedback: str = ""
    evidence: tuple[str, ...] = field(default=())
    cost_usd: float = 0.0
    decisive: bool = False
    group: str | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"verdict of {self.verifier!r}: score {self.score!r} is outside [0, 1]")

    @property
    def abstained(self) -> bool:
        """Whether the verifier has no opinion."""
        return self.score is None

    @classmethod
    def abstain(cls, verifier: str, reason: str) -> Verdict:
        """No opinion, with the reason why (it never counts for or against a candidate)."""
        return cls(verifier, None, None, feedback=reason)


class Verifier(Protocol):
    """Anything that judges a candidate answer to a query.

    Must not raise on bad answers: a bad answer is a failed verdict.
    """

    @property
    def name(self) -> str:
        """What verdicts are known by."""

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Judges a candidate answer to a query. Must not raise on a bad answer: that is a failed verdict."""


def price_of(verifier: Verifier, query: str, candidate: str) -> float | None:
    """The most that a verdict may cost in USD, `None` if that is not known.

    What the verifier says by `price_usd(query, candidate)`.

    Verifiers without it are free.
    """
    price = getattr(verifier, "price_usd", None)
    found: float | None = 0.0 if price is None else price(query, candidate)
    return found
