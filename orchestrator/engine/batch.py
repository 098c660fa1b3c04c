"""Many queries with one budget: so many at once, in order or as completed, each with its answer or its error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn, cast

from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.settings import PreparedQuery, QuerySettings, check_listener, read_settings
from orchestrator.errors import (
    BadResponse,
    BudgetExceeded,
    InvalidArgument,
    InvalidQuery,
    NotAwaited,
    OrchestratorError,
)
from orchestrator.types import Answer

MAX_WORKERS = 10_000
END = object()
WINDOW = 4  # how many times `concurrency` results may wait for an earlier one


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What came of one query: `index` is its place in the batch; either `answer` or `error` is there."""

    index: int
    query: object
    answer: Answer | None = None
    error: Exception | None = None

    def __repr__(self) -> str:
        return f"QueryResult({self.index}, {self.answer if self.error is None else self.error!r:.100})"


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is. `total` is `None` where nobody knows how many queries there are."""

    done: int
    failed: int
    total: int | None
    cost_usd: float
    seconds: float


class SourceCancelled(OrchestratorError):
    """What gives the queries of a batch was cancelled."""

    code = "source_cancelled"


Ask = Callable[[PreparedQuery, Ledger], Awaitable[Answer]]


class AnswerBatch:
    """A batch under way: `await` it for the list of all results, or go through it with `async for` as they come.

    Closing it (`async with`, or `aclose`) cancels what is under way; what was answered by then has been given.
    """

    def __init__(self, results: Callable[[], AsyncIterator[QueryResult]]) -> None:
        self._results = results
        self._iterator: AsyncIterator[QueryResult] | None = None
        self._awaited: list[QueryResult] | None = None

    def __await__(self) -> Generator[Any, Any, list[QueryResult]]:
        return self._all().__await__()

    async def _all(self) -> list[QueryResult]:
        if self._awaited is None:
            self._awaited = sorted([result async for result in self], key=lambda result: result.index)
        return self._awaited

    def __aiter__(self) -> AsyncIterator[QueryResult]:
        if self._iterator is None:
            self._iterator = self._results()
        return self._iterator

    def __iter__(self) -> NoReturn:
        raise NotAwaited(
            "answer_many() gives a batch under way",
            remedy="Write `await fleet.answer_many(...)` or `async for`, or call answer_many_sync(...) in a script",
        )

    async def aclose(self) -> None:
        """Cancels what is under way."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> AnswerBatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return "<answer_many(...): await it, or go through it with `async for`>"


def check_batch(queries: object, concurrency: object, on_progress: object) -> None:
    """Raises `InvalidArgument` on what cannot be a batch."""
    if isinstance(queries, str | bytes | Mapping) or not isinstance(queries, Iterable | AsyncIterable):
        raise InvalidArgument(
            f"answer_many takes a list of queries, not {type(queries).__name__}", remedy="For one query: answer(...)"
        )
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise InvalidArgument(
            f"concurrency must be a whole number of at least 1, not {concurrency!r}", remedy="concurrency=16"
        )
    check_listener("on_progress", on_progress, "a BatchProgress")


