"""Queries that come in one turn of the event loop are assessed together: that takes a fifth of the time of one by one.

Where they come in quick succession, each a turn of its own, they wait some milliseconds for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from orchestrator.router import ModelProfile, Router
from orchestrator.router.router import Assessed

BUSY_S = 0.003  # who comes so soon after the others were assessed waits as long for further ones
Waiting = list[tuple[str, tuple[ModelProfile, ...], "asyncio.Future[Assessed]"]]


class AssessmentBatcher:
    """Each event loop has a list of its own."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, Waiting] = WeakKeyDictionary()
        self._assessed_at: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()

    async def assess(self, query: str, models: Sequence[ModelProfile]) -> Assessed:
        """As `Router.assess` for one query."""
        loop = asyncio.get_running_loop()
        assessed: asyncio.Future[Assessed] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        if not waiting:
            if loop.time() - self._assessed_at.get(loop, 0.0) < BUSY_S:
                loop.call_later(BUSY_S, self._assess, loop)
            else:
                loop.call_soon(self._assess, loop)
        waiting.append((query, tuple(models), assessed))
        return await assessed

    def _assess(self, loop: asyncio.AbstractEventLoop) -> None:
        alike: dict[tuple[ModelProfile, ...], list[tuple[str, asyncio.Future[Assessed]]]] = {}
        for query, models, assessed in self._waiting.pop(loop, []):
            alike.setdefault(models, []).append((query, assessed))
        for models, asked in alike.items():
            try:
                found = self._router.assess([query for query, _ in asked], models)
            except Exception as error:
                for _, assessed in asked:
                    if not assessed.done():
                        assessed.set_exception(error)
                continue
            for (_, assessed), result in zip(asked, found, strict=True):
                if not assessed.done():
                    assessed.set_result(result)
        self._assessed_at[loop] = loop.time()
