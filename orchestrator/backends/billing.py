"""What one call of a backend may cost at most, and what it did cost: the two figures that every budget works with."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.backends.base import Backend, Request, worst_case_prompt_tokens
from orchestrator.backends.prices import billed_usd
from orchestrator.types import Completion, Usage


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call may cost in USD (`None`: its price is unknown) and use in tokens. It may be made `calls` times, where it is hedged."""

    usd: float | None
    tokens: int
    calls: int = 1

    @property
    def usd_each(self) -> float:
        return (self.usd or 0.0) / self.calls

    @property
    def tokens_each(self) -> int:
        return self.tokens // self.calls


@dataclass(frozen=True, slots=True)
class Bill:
    """`usd` is `None` where the model's prices are unknown."""

    usd: float | None
    usage: Usage


def worst_case(backend: Backend, request: Request) -> WorstCase:
    prompt, output = worst_case_prompt_tokens(request.messages), request.max_tokens * request.several
    usd, calls = backend.profile.worst_usd(prompt, output), int(getattr(backend, "most_calls", 1))
    return WorstCase(None if usd is None else usd * calls, (prompt + output) * calls, calls)


def bill_of(backend: Backend, done: Completion, worst: WorstCase) -> Bill:
    """What is booked for a call: its usage at its prices, and the worst case of calls made beside it whose answers nobody saw.

    A kind of token whose price alone is unknown (sound, say) is bounded from above by what a whole call may cost.
    """
    usd, usage = billed_usd(backend.profile, done.usage), done.usage
    if usd is None and worst.usd is not None:
        usd = worst.usd_each
    if done.unseen_calls:
        usage += Usage(done.unseen_calls * worst.tokens_each, estimated=True)
        usd = None if usd is None else usd + done.unseen_calls * worst.usd_each
    return Bill(usd, usage)
