"""Calls that only look whether an answer was right, within what a day of looking may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.errors import BackendError
from orchestrator.types import Completion

DAY_S = 86_400.0


class AuditMoney:
    """One day's money for audits, over all processes that share a log.

    `spent_since` says what audits cost since a moment (seconds since 1970); it may block, and is called in a thread.
    """

    def __init__(
        self, backends: Mapping[str, Backend], usd_per_day: float, spent_since: Callable[[float], float]
    ) -> None:
        self._backends = backends
        self._usd_per_day = usd_per_day
        self._spent_since = spent_since
        self._held_usd = 0.0
        self._lost: list[tuple[float, float]] = []  # what stands in no log, and until when it counts

    async def ask(self, model: str, request: Request) -> tuple[Completion, float] | None:
        """One call and what it cost; `None` if it would not fit into the day, or the model abstains.

        What it cost stays held until `logged` says that it stands in the log. Raises `BackendError`.
        """
        backend = self._backends[model]
        most = worst_case(backend, request)
        worst = most.usd
        spent = await asyncio.to_thread(self._spent_since, time.time() - DAY_S)
        self._lost = [(until, usd) for until, usd in self._lost if until > time.time()]
        spent += sum(usd for _, usd in self._lost)
        if worst is None or spent + self._held_usd + worst > self._usd_per_day:
            return None
        self._held_usd += worst
        try:
            done = await backend.complete(request)
        except BackendError as error:
            self._held_usd -= worst
            if error.may_be_billed:  # it counts as spent, for a day
                self._lost.append((time.time() + DAY_S, worst))
            raise
        usd = bill_of(backend, done, most).usd or 0.0
        if done.abstained:
            self._held_usd -= worst
            self._lost.append((time.time() + DAY_S, usd))
            return None
        self._held_usd += usd - worst
        return done, usd

    def logged(self, usd: float) -> None:
        """What an audit cost stands in the log now."""
        self._held_usd -= usd
