"""Writes what a run does as it does it.

One thread commits whatever has come in meanwhile, so that many steps share a transaction.

Lines are written in the order they came. Whoever must not go on before a line would outlive the process waits for
`kept`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence

from orchestrator.budget import Budget, Ledger, Reservation, from_nano
from orchestrator.errors import StorageError
from orchestrator.storage.database import SqlValue
from orchestrator.storage.runs import HOLD_CALL, SETTLE_CALL, Runs

_Line = tuple[str, str, tuple[SqlValue, ...]]  # the run, the statement, its values
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


MAX_BROKEN = 10_000


class Journal:
    """The writer of one database; any number of runs share it.

    What cannot be written ends the run that it belongs to, and no other.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._lines: list[_Line] = []
        self._waiters: list[_Waiter] = []
        self._put = self._written = 0
        self._broken: dict[str, Exception] = {}
        self._is_over = False
        self._thread: threading.Thread | None = None

    def put(self, of: str, sql: str, *values: SqlValue) -> None:
        """A line of the run `of`.

        Raises `StorageError` if an earlier line of it could not be written: nothing may go on that cannot be kept.
        """
        self._check(of, "the run can no longer be kept")
        with self._lock:
            self._lines.append((of, sql, values))
            self._put += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, daemon=True, name="orchestrator-journal")
                self._thread.start()

    async def kept(self, of: str = "") -> None:
        """Returns when everything that was put before is in the database.

        Raises `StorageError` if what the run `of` did cannot be.
        """
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        with self._lock:
            is_written = self._written == self._put
            if not is_written:
                self._waiters.append((loop, waiter))
        if not is_written:
            self._came.set()
            await waiter
        self._check(of, "the run cannot be kept")

    def begin(self, of: str) -> None:
        """A run is worked on anew: that an earlier line of it could not be written is forgotten."""
        self._broken.pop(of, None)

    def wake(self) -> None:
        """Lets the writer begin, without waiting for it."""
        self._came.set()

    def close(self) -> None:
        """Writes what is left."""
        with self._lock:
            thread, self._is_over = self._thread, True
        self._came.set()
        if thread is not None:
            thread.join()

    def _check(self, of: str, what: str) -> None:
        error = self._broken.get(of)
        if error is not None:
            raise StorageError(f"{what}: {error}", remedy="Check the disk, then resume the run") from error

    def _write(self) -> None:
        while True:
            self._came.wait()
            self._came.clear()
            with self._lock:
                lines, self._lines = self._lines, []
                waiters, is_over = list(self._waiters), self._is_over
            self._keep(lines)
            with self._lock:
                self._written += len(lines)
                del self._waiters[: len(waiters)]
            for loop, waiter in waiters:
                with contextlib.suppress(RuntimeError):  # its loop has ended, and with it who waited
                    loop.call_soon_threadsafe(_tell, waiter)
            if is_over and not self._lines:
                return

    def _keep(self, lines: Sequence[_Line]) -> None:
        """Writes lines in one transaction; if that fails, those of each run in one of their own."""
        lines = [line for line in lines if line[0] not in self._broken]
        try:
            self._commit(lines)
        except Exception:
            for of in dict.fromkeys(line[0] for line in lines):
                try:
                    self._commit([line for line in lines if line[0] == of])
                except Exception as error:
                    self._broken[of] = error
                    while len(self._broken) > MAX_BROKEN:
                        del self._broken[next(iter(self._broken))]

    def _commit(self, lines: Sequence[_Line]) -> None:
        if not lines:
            return
        with self.runs.database.writing() as run:
            for _, sql, values in lines:
                run(sql, *values)


def _tell(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class RunLedger(Ledger):
    """The account of a run.

    With a journal, what is reserved outlives the process before a model is asked: after a crash it counts as spent.
    """

    def __init__(
        self, budget: Budget, *, within: Ledger | None = None, journal: Journal | None = None, run: str = ""
    ) -> None:
        super().__init__(budget, within=within)
        self._journal = journal
        self._run = run
        self._part = 0

    def goes_on(self, nano: int, tokens: int, calls: int) -> None:
        """Counts what was spent before the run was interrupted."""
        self.settled_nano, self.settled_tokens, self.calls = nano, tokens, calls
        self._part = calls

    def hold(self, nano: int | None, tokens: int) -> Reservation:
        held = super().hold(nano, tokens)
        if self._journal is not None:
            self._journal.put(self._run, HOLD_CALL, self._run, self._name(held), held.nano, held.tokens)
        return held

    def close(self, reservation: Reservation, nano: int, tokens: int, output_tokens: int = 0) -> None:
        super().close(reservation, nano, tokens, output_tokens)
        if self._journal is not None:
            self._journal.put(self._run, SETTLE_CALL, nano, tokens, self._run, self._name(reservation))

    def release(self, reservation: Reservation) -> None:
        super().release(reservation)
        if self._journal is not None:
            self._journal.put(
                self._run, "DELETE FROM run_calls WHERE run = ? AND id = ?", self._run, self._name(reservation)
            )

    async def kept(self) -> None:
        if self._journal is not None:
            await self._journal.kept(self._run)
        await super().kept()

    def _name(self, held: Reservation) -> str:
        return f"{self._part}-{held.id}"


def spent_usd(ledger: Ledger) -> float | None:
    """What was settled; `None` if a model without a known price was asked."""
    return None if ledger.price_unknown else from_nano(ledger.settled_nano)
