"""What a request may use, held before it and settled after it, in this process's own share of every quota.

No database on the way.

Each account of a chain (organisation, team, key) has a lease for every limit: a slice leased from the shared quota (see
`storage.quotas`). Holding takes from the leases of the whole chain or from none. Only when a lease runs low is another
slice leased. Invariant: what a lease holds, has spent since the last booking and has to spare is exactly what it has
leased. What it has to spare is negative after a provider billed more than was held, until the next booking.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

from orchestrator.budget import from_nano, to_nano
from orchestrator.budget.ledger import PRICE_REMEDY
from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.storage.account_types import AccountLimits
from orchestrator.storage.quotas import CONCURRENCY, Booking, Buried, Quota, Quotas

USD, REQUESTS, TOKENS = "usd", "requests", "tokens"
MINUTE_S = 60
LITTLE = 10  # a budget of which less than a tenth is left is looked at again
SLICE = 50  # of a budget: a fiftieth is leased at once, and lost to the budget if this process is killed
SHARED_SLICE = 10  # of what passes in a minute or is in use at once, where other processes share it
PATIENCE_S = 1.5  # how long a request waits for money that other processes hold and do not use
TRIES = 5
MONEY_REMEDY = "State a smaller max_tokens, choose a cheaper model, or have the budget raised"
T = TypeVar("T")
log = logging.getLogger(__name__)


class Account(NamedTuple):
    """One link of a chain.

    Whose limits these are, for messages (`key`, `team`, `organisation`), the limits, and the budget in nano-dollars.
    """

    subject: str
    what: str
    limits: AccountLimits
    nano: int | None = None

    @classmethod
    def of(cls, subject: str, what: str, limits: AccountLimits) -> Account:
        """The account of a subject under its limits."""
        return cls(subject, what, limits, None if limits.usd is None else to_nano(limits.usd))


class LimitReached(OrchestratorError):
    """A limit of an account does not allow this request.

    `retry_after_s` is when it may; `None`: waiting does not help.
    """

    code = "limit_reached"

    def __init__(self, message: str, *, kind: str, retry_after_s: float | None, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind
        self.retry_after_s = retry_after_s


def minute_used(message: str, kind: str, now: float) -> LimitReached:
    """For what can be had again in the next minute."""
    reset_s = MINUTE_S - now % MINUTE_S
    return LimitReached(message, kind=kind, retry_after_s=reset_s, remedy=f"Wait {reset_s:.0f} s")


class QuotaLease:
    """This process's share of one quota: amounts that are held by running requests, spent but not booked, and free."""

    __slots__ = ("held", "idle_since", "limit", "quota", "refused_until", "spare", "spent", "unleased", "what")

    def __init__(self, quota: Quota, limit: int, what: str) -> None:
        self.quota = quota
        self.limit = limit
        self.what = what
        self.held = self.spent = self.spare = 0
        self.unleased = limit  # as far as known: what nobody has leased or used
        self.refused_until = 0.0

    def taken(self, *, gives_back: bool) -> Booking | None:
        """Takes out what is to be booked: what was spent, and what it has to spare, if it `gives_back`.

        Of money, never more than a slice is kept to spare: it would be lost with this process. `None` if there is
        nothing.
        """
        kept = 0 if gives_back else self.limit // SLICE if self.quota.kind == USD else self.spare
        debt, returned = max(-self.spare, 0), max(self.spare - kept, 0)
        if not self.spent and not returned:
            return None
        booking = Booking(self.quota, self.spent, returned, debt)
        self.spare += debt - returned
        self.unleased += returned
        self.spent = 0
        return booking

    def put_back(self, booking: Booking) -> None:
        """It could not be booked: it is, the next time."""
        self.spent += booking.spent
        self.spare += booking.returned - booking.beyond
        self.unleased -= booking.returned

    def excess(self) -> Booking | None:
        """Takes out what was spent beyond the lease of a process that was taken for dead.

        All of the lease was booked then, and this was not.
        """
        debt = max(-self.spare, 0)
        self.spare += debt
        return Booking(self.quota, debt, 0, debt) if debt else None

    @property
    def remaining(self) -> int:
        """What is left of the quota as far as this process knows."""
        return max(self.spare + self.unleased, 0)


