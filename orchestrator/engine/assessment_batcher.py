"""Queries that come in one turn of the event loop are assessed together: that takes half the time of one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.router import ModelProfile, Router
from orchestrator.router.router import Assessed


class AssessmentBatcher:
    """Of one event loop. A query waits for the others of its turn, and for nothing else."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: list[tuple[str, tuple[ModelProfile, ...], asyncio.Future[Assessed]]] = []

    async def assess(self, query: str, models: Sequence[ModelProfile]) -> Assessed:
        """As `Router.assess` for one query."""
        loop = asyncio.get_running_loop()
        assessed: asyncio.Future[Assessed] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._assess)
        self._waiting.append((query, tuple(models), assessed))
        return await assessed

    def _assess(self) -> None:
        waiting, self._waiting = self._waiting, []
        while waiting:
            models = waiting[0][1]
            alike = [one for one in waiting if one[1] == models]
            waiting = [one for one in waiting if one[1] != models]
            try:
                found = self._router.assess([query for query, _, _ in alike], models)
            except Exception as error:
                for _, _, assessed in alike:
                    if not assessed.done():
                        assessed.set_exception(error)
                continue
            for (_, _, assessed), result in zip(alike, found, strict=True):
                if not assessed.done():
                    assessed.set_result(result)
