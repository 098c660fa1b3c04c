"""What is done with each row: a question is asked, or a pipeline is run. Each gives one line, or says why not."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestrator.batch.rows import InputRow
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.batch import AnswerBatch, is_passing
from orchestrator.engine.row_run import RowRun, TryLater
from orchestrator.engine.shared_budget import SharedBudget
from orchestrator.errors import BudgetExceeded, InvalidArgument, InvalidQuery, OrchestratorError
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    from orchestrator.engine.answer_methods import QueryLike
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings
    from orchestrator.pipeline.execution.result import RunResult
    from orchestrator.pipeline.execution.runtime import Runtime
    from orchestrator.pipeline.pipeline import Pipeline
    from orchestrator.types import Answer

MAX_FAILED_STEPS = 10  # that the line of a row names
PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What came of a row: a `line` to be kept, or an `error`; `is_open` where only the budget was spent."""

    row: InputRow
    line: JsonObject | None = None
    error: Exception | None = None
    is_open: bool = False


class RowWork(Protocol):
    """Works on many rows at once."""

    def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of each row, in order or as they are completed."""
        ...

    def check(self, row: InputRow) -> OrchestratorError | None:
        """What is wrong with a row, before anything is spent; `None` for nothing."""
        ...

    def spent_usd(self) -> float:
        """What was spent so far, in USD."""
        ...

    def held_usd(self) -> float:
        """What is held for rows under way."""
        ...


class QuestionTemplate:
    """A question with `{column}` where the values of a row stand; `{{` and `}}` are braces.

    Raises `InvalidArgument` on a brace that stands alone, and where no column is named.
    """

    def __init__(self, text: str) -> None:
        left = PLACE.sub("", text)
        if "{" in left or "}" in left or any(found[1] == "" for found in PLACE.finditer(text)):
            raise InvalidArgument(
                f"the question {text[:80]!r} has a brace that names no column",
                remedy="Write {column}, and {{ or }} for a brace",
            )
        if not text.strip():
            raise InvalidArgument("the question is empty", remedy="Write --ask 'Sum this up: {text}'")
        self.text = text
        self.columns = tuple(dict.fromkeys(found[1] for found in PLACE.finditer(text) if found[1] is not None))
        if not self.columns:
            raise InvalidArgument(
                f"the question {text[:80]!r} names no column: every row would be asked the same",
                remedy="Write {column} where the row's value belongs: --ask 'Sum this up: {text}'",
            )

    def fill(self, values: Mapping[str, JsonValue]) -> str:
        """The question for a row. Raises `InvalidQuery` on a row without a column that it needs."""
        missing = [name for name in self.columns if values.get(name) is None]
        if missing:
            there = ", ".join(map(str, values)) or "nothing"
            raise InvalidQuery(f"the row has no {missing[0]!r}; it has {there}", remedy="Mend the row, or the question")
        return PLACE.sub(lambda found: found[0][0] if found[1] is None else str(values[found[1]]), self.text)


class Questions:
    """Asks a fleet: `template` filled with each row, or without one the row's own `query` or `messages`.

    A row that says itself what is asked may hold settings of its own (`system`, `scope`, ...).
    """

    def __init__(
        self,
        fleet: Orchestrator,
        template: QuestionTemplate | None,
        settings: QuerySettings,
        *,
        budget: Budget,
        concurrency: int,
        ordered: bool,
    ) -> None:
        self._fleet = fleet
        self._template = template
        self._settings: QuerySettings = {**settings, "budget": budget}
        self._budget = budget
        self._concurrency = concurrency
        self._ordered = ordered
        self._batch: AnswerBatch | None = None

    def check(self, row: InputRow) -> OrchestratorError | None:
        """What is wrong with a row; `None` for nothing."""
        return _nothing_asked(row) if self._template is None else mistake_of(self._template, row)

    def spent_usd(self) -> float:
        """What was spent so far, in USD."""
        return 0.0 if self._batch is None else self._batch.progress.cost_usd

    def held_usd(self) -> float:
        """What is held for rows under way."""
        return 0.0 if self._batch is None else self._batch.progress.held_usd

    async def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of each row."""
        under_way: dict[int, InputRow] = {}

        async def queries() -> AsyncIterator[QueryLike | JsonObject]:
            count = 0
            async for row in rows:
                under_way[count] = row
                count += 1
                yield self._query(row)

        batch = self._fleet.answer_many(
            queries(),
            concurrency=self._concurrency,
            ordered=self._ordered,
            patient=True,
            **self._settings,
        )
        self._batch = batch
        async with batch:
            async for result in batch:
                row = under_way.pop(result.index)
                if result.answer is not None:
                    yield RowOutcome(row, line_of(row, result.answer))
                else:
                    yield failed(row, result.error, self._budget)

    def _query(self, row: InputRow) -> QueryLike | JsonObject:
        if self._template is None:
            return stated_query(row.values)
        return self._template.fill(row.values)


