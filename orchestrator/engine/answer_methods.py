"""The methods of `Orchestrator` that answer: whole, as a stream, or many at once; and their blocking twins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from orchestrator.budget import Budget, Ledger
from orchestrator.engine.batch import AnswerBatch, BatchProgress, BatchRun, check_batch
from orchestrator.engine.calls import keywords_of, shows_settings, tells_mistakes
from orchestrator.engine.settings import SETTINGS, MessageLike, PreparedQuery, QuerySettings, read_settings
from orchestrator.engine.streaming import AnswerStream, Progress, events_of
from orchestrator.engine.sync import blocking, blocking_stream
from orchestrator.engine.tool_runs import ToolRunMethods
from orchestrator.errors import NoAdequateModel, OrchestratorError
from orchestrator.jsontypes import JsonMapping
from orchestrator.search.live_text import LiveText
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer, Query, TextDelta, TextRevised
from orchestrator.types.keywords import unknown_keyword

if TYPE_CHECKING:
    from opentelemetry.context import Context

log = logging.getLogger("orchestrator")
MAX_SCOPES = 5  # of those that an error names
QueryLike = str | bytes | Query | Sequence[MessageLike] | None
"""What stands for a query: text, a `Query`, a conversation in OpenAI's form; `None` with `messages=`."""