class QuotaHold:
    """What one request holds. Settle or release it exactly once."""

    __slots__ = ("is_open", "parts")

    def __init__(self, parts: list[tuple[QuotaLease, int]]) -> None:
        self.parts = parts
        self.is_open = True

    def settle(self, used: Mapping[str, int]) -> int:
        """Books what was really used of each kind (a kind that is not named: all that was held).

        Returns by how many nano-dollars the provider billed more than was held. Calls at once are given back.
        """
        if not self.is_open:
            raise ValueError("this hold is closed already")
        self.is_open = False
        overrun = 0
        for lease, amount in self.parts:
            kind = lease.quota.kind
            really = 0 if kind == CONCURRENCY else used.get(kind, amount)
            lease.held -= amount
            lease.spent += really
            lease.spare += amount - really
            if kind == USD:
                overrun = max(overrun, really - amount)
        return overrun

    def standing(self) -> list[tuple[str, int, int]]:
        """(kind, limit, what is left) of the tightest quotas of requests and of tokens that it counts against."""
        found: dict[str, tuple[str, int, int]] = {}
        for lease, _ in self.parts:
            kind = lease.quota.kind
            if kind in (REQUESTS, TOKENS) and (kind not in found or lease.remaining < found[kind][2]):
                found[kind] = kind, lease.limit, lease.remaining
        return list(found.values())

    def release(self) -> None:
        """Nothing was used, but the request itself counts."""
        self.settle({USD: 0, TOKENS: 0})


class Limiter:
    """All leases of this process.

    `is_shared`: other processes lease from the same quotas; a request waits `patience_s` for what they give back.
    """

    def __init__(
        self, quotas: Quotas, *, is_shared: bool, clock: Callable[[], float] = time.time, patience_s: float = PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self.quotas = quotas
        self._is_shared = is_shared
        self._clock = clock
        self._leases: dict[Quota, QuotaLease] = {}
        self._lost: list[
            QuotaLease
        ] = []  # of lives of this process that were taken for dead, and are still settled with
        self._threads = ThreadPoolExecutor(
            1, thread_name_prefix="quotas"
        )  # one: bookings and leases of one process keep their order
        self._leasing: dict[Quota, asyncio.Future[None]] = {}
        self.overrun_nano = 0

    @property
    def held(self) -> int:
        """What running requests hold of all leases, in the units of each (billionths of a USD, tokens)."""
        return sum(lease.held for lease in self._leases.values())

    @property
    def now(self) -> float:
        """Seconds since 1970, by the limiter's clock."""
        return self._clock()

    async def hold(
        self, chain: Sequence[Account], *, usd_nano: int | None, tokens: int, requests: int = 1
    ) -> QuotaHold:
        """Holds the worst case of a request on every account of its chain.

        Raises `LimitReached`, and holds nothing then.

        `usd_nano=None` means that the price is not known: refused where an account has a money limit.
        """
        while True:
            parts = self._parts(chain, usd_nano, tokens, requests)
            short = [(lease, amount) for lease, amount in parts if lease.spare < amount]
            if not short:
                break
            for lease, amount in short:
                await self._lease(lease, amount)
        for lease, amount in parts:  # no await since the last look: the event loop runs nothing in between
            lease.spare -= amount
            lease.held += amount
        return QuotaHold(parts)

    def _parts(
        self, chain: Iterable[Account], usd_nano: int | None, tokens: int, requests: int
    ) -> list[tuple[QuotaLease, int]]:
        """What a request takes from which lease."""
        now = self._clock()
        parts: list[tuple[QuotaLease, int]] = []
        for account in chain:
            limits = account.limits
            if account.nano is not None:
                if usd_nano is None:
                    raise LimitReached(
                        f"the price of this model is unknown, and the {account.what} has a budget",
                        kind=USD,
                        retry_after_s=None,
                        remedy=PRICE_REMEDY,
                    )
                if usd_nano:
                    parts.append((self._lease_of(account, USD, period_of(limits.period, now), account.nano), usd_nano))
            if limits.requests_per_minute is not None:
                lease = self._lease_of(account, REQUESTS, int(now) // MINUTE_S, limits.requests_per_minute)
                parts.append((lease, requests))
            if limits.tokens_per_minute is not None:
                parts.append((self._lease_of(account, TOKENS, int(now) // MINUTE_S, limits.tokens_per_minute), tokens))
            if limits.concurrency is not None:
                parts.append((self._lease_of(account, CONCURRENCY, 0, limits.concurrency), 1))
        return parts

    def left_nano(self, chain: Iterable[Account]) -> int | None:
        """Nano-dollars that the tightest budget of the chain still allows, as far as this process knows.

        `None` without a budget.
        """
        return min((nano for _, nano in self._budgets_left(chain)), default=None)

    async def look_again(self, chain: Iterable[Account]) -> None:
        """Looks how much of budgets is left that this process takes for nearly spent: others may have given back."""
        if not self._is_shared:
            return
        for _, lease in list(self._budget_leases(chain)):
            if lease is not None and lease.remaining <= lease.limit // LITTLE:
                used, leased = await self._in_thread(partial(self.quotas.standing, lease.quota))
                lease.unleased = lease.limit - used - leased

    def holder_of(self, chain: Iterable[Account], own_nano: int) -> str | None:
        """Of whose budget, in words, requests here hold more than `own_nano` nano-dollars; `None` for nobody's."""
        leases = self._budget_leases(chain)
        return next((account.what for account, lease in leases if lease is not None and lease.held > own_nano), None)

    def without_money(self, chain: Iterable[Account]) -> str | None:
        """Whose budget, in words, has nothing left that is neither spent nor held; `None` where each has."""
        return next((account.what for account, nano in self._budgets_left(chain) if nano <= 0), None)

    def _budgets_left(self, chain: Iterable[Account]) -> Iterator[tuple[Account, int]]:
        for account, lease in self._budget_leases(chain):
            limit = account.nano or 0
            yield account, limit if lease is None else min(lease.remaining, limit)

    def _budget_leases(self, chain: Iterable[Account]) -> Iterator[tuple[Account, QuotaLease | None]]:
        """The accounts that have a budget, each with what this process has leased of it; `None` before the first."""
        now = self._clock()
        for account in chain:
            if account.nano is not None:
                yield account, self._leases.get(Quota(account.subject, USD, period_of(account.limits.period, now)))

    def left_tokens(self, chain: Iterable[Account]) -> int | None:
        """Tokens that the tightest limit of the chain still allows in this minute, as far as this process knows.

        `None` without a limit.
        """
        minute, found = int(self._clock()) // MINUTE_S, []
        for account in chain:
            most = account.limits.tokens_per_minute
            if most is not None:
                lease = self._leases.get(Quota(account.subject, TOKENS, minute))
                found.append(most if lease is None else min(lease.remaining, most))
        return min(found) if found else None

    def _lease_of(self, account: Account, kind: str, period: int, limit: int) -> QuotaLease:
        quota = Quota(account.subject, kind, period)
        lease = self._leases.get(quota)
        if lease is None:
            lease = self._leases[quota] = QuotaLease(quota, limit, account.what)
        elif lease.limit != limit:
            lease.unleased += limit - lease.limit
            lease.limit = limit
        return lease

    async def _lease(self, lease: QuotaLease, amount: int) -> None:
        """Gets enough into a lease for `amount`, or raises `LimitReached`.

        Requests that wait for the same lease wait together.
        """
        if self._leases.get(lease.quota) is not lease:
            return  # all began again in the meantime
        if amount > lease.limit:
            raise self._refusal(lease, amount)
        running = self._leasing.get(lease.quota)
        if running is not None:
            await asyncio.wait((running,))  # whatever comes of it, each looks again for itself
            return
        if self._clock() < lease.refused_until:
            raise self._refusal(lease, amount)
        leasing = self._leasing[lease.quota] = asyncio.ensure_future(self._lease_from_quota(lease, amount))
        leasing.add_done_callback(partial(self._leased, lease.quota))
        await asyncio.shield(leasing)  # it goes on when its caller leaves: what was granted must reach the lease

    def _leased(self, quota: Quota, leasing: asyncio.Future[None]) -> None:
        del self._leasing[quota]
        if not leasing.cancelled():
            leasing.exception()  # looked at here, so that a caller who has left is no complaint

    async def _lease_from_quota(self, lease: QuotaLease, amount: int) -> None:
        for attempt in range(TRIES):
            need = amount - lease.spare
            if need <= 0:
                return
            slice_, share = self._slice(lease)
            try:
                grant = await self._in_thread(
                    partial(self.quotas.lease, lease.quota, need, slice_, lease.limit, share=share)
                )
            except Buried:
                await self._begin_again()
                return
            lease.unleased = lease.limit - grant.used - grant.leased
            if grant.amount:
                lease.spare += grant.amount
                return
            others = grant.leased - lease.held - lease.spare - lease.spent
            could_fit = self._is_shared and grant.used + lease.held + lease.spent + amount <= lease.limit and others > 0
            if not could_fit or lease.quota.kind in (REQUESTS, TOKENS) or attempt == TRIES - 1:
                break
            await asyncio.sleep(self._patience_s / (TRIES - 1))
        lease.refused_until = self._clock() + (
            0.0 if lease.held else 0.25
        )  # what runs here may give back at any moment
        raise self._refusal(lease, amount, others_may_give_back=could_fit)

    def _slice(self, lease: QuotaLease) -> tuple[int, int]:
        """How much to lease at once, and at most which part of what is left.

        What passes in a minute is all ours if nobody shares it.
        """
        if lease.quota.kind == USD:
            return lease.limit // SLICE, 10
        return (max(lease.limit // SHARED_SLICE, 1), 4) if self._is_shared else (lease.limit, 1)

    def _refusal(self, lease: QuotaLease, amount: int, *, others_may_give_back: bool = False) -> LimitReached:
        kind, now = lease.quota.kind, self._clock()
        if kind == USD:
            is_held = (
                others_may_give_back or amount <= lease.remaining + lease.held
            )  # the worst cases of what is running
            return LimitReached(
                f"the budget of the {lease.what} does not allow this request: it may cost {dollars(amount)} USD, "
                f"{dollars(max(lease.remaining, 0))} of {dollars(lease.limit)} are left"
                + (", and requests that are running may give some back" if is_held else ""),
                kind=USD,
                retry_after_s=1.0 if is_held else None,
                remedy="Wait for one of them to end" if is_held else MONEY_REMEDY,
            )
        if kind == CONCURRENCY:
            return LimitReached(
                f"the {lease.what} has {lease.limit} requests running, which is its limit",
                kind=kind,
                retry_after_s=1.0,
                remedy="Wait for one to end",
            )
        if amount > lease.limit:
            return LimitReached(
                f"this request may use {amount:,} {kind}, the limit of the {lease.what} is {lease.limit:,} a minute",
                kind=kind,
                retry_after_s=None,
                remedy="Ask for fewer tokens (max_tokens)",
            )
        return minute_used(f"the {lease.what} has used its {lease.limit:,} {kind} of this minute", kind, now)

    async def book(self) -> None:
        """Books what was spent since the last time, and gives back what others want or what is over."""
        wanted = await self._in_thread(self.quotas.wanted) if self._is_shared else set()
        bookings, now = [], self._clock()
        for lease in list(self._leases.values()):
            is_past = _is_past(lease.quota, now)
            booking = lease.taken(gives_back=lease.quota in wanted or is_past)
            if booking is not None:
                bookings.append((lease, booking))
            elif is_past and not lease.held and not lease.spare:
                del self._leases[lease.quota]
        self._lost = [lease for lease in self._lost if lease.held or lease.spare < 0]
        bookings += [(lease, booking) for lease in self._lost if (booking := lease.excess()) is not None]
        booked = _merged(booking for _, booking in bookings)
        under_way = asyncio.get_running_loop().run_in_executor(self._threads, self.quotas.book, booked)
        try:
            await asyncio.shield(under_way)
        except (
            asyncio.CancelledError
        ):  # the gateway ends: what left the leases is booked before that, or comes back to them
            await asyncio.wait((under_way,))
            if isinstance(under_way.exception(), StorageError):
                _put_back(bookings)
            elif isinstance(under_way.exception(), Buried):
                _put_back(bookings)
                self._lose()
            raise
        except Buried:
            _put_back(bookings)
            await self._begin_again()
        except StorageError:  # the database is away: it is booked the next time
            _put_back(bookings)
            raise

    async def _begin_again(self) -> None:
        """This process was taken for dead (it slept for long).

        What it had leased is booked as used, so nothing of it is booked again but what was spent beyond it.
        """
        log.warning("this process was taken for dead; what it had leased is booked as spent")
        self._lose()
        await self._in_thread(self.quotas.revive)
        await self._book_excess()

    async def _book_excess(self) -> None:
        """What was spent beyond the leases of lives that were taken for dead."""
        bookings = [(lease, booking) for lease in self._lost if (booking := lease.excess()) is not None]
        if bookings:
            try:
                await self._in_thread(self.quotas.book, _merged(booking for _, booking in bookings))
            except (Buried, StorageError):
                _put_back(bookings)  # the next booking takes it along
                raise

    def _lose(self) -> None:
        self._lost += self._leases.values()
        self._leases = {}

    async def bury(self) -> None:
        """Books what processes held that died, and clears old minutes."""
        if await self._in_thread(self.quotas.bury):
            log.warning("booked what a process that died had held")
        await self._in_thread(self.quotas.clear)

    async def aclose(self) -> None:
        """Books everything and gives back what is left."""
        try:
            await self._book_all()
        except Buried:
            self._lose()
            await self._in_thread(self.quotas.revive)
            await self._book_all()
        self._threads.shutdown()

    async def _book_all(self) -> None:
        bookings = [
            (lease, booking) for lease in self._leases.values() if (booking := lease.taken(gives_back=True)) is not None
        ]
        bookings += [(lease, booking) for lease in self._lost if (booking := lease.excess()) is not None]
        try:
            await self._in_thread(self.quotas.book, _merged(booking for _, booking in bookings))
        except (Buried, StorageError):
            _put_back(bookings)
            raise

    async def _in_thread(self, call: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *values)


def _put_back(bookings: list[tuple[QuotaLease, Booking]]) -> None:
    for lease, booking in bookings:
        lease.put_back(booking)


def _merged(bookings: Iterable[Booking]) -> list[Booking]:
    """One booking for each quota."""
    found: dict[Quota, Booking] = {}
    for booking in bookings:
        before = found.get(booking.quota, Booking(booking.quota, 0, 0))
        sums = (getattr(before, name) + getattr(booking, name) for name in ("spent", "returned", "beyond"))
        found[booking.quota] = Booking(booking.quota, *sums)
    return list(found.values())


def _is_past(quota: Quota, now: float) -> bool:
    """Whether its period is over: nobody holds anything of it any more."""
    if quota.kind in (REQUESTS, TOKENS):
        return quota.period < int(now) // MINUTE_S
    return quota.kind == USD and quota.period not in (period_of(period, now) for period in ("", "day", "month"))


def dollars(nano: int) -> str:
    """An amount for people: cents, and as many further digits as it needs."""
    written = f"{from_nano(nano):.6f}".rstrip("0")
    return written + "0" * max(2 - len(written.partition(".")[2]), 0)


def period_of(period: str, now: float) -> int:
    """The number of the period that a moment (seconds since 1970) lies in.

    Of its day, of its month, or 0 for a limit that lasts for ever.
    """
    if period == "day":
        return int(now) // 86_400
    if period == "month":
        moment = datetime.fromtimestamp(now, UTC)
        return moment.year * 12 + moment.month
    return 0
