"""Queries that come in one turn of the event loop are assessed together: that takes half the time of one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from orchestrator.router import ModelProfile, Router
from orchestrator.router.router import Assessed

Waiting = list[tuple[str, tuple[ModelProfile, ...], "asyncio.Future[Assessed]"]]


class AssessmentBatcher:
    """A query waits for the others of its turn, and for nothing else; each event loop has a list of its own."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, Waiting] = WeakKeyDictionary()

    async def assess(self, query: str, models: Sequence[ModelProfile]) -> Assessed:
        """As `Router.assess` for one query."""
        loop = asyncio.get_running_loop()
        assessed: asyncio.Future[Assessed] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        if not waiting:
            loop.call_soon(self._assess, loop)
        waiting.append((query, tuple(models), assessed))
        return await assessed

    def _assess(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop, [])
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
