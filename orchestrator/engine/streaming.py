"""Progress as an asynchronous iterator: every event of a search as it happens, then the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TypeVar

from orchestrator.trace import Event

A = TypeVar("A")


async def events_of(
    start: Callable[[Callable[[Event], None]], Coroutine[None, None, A]],
) -> AsyncGenerator[Event | A, None]:
    """Yields what `start(on_event)` reports, and last its result; raises what it raises.

    Closing the iterator cancels it.
    """
    waiting: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.ensure_future(start(waiting.put_nowait))
    task.add_done_callback(lambda _: waiting.put_nowait(None))
    try:
        while (event := await waiting.get()) is not None:
            yield event
        yield await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
