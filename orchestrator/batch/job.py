"""A batch from its input to its manifest: what was done before is left out, all else is worked on and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
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
KEEP_S = 0.5  # how often it is written down what the batch has cost
OPEN_ROWS = 20  # rows in a row that the budget does not suffice for, after which no further ones are tried
log = logging.getLogger(__name__)
IN_FILE = "\0"  # before the numbers of rows that are wrong whatever is asked
FEWEST_FAILURES = 20  # rows after which a batch that answers none is given up


@dataclass(frozen=True, slots=True)
class BatchJobProgress:
    """How far a batch is.

    Attributes:
        done: Rows answered, those of earlier runs too.
        failed: Rows that failed.
        share: About how much of the input is done, in [0, 1]; `None` for what is piped in.
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
    """How a batch ended.

    `stopped` is "" for one that is complete, else `budget`, `interrupted`, or `failing` where none of the first rows
    was answered; `first_error` is the first thing that went wrong in this run. `with_failed_steps` counts the rows of
    this run whose pipeline went on after a step had failed (`on_error`): they are among `rows`, with `failed_steps`.
    """

    rows: int
    errors: int
    asked: int
    stopped: str
    cost_usd: float
    seconds: float
    manifest: Path
    first_error: str = ""
    with_failed_steps: int = 0

    def as_dict(self) -> JsonObject:
        """JSON values."""
        names = ("rows", "errors", "asked", "stopped", "cost_usd", "seconds", "first_error", "with_failed_steps")
        told = {name: getattr(self, name) for name in names}
        return told | {"complete": not self.stopped, "manifest": str(self.manifest)}


