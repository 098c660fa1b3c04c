"""Progress as an asynchronous iterator: every event of a search as it happens, text as it is written, the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

from orchestrator.errors import NotAwaited
from orchestrator.trace import Event
from orchestrator.types import Answer, TextDelta, TextRevised

A = TypeVar("A")
E = TypeVar("E")
T = TypeVar("T")
Progress = Event | TextDelta | TextRevised | Answer
"""What `Orchestrator.stream` yields."""


async def events_of(
    start: Callable[[Callable[[E | Event], None]], Coroutine[None, None, A]],
) -> AsyncGenerator[E | Event | A, None]:
    """Yields what `start(on_event)` reports, and last its result; raises what it raises.

    Closing the iterator cancels it.
    """
    waiting: asyncio.Queue[E | Event | None] = asyncio.Queue()
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


class AnswerStream(AsyncIterator[T], Generic[T]):
    """Goes through an answer as it comes into being: `async for`, once.

    Leaving the loop early and calling `aclose` (or leaving an `async with`) cancels what is under way and settles what
    it cost. `answer` is there when the stream has ended.
    """

    def __init__(
        self, items: AsyncGenerator[Progress, None], choose: Callable[[Progress], T | None], name: str
    ) -> None:
        self._items = items
        self._choose = choose
        self._name = name
        self.answer: Answer | None = None

    def __aiter__(self) -> AnswerStream[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            item = await self._items.__anext__()
            if isinstance(item, Answer):
                self.answer = item
            chosen = self._choose(item)
            if chosen is not None:
                return chosen

    async def aclose(self) -> None:
        """Cancels what is under way; what it cost is settled when this returns."""
        await self._items.aclose()

    async def __aenter__(self) -> AnswerStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{self._name}(...): go through it with `async for`>"

    def __iter__(self) -> NoReturn:
        raise NotAwaited(
            f"{self._name}() gives an asynchronous stream",
            remedy=f"Write `async for` in a coroutine, or call {self._name}_sync(...) in a script",
        )

    def __await__(self) -> NoReturn:
        raise NotAwaited(
            f"{self._name}() gives a stream, not one result", remedy="Write `async for`, or await answer(...)"
        )