class PipelineRuns:
    """Runs a pipeline with each row as its inputs."""

    def __init__(self, pipeline: Pipeline, host: Runtime, *, budget: Budget, concurrency: int, ordered: bool) -> None:
        self._pipeline = pipeline
        self._host = host
        self._limits = budget
        self._budget = SharedBudget(budget)
        self._concurrency = concurrency
        self._ordered = ordered

    def check(self, row: InputRow) -> OrchestratorError | None:
        """What is wrong with a row; `None` for nothing."""
        try:
            self._pipeline.inputs_of(self._of(row))
        except OrchestratorError as error:
            return error
        return None

    async def _whole(self, inputs: JsonObject, ledger: Ledger) -> RunResult:
        """A run to its end. Raises `BudgetExceeded` where the budget of the whole batch cut it off."""
        left_s = self._budget.left_s()
        found = await self._pipeline.run(inputs, host=self._host, within=ledger, seconds=left_s)
        await found.settled()
        limits = {"usd": self._limits.usd, "tokens": self._limits.tokens, "calls": self._limits.calls}
        if found.partial and (limits.get(found.stopped) is not None or (found.stopped == "seconds" and left_s)):
            told = f"the batch's budget of {found.stopped} cut the row off"
            raise BudgetExceeded(told, limit=found.stopped, remedy="Raise it: the next run takes the row")
        return found

    def _of(self, row: InputRow) -> JsonObject:
        """The inputs that a row holds; cells of a table, which are texts, become what the pipeline wants."""
        from orchestrator.pipeline.language.inputs import from_text

        schemas = self._pipeline.schema.get("properties", {})
        given = {name: value for name, value in row.values.items() if name in schemas and value is not None}
        return {
            name: from_text(value, schemas[name]) if isinstance(value, str) else value for name, value in given.items()
        }

    def spent_usd(self) -> float:
        """What was spent so far, in USD."""
        return self._budget.ledger.spent_usd

    def held_usd(self) -> float:
        """What is held for rows under way."""
        return self._budget.ledger.held_usd

    async def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of each row."""
        run: RowRun[RowOutcome] = RowRun(rows, self._run, concurrency=self._concurrency, ordered=self._ordered)
        async for each in run.results():
            yield each.result

    async def _run(self, _: int, row: object) -> RowOutcome:
        assert isinstance(row, InputRow)
        inputs = self._of(row)
        try:
            found = await self._budget.spend(lambda ledger: self._whole(inputs, ledger))
        except OrchestratorError as error:
            outcome = failed(row, error, self._limits)
            if is_passing(error) or is_passing(error.__cause__ if isinstance(error.__cause__, Exception) else None):
                raise TryLater(outcome) from None
            return outcome
        told = {"output": found.output, "cost_usd": found.cost_usd, "latency_s": round(found.seconds, 4)}
        told["partial"] = found.partial
        if found.failed_steps:
            named = found.failed_steps[:MAX_FAILED_STEPS]
            told["failed_steps"] = [{"step": step.path, "error": step.error} for step in named]
        return RowOutcome(row, {"id": row.id, "row": row.number, **told})


def stated_query(values: Mapping[str, JsonValue]) -> JsonObject:
    """What a row asks: our own words, or a line of OpenAI's batches (`body`) or Anthropic's (`params`).

    Of the latter the messages, the system prompt and the sampling count; the fleet chooses the model.
    """
    for name in ("body", "params"):
        body = values.get(name)
        if isinstance(body, Mapping) and "messages" in body:
            stated = {field: body[field] for field in ("messages", "system", "temperature", "stop") if field in body}
            longest = body.get("max_completion_tokens", body.get("max_tokens"))
            return stated if longest is None else {**stated, "max_tokens": longest}
    return {name: value for name, value in values.items() if name not in ("id", "custom_id")}


def _nothing_asked(row: InputRow) -> OrchestratorError | None:
    if any(name in row.values for name in ("query", "messages", "body", "params")):
        return None
    there = ", ".join(map(str, row.values)) or "nothing"
    return InvalidQuery(
        f"the row asks nothing: it has {there}",
        remedy="Say what is asked of each row with --ask '... {column}' or --pipeline FILE, or write {\"query\": ...}",
    )


def mistake_of(template: QuestionTemplate, row: InputRow) -> OrchestratorError | None:
    """What is wrong with a row for a question; `None` for nothing."""
    try:
        template.fill(row.values)
    except InvalidQuery as error:
        return error
    except RecursionError:
        return InvalidQuery("a value of the row is nested too deep", remedy="Keep it flatter")
    return None


def line_of(row: InputRow, answer: Answer) -> JsonObject:
    """What is kept of an answer."""
    line: JsonObject = {
        "id": row.id,
        "row": row.number,
        "answer": answer.text,
        "confidence": round(answer.confidence, 4),
        "model": answer.model,
        "cost_usd": answer.cost_usd,
        "latency_s": round(answer.latency_s, 4),
        "partial": answer.partial,
        "abstained": answer.abstained,
        "prefill_tokens": answer.usage.prefill_tokens,
        "output_tokens": answer.usage.output_tokens,
    }
    return line | ({"simulated": True} if answer.simulated else {})


def failed(row: InputRow, error: Exception | None, budget: Budget) -> RowOutcome:
    """A row without a result: open where only the money, the tokens or the time of the whole batch is spent."""
    limits = {"usd": budget.usd, "tokens": budget.tokens, "calls": budget.calls, "seconds": budget.seconds}
    is_open = isinstance(error, BudgetExceeded) and limits.get(error.limit) is not None
    return RowOutcome(row, error=error or InvalidQuery("it gave nothing", remedy=""), is_open=is_open)
