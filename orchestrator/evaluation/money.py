"""The money of a suite: it ends a run, and never makes an answer another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.budget import Budget, Ledger, Reservation
from orchestrator.errors import BudgetExceeded


class SuiteMoneySpent(Exception):
    """The suite's money does not pay for one more question: no error of a configuration, so no wrong answer."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


class SuiteMoney:
    """What a whole evaluation may cost, in USD; `None` for no limit.

    What a question may use is held before it is asked, and asked is not before that much is left: with less, the fleet
    would ask cheaper models than it does elsewhere, and what is measured would be the suite's limit.
    """

    def __init__(self, usd: float | None) -> None:
        self.limit = usd
        self.ledger = Ledger(Budget(usd=usd))
        self._changed, self._turn = asyncio.Condition(), asyncio.Lock()
        self._running = 0
        self._spent: SuiteMoneySpent | None = None

    @asynccontextmanager
    async def room(self, usd: float, budget: Budget, *, is_paid_for: bool = False) -> AsyncIterator[Ledger]:
        """The account of something that may use `usd`, within `budget`; waits until others have given back so much.

        One after the other, in the order of their coming, so that the first examples are whole when the money ends;
        what grades an answer that `is_paid_for` goes before them.

        Raises `SuiteMoneySpent` when nobody is left who could give back, and where `usd`, not `budget`, was too little.
        """
        if self.limit is None:
            yield Ledger(budget, within=self.ledger)
            return
        if is_paid_for:
            held = await self._hold(usd)
        else:
            async with self._turn:
                if self._spent is not None:
                    raise self._spent
                held = await self._hold(usd)
        own = Ledger(budget & Budget(usd=usd))
        try:
            yield own
        except BudgetExceeded as error:
            if error.limit == "usd" and (budget.usd is None or usd < budget.usd):
                raise SuiteMoneySpent(error.message, error.remedy) from error
            raise
        finally:
            self.ledger.settle(held, usd=own.spent_usd)
            self._running -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _hold(self, usd: float) -> Reservation:
        async with self._changed:
            while True:
                try:
                    held = self.ledger.reserve(usd=usd)
                except BudgetExceeded:
                    if not self._running:
                        self._spent = self._too_little(usd)
                        raise self._spent from None
                    await self._changed.wait()
                else:
                    self._running += 1
                    return held

    def _too_little(self, usd: float) -> SuiteMoneySpent:
        left = self.ledger.remaining_usd() or 0.0
        message = f"{left:.6f} of {self.limit:g} USD are left, and one question may cost {usd:.6f}"
        least = (self.limit or 0.0) + usd
        remedy = f"Allow the suite usd: {least:.2g}, say, or state a smaller budget.usd in its configuration"
        return SuiteMoneySpent(message, remedy)