class BatchRun:
    """One pass over the queries of a batch."""

    def __init__(
        self,
        queries: Iterable[object] | AsyncIterable[object],
        settings: QuerySettings,
        backends: Mapping[str, Backend],
        ask: Ask,
        *,
        budget: Budget,
        concurrency: int,
        ordered: bool,
        on_progress: Callable[[BatchProgress], None] | None,
    ) -> None:
        self._source = iter(queries) if isinstance(queries, Iterable) else None
        self._asynchronous = aiter(queries) if isinstance(queries, AsyncIterable) else None
        self._taken = 0
        self._total = len(queries) if isinstance(queries, Sized) else None
        self._settings = settings
        self._backends = backends
        self._ask = ask
        self._budget = budget
        self._ledger = Ledger(budget)
        self._concurrency = concurrency
        self._ordered = ordered
        self._on_progress = on_progress
        self._done: asyncio.Queue[QueryResult | Exception | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(WINDOW * concurrency)
        self._turn = asyncio.Lock()  # an asynchronous source can be asked for one query at a time
        self._began = time.monotonic()
        self._count = self._failed = self._busy = 0
        self._ended = asyncio.Event()  # of the next query that ends

    async def results(self) -> AsyncIterator[QueryResult]:
        """Each query's result. Raises what the source of the queries raises, after the results before it."""
        count = min(self._concurrency, MAX_WORKERS if self._total is None else max(self._total, 1))
        workers = [asyncio.ensure_future(self._work()) for _ in range(count)]
        waiting: dict[int, QueryResult] = {}
        expected, running = 0, len(workers)
        failure: Exception | None = None
        try:
            while running:
                ended = await self._done.get()
                if not isinstance(ended, QueryResult):
                    running -= 1
                    failure = ended or failure
                    continue
                self._note(ended)
                waiting[ended.index] = ended
                for result in _ready(waiting, expected) if self._ordered else [waiting.pop(ended.index)]:
                    expected = result.index + 1
                    self._room.release()
                    yield result
            if failure is not None:
                raise failure
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        """Takes one query after the other, as long as there is room for its result."""
        try:
            while True:
                await self._room.acquire()
                if self._source is not None:
                    stated = next(self._source, END)
                else:
                    stated = await self._awaited()
                if stated is END:
                    break
                index, self._taken = self._taken, self._taken + 1
                self._done.put_nowait(await self._result(index, stated))
        except BaseException as error:  # of the source: what it gave before counts
            self._done.put_nowait(error if isinstance(error, Exception) else SourceCancelled(type(error).__name__))
            if not isinstance(error, Exception):
                raise
        else:
            self._done.put_nowait(None)

    async def _awaited(self) -> object:
        assert self._asynchronous is not None
        async with self._turn:
            return await anext(self._asynchronous, END)

    async def _result(self, index: int, stated: object) -> QueryResult:
        try:
            asked = self._prepared(stated)
            if self._budget.seconds is not None:
                left = self._budget.seconds - (time.monotonic() - self._began)
                if left <= 0:
                    raise BudgetExceeded(
                        "the time of the whole batch is over", limit="seconds", remedy="Allow more seconds"
                    )
                asked = replace(asked, budget=asked.budget & Budget(seconds=left))
            return QueryResult(index, stated, await self._paid(asked))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = BadResponse("the call of the model was cancelled from within", remedy="Look at its backend")
            return QueryResult(index, stated, error=error)
        except Exception as error:  # whatever one query does, it must not cost the answers of others
            return QueryResult(index, stated, error=error)

    async def _paid(self, asked: PreparedQuery) -> Answer:
        """The answer; where the money is only held by queries under way, it is asked for again when one has ended."""
        self._busy += 1
        try:
            while True:
                try:
                    return await self._ask(asked, self._ledger)
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

    def _prepared(self, stated: object) -> PreparedQuery:
        settings = self._settings
        if isinstance(stated, Mapping) and "role" not in stated:
            row = {str(name): value for name, value in stated.items() if name != "query"}
            unknown = row.keys() - QuerySettings.__annotations__.keys()
            if unknown or not stated.keys() & {"query", "messages"}:
                told = f"has the unknown setting {min(unknown)!r}" if unknown else "has neither query nor messages"
                raise InvalidQuery(f"a row of the batch {told}", remedy='Write {"query": "...", "scope": "..."}')
            settings = cast("QuerySettings", {**settings, **row})
            stated = stated.get("query")
        return read_settings(cast("str", stated), settings, self._backends)

    def _note(self, result: QueryResult) -> None:
        self._count += 1
        self._failed += result.error is not None
        if self._on_progress is not None:
            spent, seconds = self._ledger.spent_usd, time.monotonic() - self._began
            self._on_progress(BatchProgress(self._count, self._failed, self._total, spent, seconds))


def _ready(waiting: dict[int, QueryResult], expected: int) -> Iterator[QueryResult]:
    while expected in waiting:
        yield waiting.pop(expected)
        expected += 1
