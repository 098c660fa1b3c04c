"""One budget for many pieces of work at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.budget import Budget, Ledger
from orchestrator.errors import BudgetExceeded

T = TypeVar("T")


class SharedBudget:
    """The account of a batch, and its clock, which begins now."""

    def __init__(self, budget: Budget) -> None:
        self.ledger = Ledger(budget)
        self._seconds = budget.seconds
        self._began = time.monotonic()
        self._busy = 0
        self._ended = asyncio.Event()  # of the next work that ends

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def left_s(self) -> float | None:
        """Seconds that are left; `None` without a limit. Raises `BudgetExceeded` where none are."""
        if self._seconds is None:
            return None
        left = self._seconds - self.elapsed_s
        if left <= 0:
            raise BudgetExceeded("the time of the whole batch is over", limit="seconds", remedy="Allow more seconds")
        return left

    async def spend(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        """What `work` gives; where the money is only held by other work, it is done again when one has ended."""
        self._busy += 1
        try:
            while True:
                try:
                    return await work(self.ledger)
                except BudgetExceeded as error:
                    if self._busy <= 1 or error.limit == "seconds":
                        raise
                self._busy -= 1
                ended = self._ended
                await ended.wait()
                self._busy += 1
        finally:
            self._busy -= 1
            self._ended.set()
            self._ended = asyncio.Event()
