"""A batch from its input to its manifest: what was done before is left out, all else is worked on and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestrator.batch.ids import IdIndex
from orchestrator.batch.output import BatchOutput
from orchestrator.batch.rows import InputRow, read_rows, size_of
from orchestrator.batch.work import RowOutcome, RowWork
from orchestrator.errors import InvalidArgument, InvalidQuery, OrchestratorError
from orchestrator.jsontypes import JsonObject

CHUNK_ROWS = 1_024  # that are read at once, in a thread
KEEP_S = 1.0  # how often it is written down what the batch has cost
OPEN_ROWS = 20  # rows in a row that the budget does not suffice for, after which no further ones are tried
IN_FILE = "\0"  # before the numbers of rows that are wrong whatever is asked
INVALID, REPEATED = "invalid_row", "repeated_id"


@dataclass(frozen=True, slots=True)
class BatchJobProgress:
    """How far a batch is.

    Attributes:
        done: Rows answered, those of earlier runs too.
        failed: Rows that failed.
        share: How much of the input is read, in [0, 1]; `None` for what is piped in.
        cost_usd: What it has cost, earlier runs too.
        seconds: Since this run began.
        rows_per_s: Answered a second, in this run.
        eta_s: About how long it still takes; `None` where nobody knows.
    """

    done: int
    failed: int
    share: float | None
    cost_usd: float
    seconds: float
    rows_per_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class BatchJobResult:
    """How a batch ended: `left` rows were not worked on because the budget was spent, or it was stopped."""

    rows: int
    errors: int
    asked: int
    left: int
    stopped: str
    cost_usd: float
    seconds: float
    manifest: Path

    def as_dict(self) -> JsonObject:
        """JSON values."""
        names = ("rows", "errors", "asked", "left", "stopped", "cost_usd", "seconds")
        return {name: getattr(self, name) for name in names} | {"manifest": str(self.manifest)}


class BatchJob:
    """Works on the rows of `path` and writes into `output`. `stop` ends it once what is under way is done."""

    def __init__(
        self,
        path: Path,
        output: BatchOutput,
        work: RowWork,
        *,
        id_column: str | None = None,
        retry_errors: bool = False,
        on_progress: Callable[[BatchJobProgress], None] | None = None,
    ) -> None:
        self._path = path
        self._output = output
        self._work = work
        self._id_column = id_column
        self._retry_errors = retry_errors
        self._on_progress = on_progress
        self._before_usd = output.spent_usd
        self._size = size_of(path)
        self._began = time.monotonic()
        self._asked = self._answered = self._left = self._open = self._position = 0
        self._stopped = ""
        self._index = IdIndex(output.folder / ".ids.db")

    def stop(self) -> None:
        """Takes no further rows."""
        self._stopped = self._stopped or "interrupted"

    async def run(self) -> BatchJobResult:
        """Does all that is left to do.

        Raises `InvalidArgument` on an input that cannot be read, `StorageError` on a disk that is full; what was
        written by then stays.
        """
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.to_thread(self._read_done)
            async with aclosing(self._work.outcomes(self._rows())) as outcomes:
                async for outcome in outcomes:
                    self._take(outcome)
            return self._finished()
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            self._output.keep(spent_usd=self._spent_usd(), held_usd=0.0)
            self._index.close()

    def _read_done(self) -> None:
        for twice in self._index.add_done(_keys(self._output, with_errors=not self._retry_errors)):
            raise InvalidArgument(
                f"{self._output.folder} holds the row {twice!r} twice",
                remedy="Its shards were changed by hand: give another folder with --out",
            )

    async def _rows(self) -> AsyncIterator[InputRow]:
        """The rows that are to be worked on; those that are wrong are written down."""
        rows = read_rows(self._path, id_column=self._id_column)
        reading = asyncio.ensure_future(asyncio.to_thread(self._chunk, rows))
        while chunk := await reading:
            # The next rows are read while these are worked on: who has to wait for rows falls out of step with the
            # others, and queries that do not come together are not assessed together.
            reading = asyncio.ensure_future(asyncio.to_thread(self._chunk, rows))
            for row, wrong in chunk:
                if self._stopped:
                    await reading
                    return
                self._position = row.position
                if wrong is not None:
                    self._fail(row, wrong)
                    continue
                self._asked += 1
                yield row

    def _chunk(self, rows: Iterator[InputRow]) -> list[tuple[InputRow, OrchestratorError | None]]:
        """Some rows that are not done; empty at the end of the file."""
        while read := list(islice(rows, CHUNK_ROWS)):
            seen = self._index.see([f"{IN_FILE}{row.number}" if row.mistake else row.id for row in read])
            found: list[tuple[InputRow, OrchestratorError | None]] = []
            for row, state in zip(read, seen, strict=True):
                if state == "new":
                    found.append((row, _Mistake(row.mistake) if row.mistake else self._work.check(row)))
                elif state == "repeated" and self._index.see([f"{IN_FILE}{row.number}"]) == ["new"]:
                    found.append((row, _Repeated(f"the id {row.id!r} stands in an earlier row")))
            if found:
                return found
            self._position = read[-1].position
        return []

    def _take(self, outcome: RowOutcome) -> None:
        if outcome.line is not None:
            self._output.write(outcome.line)
            self._answered += 1
            self._open = 0
        elif outcome.is_open:
            self._left += 1
            self._open += 1
            if self._open >= OPEN_ROWS:
                self._stopped = self._stopped or "budget"
        elif outcome.error is not None:
            self._fail(outcome.row, outcome.error)

    def _fail(self, row: InputRow, error: Exception) -> None:
        stated = isinstance(error, OrchestratorError)
        self._output.write_error(
            {
                "id": row.id,
                "row": row.number,
                "code": getattr(error, "code", type(error).__name__),
                "error": getattr(error, "message", str(error)) if stated else f"{type(error).__name__}: {error}",
                "remedy": getattr(error, "remedy", ""),
                "input": dict(row.values),
            }
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            self._output.keep(spent_usd=self._spent_usd(), held_usd=self._work.held_usd())
            if self._on_progress is not None:
                self._on_progress(self._progress())

    def _progress(self) -> BatchJobProgress:
        seconds = time.monotonic() - self._began
        share = None if not self._size else min(self._position / self._size, 1.0)
        eta_s = seconds * (1 - share) / share if share else None
        return BatchJobProgress(
            self._output.rows,
            self._output.errors,
            share,
            self._spent_usd(),
            seconds,
            self._answered / max(seconds, 1e-9),
            eta_s,
        )

    def _spent_usd(self) -> float:
        return self._before_usd + self._work.spent_usd()

    def _finished(self) -> BatchJobResult:
        stopped = self._stopped or ("budget" if self._left else "")
        told = {"input": str(self._path), "cost_usd": self._spent_usd(), "complete": not stopped}
        manifest = self._output.finish(told)
        if self._on_progress is not None:
            self._on_progress(self._progress())
        return BatchJobResult(
            self._output.rows,
            self._output.errors,
            self._asked,
            self._left,
            stopped,
            self._spent_usd(),
            time.monotonic() - self._began,
            manifest,
        )


class _Mistake(InvalidQuery):
    code = INVALID


class _Repeated(InvalidQuery):
    code = REPEATED


def _keys(output: BatchOutput, *, with_errors: bool) -> Iterator[str]:
    """What the index knows rows by: their ids; of rows that are wrong whatever is asked, their numbers."""
    for row in output.done_rows(with_errors=with_errors):
        yield f"{IN_FILE}{row.number}" if row.code in (INVALID, REPEATED) else row.id
