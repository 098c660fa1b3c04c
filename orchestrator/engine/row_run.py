"""Many rows worked on at once: bounded in memory, in order or as completed, as many at once as the servers bear.

The one implementation under `answer_many`, `/v1/batches` and `orchestrator batch`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from orchestrator.backends.http.concurrency_limit import AdaptiveLimit
from orchestrator.errors import OrchestratorError

R = TypeVar("R")
MAX_WORKERS = 10_000
END = object()
WINDOW = 4  # how many times `concurrency` results may wait for an earlier one
BURST_S, BURST_SHARE = 0.01, 8
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
PATIENCE = 20  # how often a row that met a limit is tried again


class SourceCancelled(OrchestratorError):
    """What gives the rows was cancelled."""

    code = "source_cancelled"


class TryLater(Exception):
    """A row met a limit that passes. `result` is what it gives if it is tried no more.

    `after_s` is when it may be tried again, where the server says so.
    """

    def __init__(self, result: object, after_s: float | None = None) -> None:
        super().__init__("a limit that passes")
        self.result = result
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class RowResult(Generic[R]):
    """What came of one row; `index` is its place."""

    index: int
    row: object
    result: R


class RowRun(Generic[R]):
    """One pass over rows. `work` is called with the place of a row and the row, and must raise nothing but `TryLater`.

    A row that raises it is tried again later, twenty times at most, and fewer rows are then under way until the servers
    take them again. `wait` is what waiting is: it ends early where nobody wants the rest.
    """

    def __init__(
        self,
        rows: Iterable[object] | AsyncIterable[object],
        work: Callable[[int, object], Awaitable[R]],
        *,
        concurrency: int,
        ordered: bool,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = iter(rows) if isinstance(rows, Iterable) else None
        self._ahead = None if isinstance(rows, Iterable) else _ReadAhead(aiter(rows), concurrency)
        self._taken = 0
        self._total = len(rows) if isinstance(rows, Sized) else None
        self._work = work
        self._concurrency = concurrency
        self._ordered = ordered
        self._wait = wait
        self._limit = AdaptiveLimit(start=concurrency, most=concurrency)
        self._done: asyncio.Queue[RowResult[R] | Exception | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(WINDOW * concurrency)
        self._burst = _Burst(concurrency // BURST_SHARE)

    @property
    def total(self) -> int | None:
        """How many rows there are; `None` where nobody knows."""
        return self._total

    @property
    def at_once(self) -> int:
        """How many rows may be under way at this moment."""
        return self._limit.limit

    async def results(self) -> AsyncIterator[RowResult[R]]:
        """What came of each row. Raises what the source of the rows raises, after the results before it."""
        count = min(self._concurrency, MAX_WORKERS if self._total is None else max(self._total, 1))
        workers = [asyncio.ensure_future(self._take_rows()) for _ in range(count)]
        reading = [] if self._ahead is None else [self._ahead.begin()]
        waiting: dict[int, RowResult[R]] = {}
        expected, running = 0, len(workers)
        failure: Exception | None = None
        try:
            while running:
                ended = await self._done.get()
                if not isinstance(ended, RowResult):
                    running -= 1
                    failure = ended or failure
                    continue
                waiting[ended.index] = ended
                for result in _ready(waiting, expected) if self._ordered else [waiting.pop(ended.index)]:
                    expected = result.index + 1
                    self._room.release()
                    yield result
            if failure is not None:
                raise failure
        finally:
            for task in (*workers, *reading):
                task.cancel()
            await asyncio.gather(*workers, *reading, return_exceptions=True)

    async def _take_rows(self) -> None:
        """Works on one row after the other, as long as there is room for its result."""
        try:
            while True:
                await self._room.acquire()
                row = await self._next()
                if row is END:
                    break
                index, self._taken = self._taken, self._taken + 1
                self._done.put_nowait(RowResult(index, row, await self._patiently(index, row)))
                await self._burst.join()
        except BaseException as error:  # of the source: what it gave before counts
            self._done.put_nowait(error if isinstance(error, Exception) else SourceCancelled(type(error).__name__))
            if not isinstance(error, Exception):
                raise
        else:
            self._done.put_nowait(None)

    async def _next(self) -> object:
        if self._ahead is not None:
            return await self._ahead.next()
        assert self._source is not None
        return next(self._source, END)

    async def _patiently(self, index: int, row: object) -> R:
        """The row's result; a limit that passes is waited for."""
        pause_s = FIRST_WAIT_S
        for attempt in range(PATIENCE):
            if not self._limit.has_room:
                await self._limit.enter(1e9)
            else:
                self._limit.in_flight += 1
            try:
                result = await self._work(index, row)
                self._limit.succeeded()
                return result
            except TryLater as later:
                self._limit.overloaded()
                if attempt == PATIENCE - 1:
                    return cast("R", later.result)
                wait_s = random.uniform(0.5, 1.0) * pause_s if later.after_s is None else later.after_s
            finally:
                self._limit.leave()
            await self._wait(min(wait_s, LONGEST_WAIT_S))
            pause_s = min(2 * pause_s, LONGEST_WAIT_S)
        raise AssertionError  # the loop returns


class _Burst:
    """Rows begin some at a time: those that are ready within some milliseconds, `size` at most.

    What happens in one turn of the event loop is cheaper than the same in many: queries are assessed together, and
    what one of them needs is still in the processor's cache for the next.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready = 0
        self._gate: asyncio.Future[None] | None = None

    async def join(self) -> None:
        """Returns when the burst begins."""
        if self._size <= 1:
            return
        loop = asyncio.get_running_loop()
        if self._gate is None:
            self._gate = loop.create_future()
            loop.call_later(BURST_S, self._begin, self._gate)
        self._ready += 1
        gate = self._gate
        if self._ready >= self._size:
            self._begin(gate)
        await gate

    def _begin(self, gate: asyncio.Future[None]) -> None:
        if gate is self._gate:
            self._gate, self._ready = None, 0
        if not gate.done():
            gate.set_result(None)


class _ReadAhead:
    """Rows of an asynchronous source, some of them read before they are wanted.

    Who waits for rows is woken together with the others: queries that begin in one turn of the event loop are assessed
    together, and go on together from then on.
    """

    def __init__(self, source: AsyncIterator[object], most: int) -> None:
        self._source = source
        self._most = most
        self._rows: deque[object] = deque()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._failure: Exception | None = None
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Reads, until it is cancelled or the source ends."""
        self._task = self._task or asyncio.ensure_future(self._read())
        return self._task

    async def next(self) -> object:
        """The next row, or `END`. Raises what the source raises, once for each that asks."""
        while not self._rows:
            if self._failure is not None:
                raise self._failure
            if self._has_ended:
                return END
            self._changed.clear()
            self._wanted.set()
            await self._changed.wait()
        if 2 * len(self._rows) <= self._most:
            self._wanted.set()
        return self._rows.popleft()

    async def _read(self) -> None:
        try:
            async for row in self._source:
                self._rows.append(row)
                self._changed.set()
                if len(self._rows) >= self._most:
                    self._wanted.clear()
                    await self._wanted.wait()
        except asyncio.CancelledError as error:
            self._failure = SourceCancelled(type(error).__name__)
            raise
        except Exception as error:
            self._failure = error
        finally:
            self._has_ended = True
            self._changed.set()


def _ready(waiting: dict[int, RowResult[R]], expected: int) -> Iterator[RowResult[R]]:
    while expected in waiting:
        yield waiting.pop(expected)
        expected += 1
