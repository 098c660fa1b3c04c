"""Rows that can wait: handed in as batches of a provider, at half the price.

The id of a batch is written down before it is waited for, so that whoever goes on waits for it instead of paying again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from orchestrator.backends.batches import BatchFailed, batches_of, run_batch
from orchestrator.backends.provider_batches import Batches, BatchResult
from orchestrator.batch.rows import InputRow
from orchestrator.batch.work import QuestionTemplate, RowOutcome, failed, mistake_of
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.provider_batch import batch_backend, batch_body, batch_text, batch_usd, lone_confidence
from orchestrator.errors import BackendRejected, BadResponse, BudgetExceeded, OrchestratorError
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings

ROWS_AT_ONCE = 5_000
GONE = 404
STILL_EXPECTED = "rows of a batch at the provider are not in the file any more"


class ProviderBatchWork:
    """Hands rows to the provider of one model.

    `pending` is what an earlier run handed in, `keep_pending` writes down what is handed in now, or `None` once it is
    done. Raises `ConfigError` for a model whose provider takes no batches.
    """

    def __init__(
        self,
        fleet: Orchestrator,
        model: str,
        template: QuestionTemplate,
        settings: QuerySettings,
        *,
        budget: Budget,
        pending: JsonObject | None,
        keep_pending: Callable[[JsonObject | None], None],
        batches: Batches | None = None,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self._backend = batch_backend(fleet, model)
        self._batches = batches or batches_of(self._backend)
        self._model = model
        self._confidence = lone_confidence(fleet, model)
        self._template = template
        self._settings = settings
        self._limits = budget
        self._ledger = Ledger(budget)
        self._owed = Ledger(Budget())
        self._expected: set[str] = set()
        self._spent_usd = 0.0
        self._pending = pending
        self._keep_pending = keep_pending
        self._rows_at_once = rows_at_once

    def check(self, row: InputRow) -> OrchestratorError | None:
        """What is wrong with a row; `None` for nothing."""
        return mistake_of(self._template, row)

    def spent_usd(self) -> float:
        """What was spent so far, in USD. A batch that is waited for is paid by whoever waits to its end."""
        return self._spent_usd

    def held_usd(self) -> float:
        """What is held for a batch that is waited for; nothing, as whoever goes on waits for it and pays it."""
        return 0.0

    async def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of each row."""
        self._expected = expected = set(self._pending["rows"]) if self._pending else set()
        handed: list[InputRow] = []  # to the provider, by an earlier run
        waiting: list[InputRow] = []
        async for row in rows:
            name = _name(row)
            (handed if name in expected else waiting).append(row)
            expected.discard(name)
            if handed and not expected:
                async for outcome in self._answered(handed, []):
                    yield outcome
                handed = []
            if len(waiting) >= self._rows_at_once and not expected:
                async for outcome in self._answered([], waiting):
                    yield outcome
                waiting = []
        async for outcome in self._answered(handed, waiting):
            yield outcome
        await self._batches.aclose()

    async def _answered(self, handed: list[InputRow], waiting: list[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of rows that an earlier run handed in, and of others.

        That a batch is done is written down when all of its answers are.
        """
        if handed:
            async for outcome in self._done(handed, self._pending):
                yield outcome
            if not self._expected:
                self._keep_pending(None)
        if waiting and not self._expected:  # rows of another batch are written down only when that one is done
            async for outcome in self._done(waiting, None):
                yield outcome
            self._keep_pending(None)
        elif waiting:
            left = BudgetExceeded(STILL_EXPECTED, limit="seconds", remedy="Run it again with the file as it was")
            for row in waiting:
                yield RowOutcome(row, error=left, is_open=True)

    async def _done(self, rows: list[InputRow], before: JsonObject | None) -> AsyncGenerator[RowOutcome, None]:
        """Rows of one batch, or of several where the budget does not suffice for all at once.

        What a batch came to is written by whoever asks for it before the next one is handed in.
        """
        bodies = {_name(row): self._body(row) for row in rows}

        def submitted(batch: str) -> None:
            self._keep_pending({"batch": batch, "rows": list(bodies)})

        try:
            results = await run_batch(
                self._backend,
                bodies,
                self._ledger if before is None else self._owed,  # what was handed in is owed, whatever is left
                batches=self._batches,
                on_submitted=submitted,
                submitted=None if before is None else str(before["batch"]),
                cancels=False,
            )
        except BudgetExceeded as error:
            if len(rows) == 1:
                yield failed(rows[0], error, self._limits)
                return
            half = len(rows) // 2  # fewer may fit into what is left
            for part in (rows[:half], rows[half:]):
                async for outcome in self._done(part, before):
                    yield outcome
            return
        except (BatchFailed, BackendRejected) as error:
            if isinstance(error, BackendRejected) and (before is None or error.status != GONE):
                raise
            self._expected.clear()  # the provider knows it no more: its rows are to be handed in again
            self._keep_pending(None)
            self._note_spent()
            for row in rows:
                yield RowOutcome(row, error=error)
            return
        self._note_spent()
        for row, result in zip(rows, results, strict=True):
            yield self._outcome(row, result)

    def _note_spent(self) -> None:
        self._spent_usd = self._ledger.spent_usd + self._owed.spent_usd

    def _body(self, row: InputRow) -> JsonObject:
        settings = self._settings
        return batch_body(
            self._backend,
            self._template.fill(row.values),
            system=settings.get("system"),
            max_tokens=settings.get("max_tokens"),
            temperature=settings.get("temperature"),
        )

    def _outcome(self, row: InputRow, result: BatchResult) -> RowOutcome:
        text = batch_text(result)
        if text is None:
            return RowOutcome(row, error=BadResponse(result.error or "the batch holds no answer for it"))
        line: JsonObject = {
            "id": row.id,
            "row": row.number,
            "answer": text,
            "confidence": self._confidence,
            "model": self._model,
            "cost_usd": batch_usd(self._backend, result),
            "partial": False,
            "abstained": False,
        }
        if result.usage is not None:
            line |= {"prefill_tokens": result.usage.prefill_tokens, "output_tokens": result.usage.output_tokens}
        return RowOutcome(row, line)


def _name(row: InputRow) -> str:
    """What a provider knows a row by: letters and digits only, and not too many."""
    return f"r{blake2b(row.id.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"
