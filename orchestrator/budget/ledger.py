"""The account of one budget: hold the worst case before a call, settle the real usage after it.

Invariant, under any concurrency: settled + reserved <= limit, for money, tokens and calls, unless a provider bills more
than the worst case that was reserved; that difference is kept apart as `overrun` and never hidden. Thread-safe; no I/O.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from orchestrator.budget.limits import Budget
from orchestrator.budget.money import from_nano, to_nano
from orchestrator.errors import BackendError, BudgetExceeded

PRICE_REMEDY = (
    "State its prices (input_usd_per_mtok, output_usd_per_mtok: 0 for a server of your own), or lift the money limit"
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money (nano-dollars) and tokens held for one call. Settle or release it exactly once."""

    id: int
    nano: int
    tokens: int
    outer: Reservation | None = None
    """The same on the account that this one is within."""


class Ledger:
    """Counts against `budget` (its `seconds` are the search loop's concern) and against the account that it is
    `within`. Amounts are integers.
    """

    def __init__(self, budget: Budget | None = None, *, within: Ledger | None = None) -> None:
        self.budget = budget or Budget()
        self._within = within
        self._limit_nano = None if self.budget.usd is None else to_nano(self.budget.usd)
        self._lock = threading.Lock()
        self._open: dict[int, Reservation] = {}
        self._held_nano = self._held_tokens = 0
        self._next_id = 1
        self.settled_nano = 0
        self.settled_tokens = 0
        self.settled_output_tokens = 0
        """How many of the settled tokens were written."""
        self.calls = 0
        self.overrun_nano = 0
        self.price_unknown = False

    @property
    def reserved_nano(self) -> int:
        """What is held for calls under way, in nano-dollars."""
        with self._lock:
            return self._held_nano

    @property
    def spent_usd(self) -> float:
        """What was settled so far, in USD."""
        return from_nano(self.settled_nano)

    @property
    def held_usd(self) -> float:
        """What calls under way may cost at most, in USD."""
        return from_nano(self.reserved_nano)

    def remaining_usd(self) -> float | None:
        """USD that can still be reserved; `None` without a money limit."""
        outer = self._within.remaining_usd() if self._within is not None else None
        with self._lock:
            if self._limit_nano is None:
                return outer
            own = from_nano(max(self._limit_nano - self.settled_nano - self._held_nano, 0))
            return own if outer is None else min(own, outer)

    async def kept(self) -> None:
        """Returns when what is reserved would outlive the process; at once, where nothing is to outlive it."""
        if self._within is not None:
            await self._within.kept()

    def reserve(self, *, usd: float | None, tokens: int = 0) -> Reservation:
        """Holds the worst case of one call, or raises `BudgetExceeded` and holds nothing.

        `usd=None` means that the price is unknown: refused under a money limit, noted in `price_unknown` otherwise.
        """
        if tokens < 0 or (usd is not None and usd < 0):
            raise ValueError(f"cannot reserve a negative amount (usd={usd}, tokens={tokens})")
        return self.hold(None if usd is None else to_nano(usd), tokens)

    def hold(self, nano: int | None, tokens: int) -> Reservation:
        """`reserve` in nano-dollars."""
        if self._within is None:
            return self._hold(nano, tokens, None)
        outer = self._within.hold(nano, tokens)
        try:
            return self._hold(nano, tokens, outer)
        except BudgetExceeded:
            self._within.release(outer)
            raise

    def _hold(self, asked: int | None, tokens: int, outer: Reservation | None) -> Reservation:
        with self._lock:
            held_nano, held_tokens = self._held_nano, self._held_tokens
            if asked is None and self._limit_nano is not None:
                raise BudgetExceeded(
                    "the price of this model is unknown",
                    limit="usd",
                    remedy=PRICE_REMEDY,
                    is_price_unknown=True,
                )
            nano = asked or 0
            if self._limit_nano is not None and self.settled_nano + held_nano + nano > self._limit_nano:
                left = from_nano(max(self._limit_nano - self.settled_nano - held_nano, 0))
                raise BudgetExceeded(
                    f"a call may cost {from_nano(nano):.6f} USD, {left:.6f} are left",
                    limit="usd",
                    remedy="Raise budget.usd, or lower max_tokens: the longest answer is held back before a call",
                )
            if self.budget.tokens is not None and self.settled_tokens + held_tokens + tokens > self.budget.tokens:
                left_tokens = max(self.budget.tokens - self.settled_tokens - held_tokens, 0)
                raise BudgetExceeded(
                    f"a call may use {tokens} tokens, {left_tokens} are left",
                    limit="tokens",
                    remedy="Raise budget.tokens, or lower max_tokens",
                )
            if self.budget.calls is not None and self.calls + len(self._open) >= self.budget.calls:
                raise BudgetExceeded(
                    f"all {self.budget.calls} calls are used", limit="calls", remedy="Raise budget.calls"
                )
            reservation = Reservation(self._next_id, nano, tokens, outer)
            self._next_id += 1
            self._open[reservation.id] = reservation
            self._held_nano += nano
            self._held_tokens += tokens
            self.price_unknown |= asked is None
            return reservation

    def settle(self, reservation: Reservation, *, usd: float, tokens: int = 0, output_tokens: int = 0) -> None:
        """Books what the call really used (`output_tokens` of its tokens were written) and frees the rest.

        More than was reserved is booked too, and added to `overrun_nano`.
        """
        if usd < 0 or not 0 <= output_tokens <= tokens:
            raise ValueError(
                f"cannot settle {usd=}, {tokens=}, {output_tokens=}: none is negative, and what was written is among "
                "the tokens"
            )
        self.close(reservation, to_nano(usd), tokens, output_tokens)

    def close(self, reservation: Reservation, nano: int, tokens: int, output_tokens: int = 0) -> None:
        """`settle` in nano-dollars."""
        with self._lock:
            self._close(reservation)
            self.settled_nano += nano
            self.settled_tokens += tokens
            self.settled_output_tokens += output_tokens
            self.calls += 1
            self.overrun_nano += max(nano - reservation.nano, 0)
        if self._within is not None and reservation.outer is not None:
            self._within.close(reservation.outer, nano, tokens, output_tokens)

    def book(self, *, usd: float) -> None:
        """Books what was billed though nothing was held for it: all of it is overrun."""
        with self._lock:
            self.settled_nano += to_nano(usd)
            self.overrun_nano += to_nano(usd)
        if self._within is not None:
            self._within.book(usd=usd)

    def settle_worst_case(self, reservation: Reservation) -> None:
        """Books everything that was held: for a call whose real usage will never be known."""
        self.close(reservation, reservation.nano, reservation.tokens)

    def failed(self, reservation: Reservation, error: BaseException) -> bool:
        """Closes the reservation of a call that brought no answer.

        Freed if it certainly was not billed, else booked at its worst, because what the provider generated by then is
        unknown. Whether it was booked.
        """
        if isinstance(error, BackendError) and not error.may_be_billed:
            self.release(reservation)
            return False
        self.settle_worst_case(reservation)
        return True

    def release(self, reservation: Reservation) -> None:
        """Frees everything: for a call that certainly was not billed."""
        with self._lock:
            self._close(reservation)
        if self._within is not None and reservation.outer is not None:
            self._within.release(reservation.outer)

    def is_open(self, reservation: Reservation) -> bool:
        """Whether it was neither settled nor released yet."""
        with self._lock:
            return reservation.id in self._open

    def _close(self, reservation: Reservation) -> None:
        if self._open.pop(reservation.id, None) is None:
            raise ValueError(f"reservation {reservation.id} is not open: it was already settled or released")
        self._held_nano -= reservation.nano
        self._held_tokens -= reservation.tokens
