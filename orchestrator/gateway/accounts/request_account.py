"""The bill of one request: what is held for it, what it used, and the record that remains of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from orchestrator.budget import Budget, Ledger, from_nano, to_nano
from orchestrator.budget.ledger import PRICE_REMEDY
from orchestrator.errors import BackendError, BudgetExceeded, StorageError
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.quota_leases import (
    MONEY_REMEDY,
    TOKENS,
    USD,
    Limiter,
    LimitReached,
    QuotaHold,
    minute_used,
)
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.prices import billed_usd
from orchestrator.router import ModelProfile
from orchestrator.storage.requests import ServedRequest
from orchestrator.types import Usage

ABORTED_TOKENS = 16  # what a model may have written after the last piece that reached us


class AccountedRequest(Protocol):
    """What of a request its account needs: `id`, `at` (seconds since 1970) and who asks."""

    id: str
    at: float
    principal: Principal

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request came."""

    def header(self, name: bytes) -> str | None:
        """The text of a header; `None` without one."""


class RequestAccount:
    """Opened when a request is understood, closed when it is answered.

    Whatever happens, each hold is settled exactly once.
    """

    def __init__(self, limiter: Limiter, call: AccountedRequest, api: str, asked: str) -> None:
        principal = call.principal
        self._limiter = limiter
        self.principal: Principal = principal
        self.call = call
        self.served = ServedRequest(call.id, call.at, principal.org, principal.team, principal.key, api, asked)
        self._hold: QuotaHold | None = None
        self._held_nano: int | None = 0
        self._held_tokens = 0
        self._held_calls = 1
        self._requests = 1
        self._calls = 0
        self.standing: list[tuple[str, int, int]] = []
        self.is_estimated = self._is_overrun = self._is_cut = False

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.call.id

    @property
    def has_limits(self) -> bool:
        """Whether an account limits money or tokens, so that the length of an answer must be known before it."""
        return any(a.limits.usd is not None or a.limits.tokens_per_minute is not None for a in self.principal.chain)

    def limits(self) -> list[tuple[str, int, int]]:
        """(kind, limit, what is left) of requests and tokens of this minute, where they are limited."""
        return self.standing if self._hold is None else self._hold.standing()

    def left_nano(self) -> int | None:
        """Nano-dollars that the tightest budget of its accounts still allows; `None` without one."""
        return self._limiter.left_nano(self.principal.chain)

    def left_tokens(self) -> int | None:
        """Tokens that the tightest limit of its accounts still allows in this minute; `None` without one."""
        return self._limiter.left_tokens(self.principal.chain)

    async def hold(self, usd: float | None, tokens: int, *, within: Budget | None = None, calls: int = 1) -> None:
        """Holds the worst case of a call, which may be made `calls` times.

        Raises `LimitReached`, or `GatewayError` where it does not fit `within` the budget of the request itself.
        """
        self._held_calls = calls
        if within is not None and not (within.usd is None and within.tokens is None and within.calls is None):
            _check(usd, tokens, self._left_of(within))
        self._calls += 1
        nano = None if usd is None else to_nano(usd)
        self._hold = await self._limiter.hold(
            self.principal.chain, usd_nano=nano, tokens=tokens, requests=self._requests
        )
        self._requests = 0  # however often it is tried, it is one request
        self._held_nano, self._held_tokens = nano, tokens

    def left_for_a_call(self, within: Budget) -> Budget:
        """What one more call may use: of the request's own budget, and of the money of its accounts."""
        nano = self.left_nano()
        return self._left_of(within) & Budget(usd=None if nano is None else from_nano(nano))

    def _left_of(self, budget: Budget) -> Budget:
        """What earlier attempts of this request have left of its own budget."""
        served = self.served
        used = served.prefill_tokens + served.output_tokens
        spent = 0.0 if served.cost_nano is None else from_nano(served.cost_nano)
        return Budget(
            None if budget.usd is None else max(budget.usd - spent, 0.0),
            None if budget.tokens is None else max(budget.tokens - used, 0),
            budget.seconds,
            None if budget.calls is None else max(budget.calls - self._calls, 0),
        )

    def settle(self, profile: ModelProfile, usage: Usage, *, unseen_calls: int = 0) -> None:
        """Books what a call really used, and the worst case of those made beside it whose answers nobody saw."""
        usd = billed_usd(profile, usage)
        self.is_estimated |= usage.estimated
        self._book_with(unseen_calls, None if usd is None else to_nano(usd), usage)

    async def hold_envelope(self, envelope: Callable[[], Budget]) -> Budget:
        """Holds all that a search or a run may use, money and tokens, and returns it.

        What other processes have spent is known only by trying: less may still do.
        """
        await self._limiter.look_again(self.principal.chain)
        budget = envelope()
        try:
            await self._hold_all(budget)
        except LimitReached as error:
            smaller = envelope()
            if error.kind == USD and smaller.usd == 0:
                raise self._held_elsewhere("nothing of it is left") or error from None
            if error.kind not in (USD, TOKENS) or smaller == budget or smaller.tokens == 0:
                raise
            budget = smaller
            await self._hold_all(budget)
        return budget

    async def _hold_all(self, budget: Budget) -> None:
        left = self.left_nano()
        self._is_cut = left is not None and budget.usd is not None and to_nano(budget.usd) >= left
        await self.hold(budget.usd or 0.0, budget.tokens or 0)

    def explained(self, error: BudgetExceeded, stated: Budget) -> Exception:
        """What a search's or a run's own limit means, where it is that of its accounts.

        Of their tokens there are more in the next minute. Of their money there is more when requests that are running
        give some back; where there are none, there is no more: all of it was held.
        """
        is_money = error.limit == USD and not error.is_price_unknown
        elsewhere = self._held_elsewhere(error.message) if is_money and self._is_cut else None
        if elsewhere is not None:
            return elsewhere
        whose = self._limiter.without_money(self.principal.chain) if is_money else None
        if whose is not None and (stated.usd is None or self._holds_less_than(stated.usd)):
            told = f"the budget of the {whose} does not allow this request: {error.message}"
            return LimitReached(told, kind=USD, retry_after_s=None, remedy=MONEY_REMEDY)
        if error.limit != "tokens" or stated.tokens is not None or self.left_tokens() is None:
            return error
        return minute_used(f"the tokens of this minute do not allow this: {error.message}", TOKENS, self._limiter.now)

    def _held_elsewhere(self, why: str) -> LimitReached | None:
        """What to tell where other requests hold money of its accounts; `None` where none does."""
        own = self._held_nano or 0 if self._hold is not None else 0
        holder = self._limiter.holder_of(self.principal.chain, own)
        if holder is None:
            return None
        told = f"the budget of the {holder} does not allow this request: {why}"
        told += ", and requests that are running may give some back"
        return LimitReached(told, kind=USD, retry_after_s=1.0, remedy="Wait for one of them to end")

    def _holds_less_than(self, usd: float) -> bool:
        return self._held_nano is not None and self._held_nano < to_nano(usd)

    def settle_usd(self, usd: float | None, usage: Usage, *, tokens: int) -> None:
        """Books what a search or a run used: `tokens` is all that its calls were settled with."""
        self._book(None if usd is None else to_nano(usd), usage, tokens=tokens)

    def settle_worst_case(self) -> None:
        """Books all that was held: what was really used will never be known."""
        self.is_estimated = True
        self._book(self._held_nano, Usage(self._held_tokens, estimated=True))

    def settle_aborted(
        self, profile: ModelProfile, prompt_tokens: int, text_tokens: int, *, unseen_calls: int = 0
    ) -> None:
        """Books a call that was cut off.

        Its prompt, and what came by then with a little more, but never more than was held.
        """
        usage = Usage(prompt_tokens, text_tokens + text_tokens // 8 + ABORTED_TOKENS, estimated=True)
        usd = profile.worst_usd(
            usage.prefill_tokens, usage.output_tokens
        )  # what was read may have been written to a cache
        nano = None if usd is None else to_nano(usd)
        self.is_estimated = True
        self._book_with(
            unseen_calls,
            nano if nano is None or self._held_nano is None else min(nano, self._held_nano // self._held_calls),
            usage,
        )

    def failed(self, error: BackendError) -> None:
        """Books a call that brought no answer: the worst case if its provider may charge for it, else nothing."""
        if error.may_be_billed:
            self.settle_worst_case()
        else:
            self.release()

    def release(self) -> None:
        """Nothing was used."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def _book_with(self, unseen_calls: int, nano: int | None, usage: Usage) -> None:
        if unseen_calls:
            self.is_estimated = True
            nano = (
                None
                if nano is None or self._held_nano is None
                else nano + unseen_calls * (self._held_nano // self._held_calls)
            )
            usage += Usage(unseen_calls * (self._held_tokens // self._held_calls), estimated=True)
        self._book(nano, usage)

    def _book(self, nano: int | None, usage: Usage, *, tokens: int | None = None) -> None:
        if self._hold is not None:
            used = {USD: nano or 0, TOKENS: usage.total_tokens if tokens is None else tokens}
            overrun = self._hold.settle(used)
            self._limiter.overrun_nano += overrun
            self._is_overrun |= overrun > 0
            self.standing = self._hold.standing()
            self._hold = None
        served = self.served
        served.prefill_tokens += usage.prefill_tokens
        served.output_tokens += usage.output_tokens
        served.cached_tokens += usage.cached_tokens
        served.cost_nano = None if nano is None or served.cost_nano is None else served.cost_nano + nano

    async def posted(self) -> None:
        """Returns when what was billed beyond what was held outlives this process; at once, where that is nothing."""
        if self._is_overrun:
            self._is_overrun = False
            with contextlib.suppress(StorageError):  # the database is away: it is booked when it is back
                await self._limiter.book()

    @property
    def cost_usd(self) -> float | None:
        """What the request has cost so far in USD; `None` where a price is unknown."""
        return None if self.served.cost_nano is None else from_nano(self.served.cost_nano)

    def take_over(self, earlier: RequestAccount) -> None:
        """Goes on with the bill of an earlier part of the same request."""
        self._requests = 0
        served, before = self.served, earlier.served
        served.prefill_tokens, served.output_tokens, served.cached_tokens = (
            before.prefill_tokens,
            before.output_tokens,
            before.cached_tokens,
        )
        served.cost_nano = before.cost_nano

    def close(self, status: int, error: str, trace: JsonObject) -> ServedRequest:
        """The record of the request.

        What is still held was for a call that nobody waited for: its worst case is booked.
        """
        if self._hold is not None:
            self.settle_worst_case()
        served = self.served
        served.status, served.error = status, error
        served.latency_s = self.call.elapsed_s
        served.trace = {**trace, "estimated": True} if self.is_estimated else trace
        return served


def settled_usage(ledger: Ledger) -> Usage:
    """What the calls of a search or a run were settled with."""
    written = ledger.settled_output_tokens
    return Usage(ledger.settled_tokens - written, written, estimated=True)


def _check(usd: float | None, tokens: int, budget: Budget) -> None:
    told, remedy = "", "Raise it, or ask for fewer tokens"
    if budget.usd is not None and usd is None:
        told, remedy = f"the price of this model is unknown, and {_of_request(budget.usd)}", PRICE_REMEDY
    elif budget.usd is not None and usd is not None and usd > budget.usd:
        told = f"this call may cost {usd:.6f} USD, and {_of_request(budget.usd)}"
    elif budget.tokens is not None and tokens > budget.tokens:
        told = f"this call may use {tokens:,} tokens, and the budget of the request is {budget.tokens:,}"
    elif budget.calls == 0:
        told = "the budget of the request allows no call"
    if told:
        raise GatewayError(
            402, f"{told}. {remedy}", code="insufficient_quota", kind="insufficient_quota", should_retry=False
        )


def _of_request(usd: float) -> str:
    return f"the budget of the request is {usd:.6f} USD"
