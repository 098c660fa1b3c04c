"""Many queries with one budget: so many at once, in order or as completed, each with its answer or its error."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn, cast

from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.row_run import RowRun, TryLater
from orchestrator.engine.row_run import SourceCancelled as SourceCancelled
from orchestrator.engine.settings import PreparedQuery, QuerySettings, check_listener, read_settings
from orchestrator.engine.shared_budget import SharedBudget
from orchestrator.errors import (
    BackendUnavailable,
    BadResponse,
    InvalidArgument,
    InvalidQuery,
    NoAdequateModel,
    NotAwaited,
    RateLimited,
)
from orchestrator.types import Answer


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
    """How far a batch is. `total` is `None` where nobody knows how many queries there are.

    `held_usd` is what queries under way may cost at most.
    """

    done: int
    failed: int
    total: int | None
    cost_usd: float
    seconds: float
    held_usd: float = 0.0


Ask = Callable[[PreparedQuery, Ledger], Awaitable[Answer]]


class AnswerBatch:
    """A batch under way: `await` it for the list of all results, or go through it with `async for` as they come.

    Closing it (`async with`, or `aclose`) cancels what is under way; what was answered by then has been given.
    """

    def __init__(self, run: BatchRun) -> None:
        self._run = run
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
            self._iterator = self._run.results()
        return self._iterator

    @property
    def progress(self) -> BatchProgress:
        """How far it is."""
        return self._run.progress

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
        patient: bool,
        on_progress: Callable[[BatchProgress], None] | None,
    ) -> None:
        self._rows = RowRun(queries, self._result, concurrency=concurrency, ordered=ordered)
        self._settings = settings
        self._backends = backends
        self._ask = ask
        self._budget = SharedBudget(budget)
        self._patient = patient
        self._on_progress = on_progress
        self._count = self._failed = 0

    async def results(self) -> AsyncIterator[QueryResult]:
        """Each query's result. Raises what the source of the queries raises, after the results before it."""
        async for row in self._rows.results():
            yield row.result

    async def _result(self, index: int, stated: object) -> QueryResult:
        result = await self._answered(index, stated)
        if self._patient and is_passing(result.error):
            raise TryLater(result, getattr(result.error, "retry_after_s", None))
        self._note(result)
        return result

    async def _answered(self, index: int, stated: object) -> QueryResult:
        try:
            asked, left_s = self._prepared(stated), self._budget.left_s()
            if left_s is not None:
                asked = replace(asked, budget=asked.budget & Budget(seconds=left_s))
            answer = await self._budget.spend(lambda ledger: self._ask(asked, ledger))
            return QueryResult(index, stated, answer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = BadResponse("the call of the model was cancelled from within", remedy="Look at its backend")
            return QueryResult(index, stated, error=error)
        except Exception as error:  # whatever one query does, it must not cost the answers of others
            return QueryResult(index, stated, error=error)

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
            self._on_progress(self.progress)

    @property
    def progress(self) -> BatchProgress:
        """How far it is."""
        budget = self._budget
        spent, held = budget.ledger.spent_usd, budget.ledger.held_usd
        return BatchProgress(self._count, self._failed, self._rows.total, spent, budget.elapsed_s, held)


def is_passing(error: Exception | None) -> bool:
    """Whether an error is a limit of a provider, or a server that is away, that passes by waiting."""
    if isinstance(error, NoAdequateModel):  # all that could have answered failed
        error = error.__cause__ if isinstance(error.__cause__, Exception) else None
    return isinstance(error, RateLimited | BackendUnavailable) and not error.may_be_billed