class BatchJob:
    """Works on the rows of `path` and writes into `output`. `stop` ends it once what is under way is done."""

    def __init__(
        self,
        path: Path,
        output: BatchOutput,
        work: RowWork,
        *,
        id_column: str | None = None,
        kind: str | None = None,
        encoding: str | None = None,
        retry_errors: bool = False,
        with_input: bool = False,
        on_progress: Callable[[BatchJobProgress], None] | None = None,
    ) -> None:
        self._path = path
        self._output = output
        self._work = work
        self._id_column = id_column
        self._kind, self._encoding = kind, encoding
        self._retry_errors = retry_errors
        self._with_input = with_input
        self._failed = 0
        self._first_error = ""
        self._on_progress = on_progress
        self._before_usd = output.spent_usd
        self._size = size_of(path)
        self._began = time.monotonic()
        self._asked = self._answered = self._left = self._open = self._position = 0
        self._with_failed_steps = 0
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
            async with aclosing(self._rows()) as rows, aclosing(self._work.outcomes(rows)) as outcomes:
                async for outcome in outcomes:
                    self._take(outcome)
            return self._finished()
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            self._index.close()
            self._output.keep(spent_usd=self._spent_usd(), held_usd=0.0)

    def _read_done(self) -> None:
        rows = self._output.done_rows(with_errors=not self._retry_errors)
        for twice in self._index.add_done((row.id, row.content) for row in rows):
            raise InvalidArgument(
                f"{self._output.folder} holds the row {twice!r} twice",
                remedy="Its shards were changed by hand: give another folder with --out",
            )

    async def _rows(self) -> AsyncGenerator[InputRow, None]:
        """The rows that are to be worked on; those that are wrong are written down."""
        rows = read_rows(self._path, id_column=self._id_column, kind=self._kind, encoding=self._encoding)
        reading = asyncio.ensure_future(asyncio.to_thread(self._chunk, rows))
        try:
            while chunk := await reading:
                # The next rows are read while these are worked on: who has to wait for rows falls out of step with the
                # others, and queries that do not come together are not assessed together.
                reading = asyncio.ensure_future(asyncio.to_thread(self._chunk, rows))
                for row, wrong in chunk:
                    if self._stopped:
                        return
                    self._position = row.position
                    if wrong is not None:
                        self._fail(row, wrong, was_asked=False)
                        continue
                    self._asked += 1
                    yield row
            self._position = self._size or 0  # all of it is read; on the way its place is known now and then only
        finally:  # a thread cannot be stopped, and must not meet an index that is closed
            await asyncio.gather(reading, return_exceptions=True)

    def _chunk(self, rows: Iterator[InputRow]) -> list[tuple[InputRow, OrchestratorError | None]]:
        """Some rows that are not done; empty at the end of the file."""
        while read := list(islice(rows, CHUNK_ROWS)):
            keys = [f"{IN_FILE}{row.number}" if row.mistake else row.id for row in read]
            seen = self._index.see([(key, row.content) for key, row in zip(keys, read, strict=True)])
            found: list[tuple[InputRow, OrchestratorError | None]] = []
            for row, state in zip(read, seen, strict=True):
                if state == "new":
                    found.append((row, _Mistake(row.mistake) if row.mistake else self._work.check(row)))
                elif state == "changed":
                    found.append((row, _Changed(f"the row {row.id!r} was answered before it was changed")))
                elif state == "repeated":
                    found.append((row, _Repeated(f"the id {row.id!r} stands in an earlier row")))
            if found:
                return found
            self._position = read[-1].position
        return []

    def _take(self, outcome: RowOutcome) -> None:
        row = outcome.row
        if outcome.line is not None:
            more = {"input": dict(row.values)} if self._with_input else {}
            self._output.write({**outcome.line, **more, "content": row.content})
            self._answered += 1
            self._open = 0
            self._with_failed_steps += "failed_steps" in outcome.line
        elif outcome.is_open:
            self._left += 1
            self._open += 1
            if self._open >= OPEN_ROWS:
                self._stopped = self._stopped or "budget"
        elif outcome.error is not None:
            # What cannot be asked at all was asked of nobody: the next run looks at such a row anew.
            self._fail(row, outcome.error, was_asked=not isinstance(outcome.error, InvalidQuery | InvalidArgument))
            self._failed += 1
            if self._failed == FEWEST_FAILURES and not self._answered:
                self._stopped = self._stopped or "failing"

    def _fail(self, row: InputRow, error: Exception, *, was_asked: bool) -> None:
        is_ours = isinstance(error, OrchestratorError)
        told = getattr(error, "message", str(error)) if is_ours else f"{type(error).__name__}: {error}"
        self._first_error = self._first_error or f"row {row.number}: {told}"
        self._output.write_error(
            {
                "id": row.id,
                "row": row.number,
                "code": getattr(error, "code", type(error).__name__),
                "error": told,
                "remedy": getattr(error, "remedy", ""),
                "input": dict(row.values),
                "was_asked": was_asked,
                "content": row.content,
            }
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            self._output.keep(spent_usd=self._spent_usd(), held_usd=self._work.held_usd())
            self._tell()

    def _tell(self) -> None:
        """Tells of the progress; whoever listens must not cost the batch its results."""
        if self._on_progress is None:
            return
        try:
            self._on_progress(self._progress())
        except Exception:
            log.exception("whoever is told of the progress failed")
            self._on_progress = None

    def _progress(self) -> BatchJobProgress:
        seconds = time.monotonic() - self._began
        finished = self._output.rows + self._output.errors + self._left
        under_way = max(self._asked - self._answered - self._failed - self._left, 0)
        share = None
        if self._size:  # rows that are read and under way are not done
            share = min(self._position / self._size, 1.0) * finished / max(finished + under_way, 1)
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
        self._tell()
        return BatchJobResult(
            self._output.rows,
            self._output.errors,
            self._asked,
            stopped,
            self._spent_usd(),
            time.monotonic() - self._began,
            manifest,
            self._first_error,
            self._with_failed_steps,
        )


class _Mistake(InvalidQuery):
    code = "invalid_row"

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="Mend the row in the file: the next run takes it")


class _Repeated(InvalidQuery):
    code = "repeated_id"

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="Give each row an id of its own, or name another column with --id")


class _Changed(InvalidQuery):
    code = "changed_row"

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="Its answer stays; give the row a new id, or another folder with --out")
