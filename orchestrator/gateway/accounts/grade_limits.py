"""How far one tenant moves a router that all share: so many grades a day, of each process, and no more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from orchestrator.gateway.errors import GatewayError

MAX_GRADES = 500  # of one organisation in a day: the learner forgets as fast as the others teach
DAY_S = 86_400


class Influence:
    """Counts the grades of each organisation, by day."""

    def __init__(self, most: int = MAX_GRADES, *, clock: Callable[[], float] = time.time) -> None:
        self._most, self._clock = most, clock
        self._day = 0
        self._grades: Counter[str] = Counter()

    def count(self, org: str) -> None:
        """Counts one grade. Raises `GatewayError` (429) on one too many."""
        now = self._clock()
        if int(now) // DAY_S != self._day:
            self._day = int(now) // DAY_S
            self._grades.clear()
        if self._grades[org] >= self._most:
            told = (
                f"the {self._most} grades that an organisation may give in a day are given: all tenants teach the "
                "same router"
            )
            raise GatewayError(
                429, told, code="rate_limit_exceeded", retry_after_s=DAY_S - now % DAY_S, should_retry=False
            )
        self._grades[org] += 1
