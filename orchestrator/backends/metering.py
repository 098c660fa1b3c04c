"""The metered call: hold its worst case, keep that where it must outlive the process, ask, and settle or release.

Whatever is asked for money goes through `metered`, so that each reservation is closed exactly once, however the call
ends. `worst_case` and `bill_of` are the two figures of a backend's call: what it may cost at most, and what it did
cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.backends.base import Backend, Request, estimate_prompt_tokens, tokenizer_of, worst_case_prompt_tokens
from orchestrator.budget import Ledger, Reservation
from orchestrator.errors import BadResponse
from orchestrator.providers.prices import billed_usd
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Completion, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call may cost in USD (`None`: its price is unknown) and use in tokens.

    It may be made `calls` times, where it is hedged.
    """

    usd: float | None
    tokens: int
    calls: int = 1
    request: Request | None = None
    """What it is the worst case of."""

    @property
    def usd_each(self) -> float:
        """The most that one of the calls may cost, in USD."""
        return (self.usd or 0.0) / self.calls

    @property
    def tokens_each(self) -> int:
        """The most that one of the calls may use, in tokens."""
        return self.tokens // self.calls


@dataclass(frozen=True, slots=True)
class Bill:
    """`usd` is `None` where the model's prices are unknown."""

    usd: float | None
    usage: Usage = field(default_factory=Usage)


def worst_case(backend: Backend, request: Request) -> WorstCase:
    """What one request may cost and use at most, hedged calls included."""
    prompt, output = worst_case_prompt_tokens(request.messages, request.forms), request.max_tokens * request.several
    usd, calls = backend.profile.worst_usd(prompt, output), int(getattr(backend, "most_calls", 1))
    return WorstCase(None if usd is None else usd * calls, (prompt + output) * calls, calls, request)


def bill_of(backend: Backend, done: Completion, worst: WorstCase) -> Bill:
    """What is booked for a call.

    Its usage at its prices, and the worst case of calls made beside it whose answers nobody saw.

    A backend that answers and tells no usage is not free: its tokens are estimated, and the usage says so. A kind of
    token whose price alone is unknown (sound, say) is bounded from above by what a whole call may cost.
    """
    usage = done.usage
    if (
        not usage.total_tokens
        and (done.text or done.calls)
        and worst.request is not None
        and backend.profile.input_usd_per_mtok != 0
    ):
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
    called = (str(call.as_wire()) for call in done.calls)
    written = "\n".join((done.thoughts, done.text or "", *done.others, *called))
    read = estimate_prompt_tokens(request.messages, request.forms, family)
    return Usage(read, estimate_tokens(written, family), estimated=True)


async def metered(
    ledger: Ledger,
    held: Reservation,
    ask: Callable[[], Awaitable[T]],
    bill: Callable[[T], Bill],
    *,
    on_failure: Callable[[bool], None] = lambda booked: None,
) -> tuple[T, Bill]:
    """What `ask` gives, with its bill settled on `ledger`, from which `held` was reserved for it.

    Raises what `ask` raises: the reservation is freed then if the call was not billed, else booked at its worst, and
    `on_failure` is told which. A call that cannot be kept (the database is away) is not made.
    """
    try:
        await ledger.kept()
    except BaseException:
        ledger.release(held)  # nothing was sent
        raise
    try:
        found = await ask()
    except BaseException as error:
        on_failure(ledger.failed(held, error))  # broken off, or cancelled in flight
        raise
    billed = bill(found)
    _settle(ledger, held, billed)
    return found, billed


def _settle(ledger: Ledger, held: Reservation, bill: Bill) -> None:
    usage = bill.usage
    ledger.settle(held, usd=bill.usd or 0.0, tokens=usage.total_tokens, output_tokens=usage.output_tokens)


async def complete_metered(
    backend: Backend,
    request: Request | WorstCase,
    ledger: Ledger,
    held: Reservation | None = None,
    *,
    on_failure: Callable[[bool], None] = lambda booked: None,
    on_text: Callable[[str], None] | None = None,
) -> tuple[Completion, Bill]:
    """One completion, metered; with `on_text` it is streamed, and each piece of its text told as it comes.

    A `request` whose worst case is known already may be given as that. Without `held` its worst case is reserved here:
    raises `BudgetExceeded`, with nothing sent, where it does not fit.
    """
    worst = request if isinstance(request, WorstCase) else worst_case(backend, request)
    asked = worst.request
    assert asked is not None
    if held is None:
        held = ledger.reserve(usd=worst.usd, tokens=worst.tokens)
    return await metered(
        ledger,
        held,
        lambda: backend.complete(asked) if on_text is None else _streamed(backend, asked, on_text),
        lambda done: bill_of(backend, done, worst),
        on_failure=on_failure,
    )


async def _streamed(backend: Backend, request: Request, on_text: Callable[[str], None]) -> Completion:
    """The completion at the end of a stream. Raises `BadResponse` where there is none."""
    done: Completion | None = None
    read: list[str] = []
    pieces = backend.stream(request)
    try:
        async for piece in pieces:
            if isinstance(piece, Completion):
                done = piece
                break
            if piece.text:
                read.append(piece.text)
                on_text(piece.text)
    finally:
        close = getattr(pieces, "aclose", None)  # a generator, usually: what it holds is given back now
        if close is not None:
            await close()
    if done is None:
        raise BadResponse(f"the stream of {backend.profile.name} ended without an answer", remedy="Ask again")
    if read and done.text != "".join(read):
        told = f"the stream of {backend.profile.name} and the answer at its end differ"
        raise BadResponse(told, remedy="Mend its backend: a completion holds the text of all deltas")
    return done