class AnswerMethods(ToolRunMethods):
    """Answers. The settings of every method here are those of `QuerySettings`."""

    @tells_mistakes(SETTINGS)
    async def answer(self, query: QueryLike = None, **settings: Unpack[QuerySettings]) -> Answer:
        """Answers one query.

        Args:
            query: The question: text, a `Query`, or a conversation in OpenAI's form.
            **settings: Whatever `QuerySettings` lists, for this query alone.

        Returns:
            The answer with its confidence, cost and trace. A deadline or a spent budget gives the best answer so far,
            marked `partial`.

        Raises:
            InvalidQuery: The query cannot be used as it is.
            InvalidArgument: A setting is of another kind than it must be, or there is none of that name.
            UnknownModel: A name that is not in this fleet.
            BudgetExceeded: Nothing affordable could be started.
            BackendError: The only model failed.
            NoAdequateModel: Nothing at hand can answer; it says what to add.
        """
        return await self._answered(read_settings(query, settings, self.backends, self.tools, self.catalog))

    @shows_settings(SETTINGS)
    def stream(self, query: QueryLike = None, **settings: Unpack[QuerySettings]) -> AnswerStream[Progress]:
        """As `answer` (same settings and errors), but yields what happens as it happens, and last the `Answer`.

        An `Event` tells what the search does. A `TextDelta` is a piece of the text: of a draft as it is written where
        the route is one draft, else of the answer once the search has ended. `TextRevised` says that the text shown so
        far was beaten: forget it, better text follows.

        Closing it cancels the search and settles what it cost.
        """
        asked = self._asked("stream", query, settings)
        return AnswerStream(self._progress(asked, keeps=False), lambda item: item, "stream")

    @shows_settings(SETTINGS)
    def stream_text(self, query: QueryLike = None, **settings: Unpack[QuerySettings]) -> AnswerStream[str]:
        """As `stream`, but yields strings only, which joined are the answer's text.

        A draft is shown as it is written where the route is one draft, and is then the answer: text that was read
        cannot be taken back. `answer` of what this returns is the whole `Answer`, when the stream has ended.
        """
        asked = self._asked("stream_text", query, settings)
        return AnswerStream(
            self._progress(asked, keeps=True),
            lambda item: item.text if isinstance(item, TextDelta) else None,
            "stream_text",
        )

    @shows_settings(SETTINGS)
    def answer_many(
        self,
        queries: Iterable[QueryLike | JsonMapping] | AsyncIterable[QueryLike | JsonMapping],
        *,
        concurrency: int = 16,
        ordered: bool = True,
        patient: bool = False,
        on_progress: Callable[[BatchProgress], None] | None = None,
        **settings: Unpack[QuerySettings],
    ) -> AnswerBatch:
        """Answers many queries, `concurrency` at once, with one budget over all.

        Awaited, it gives the list of all results in the order of the queries; with `async for` it yields them as they
        come, in order or, with `ordered=False`, as they are completed. A query that fails costs no other its answer:
        its result holds the error.

        Args:
            queries: Any iterable, an asynchronous one too, of what `answer` takes, or of rows like
                `{"query": "...", "scope": "..."}` with settings of their own. It is read as fast as it is answered.
            concurrency: How many are answered at once.
            ordered: Whether results come in the order of the queries.
            patient: Whether a query that meets a provider's limit, or a server that is away, is asked again later, with
                fewer at once, instead of failing: twenty times, for minutes.
            on_progress: Told after each query how far the batch is.
            **settings: Whatever `QuerySettings` lists, for every query; `budget` is for the whole batch.

        Raises:
            InvalidArgument: The queries or a setting are of another kind than they must be.
        """
        check_batch(queries, concurrency, on_progress)
        if not settings.keys() <= _KEYWORDS:
            raise unknown_keyword("answer_many", settings, _BATCH_KEYWORDS)
        budget = Budget.parse(settings.pop("budget", None))

        def ask(asked: PreparedQuery, ledger: Ledger) -> Awaitable[Answer]:
            return self._answered(asked, within=ledger)

        return AnswerBatch(
            BatchRun(
                queries,
                settings,
                self.backends,
                ask,
                budget=budget,
                concurrency=concurrency,
                ordered=ordered,
                patient=patient,
                on_progress=on_progress,
            )
        )

    answer_sync = blocking(answer)
    answer_many_sync = blocking(answer_many)
    stream_sync = blocking_stream(stream)
    stream_text_sync = blocking_stream(stream_text)

    def _asked(self, method: str, query: QueryLike, settings: QuerySettings) -> PreparedQuery:
        if not settings.keys() <= _KEYWORDS:
            raise unknown_keyword(method, settings, _KEYWORDS)
        return read_settings(query, settings, self.backends, self.tools, self.catalog)

    def _progress(
        self, asked: PreparedQuery, *, keeps: bool, within: Ledger | None = None
    ) -> AsyncGenerator[Progress, None]:
        async def begin(on_event: Callable[[Event | TextDelta | TextRevised], None]) -> Answer:
            live = LiveText(on_event, keeps=keeps)
            told = replace(asked, on_event=_both(on_event, asked.on_event))
            answer = await self._answered(told, within=within, live=live)
            live.finish(answer.text, answer.model, answer.stopped)
            return answer

        return events_of(begin)

    async def _answered(
        self, asked: PreparedQuery, *, within: Ledger | None = None, live: LiveText | None = None
    ) -> Answer:
        """Plans and searches; what happens is told to whoever watches this fleet."""
        if asked.tools.runs_here:
            return await self._with_tools(asked, within=within, on_event=_both(asked.on_event, self.on_event))
        trace = Trace(on_event=_both(asked.on_event, self.on_event))
        if asked.query.metadata:
            trace.root.attributes["metadata"] = dict(asked.query.metadata)
        parent = None if self.telemetry is None else self.telemetry.context()
        try:
            plan = await self.plan(
                asked.query, trace, budget=asked.budget, strategy=asked.strategy, preference=asked.preference
            )
            if asked.checks:
                plan = replace(plan, checks=[*plan.checks, *asked.checks])
            ledger = None if within is None else Ledger(plan.budget, within=within)
            answer = await self.execute(plan, trace, ledger, live)
        except NoAdequateModel as error:
            self._observed(asked, trace, parent, None, error)
            raise await self._with_scopes(error, asked.query) from error.__cause__
        except BaseException as error:
            self._observed(asked, trace, parent, None, error)
            raise
        self._observed(asked, trace, parent, answer)
        return answer if asked.reads is None else replace(answer, reads=asked.reads)

    async def _with_scopes(self, error: NoAdequateModel, query: Query) -> NoAdequateModel:
        """The error, with the scopes that exist where the query was asked in one that holds nothing.

        Only who holds the whole memory in a program is told: the gateway does not come through here.
        """
        if self.memory is None or error.has_failed or not query.uses_memory:
            return error
        try:
            if await asyncio.to_thread(self.memory.count, query.scope):
                return error
            others = await asyncio.to_thread(self.memory.scopes)
        except OrchestratorError:  # the answer failed for a reason of its own, which is what is told
            return error
        if not others:
            return error
        further = f" and {len(others) - MAX_SCOPES} more" if len(others) > MAX_SCOPES else ""
        there = f"{', '.join(others[:MAX_SCOPES])}{further}"
        remedy = f"The scope {query.scope!r} of the memory holds nothing; there are: {there}. Ask with scope=..."
        return NoAdequateModel(error.message, remedy=remedy, tried=error.tried, trace=error.trace)

    def _observed(
        self,
        asked: PreparedQuery,
        trace: Trace,
        parent: Context | None,
        answer: Answer | None,
        error: BaseException | None = None,
    ) -> None:
        """Logs that a query was answered, or why not, and makes its spans, without a word of its content."""
        failed = "" if error is None else getattr(error, "code", type(error).__name__)
        if self.traces is not None:
            self.traces.add(asked.query, trace, answer, failed)
        if self.telemetry is not None:
            metadata = trace.root.attributes.get("metadata", {})
            self.telemetry.export_query(trace, parent, metadata=metadata, error=failed)
        if log.isEnabledFor(logging.INFO):
            facts = {name: trace.root.attributes.get(name) for name in ("model", "confidence", "cost_usd")}
            log.info(
                "not answered: %s" if failed else "answered%s",
                failed,
                extra={"answer_id": trace.id, "seconds": round(trace.now_s(), 4), "error": failed, **facts},
            )


_KEYWORDS = keywords_of(AnswerMethods.stream, SETTINGS)
_BATCH_KEYWORDS = keywords_of(AnswerMethods.answer_many, SETTINGS)


def _both(
    first: Callable[[Event], None] | None, second: Callable[[Event], None] | None
) -> Callable[[Event], None] | None:
    """One listener that tells both."""
    if first is None or second is None:
        return first or second

    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell
