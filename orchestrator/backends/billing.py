"""What one call of a backend may cost at most, and what it did cost: the two figures that every budget works with."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.backends.base import Backend, Request, estimate_prompt_tokens, tokenizer_of, worst_case_prompt_tokens
from orchestrator.providers.prices import billed_usd
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Completion, Usage


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call may cost in USD (`None`: its price is unknown) and use in tokens. It may be made `calls` times, where it is hedged."""

    usd: float | None
    tokens: int
    calls: int = 1
    request: Request | None = None

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
    prompt, output = worst_case_prompt_tokens(request.messages, request.schema), request.max_tokens * request.several
    usd, calls = backend.profile.worst_usd(prompt, output), int(getattr(backend, "most_calls", 1))
    return WorstCase(None if usd is None else usd * calls, (prompt + output) * calls, calls, request)


def bill_of(backend: Backend, done: Completion, worst: WorstCase) -> Bill:
    """What is booked for a call: its usage at its prices, and the worst case of calls made beside it whose answers nobody saw.

    A backend that answers and tells no usage is not free: its tokens are estimated, and the usage says so. A kind of token whose price alone is
    unknown (sound, say) is bounded from above by what a whole call may cost.
    """
    usage = done.usage
    if not usage.total_tokens and done.text and worst.request is not None and backend.profile.input_usd_per_mtok != 0:
        usage = estimated_usage(backend, done, worst.request)
    usd = billed_usd(backend.profile, usage)
    if usd is None and worst.usd is not None:
        usd = worst.usd_each
    if done.unseen_calls:
        usage += Usage(done.unseen_calls * worst.tokens_each, estimated=True)
        usd = None if usd is None else usd + done.unseen_calls * worst.usd_each
    return Bill(usd, usage)


def estimated_usage(backend: Backend, done: Completion, request: Request) -> Usage:
    """About what a call used, by its texts."""
    family = tokenizer_of(backend)
    written = "\n".join((done.thoughts, done.text or "", *done.others))
    read = estimate_prompt_tokens(request.messages, request.schema, family)
    return Usage(read, estimate_tokens(written, family), estimated=True)
