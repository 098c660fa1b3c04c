"""Writes what a run does as it does it.

One thread commits whatever has come in meanwhile, so that many steps share a transaction.

Lines are written in the order they came. Whoever must not go on before a line would outlive the process waits for
`kept`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from orchestrator.budget import Budget, Ledger, Reservation, from_nano
from orchestrator.errors import StorageError
from orchestrator.storage.database import SqlValue
from orchestrator.storage.runs import HOLD_CALL, SETTLE_CALL, Runs

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Journal:
    """The writer of one database; any number of runs share it."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._lines: list[tuple[str, tuple[Any, ...]]] = []
        self._waiters: list[_Waiter] = []
        self._put = self._written = 0
        self._error: Exception | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None

    def put(self, sql: str, *values: SqlValue) -> None:
        """Raises `StorageError` if an earlier line could not be written: nothing may go on that cannot be kept."""
        if self._error is not None:
            raise StorageError(
                f"the run can no longer be kept: {self._error}", remedy="Check the disk, then resume the run"
            )
        with self._lock:
            self._lines.append((sql, values))
            self._put += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, daemon=True, name="orchestrator-journal")
                self._thread.start()

    async def kept(self) -> None:
        """Returns when everything that was put before is in the database. Raises `StorageError` if it cannot be."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        with self._lock:
            if self._written == self._put and self._error is None:
                return
            self._waiters.append((loop, waiter))
        self._came.set()
        await waiter

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

    def _write(self) -> None:
        while True:
            self._came.wait()
            self._came.clear()
            with self._lock:
                lines, self._lines = self._lines, []
                waiters, is_over = list(self._waiters), self._is_over
            if lines and self._error is None:
                try:
                    with self.runs.database.writing() as run:
                        for sql, values in lines:
                            run(sql, *values)
                except Exception as error:
                    self._error = error
            with self._lock:
                self._written += len(lines)
                del self._waiters[: len(waiters)]
            for loop, waiter in waiters:
                with contextlib.suppress(RuntimeError):  # its loop has ended, and with it who waited
                    loop.call_soon_threadsafe(_tell, waiter, self._error)
            if is_over and not self._lines:
                return


def _tell(waiter: asyncio.Future[None], error: Exception | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(
            StorageError(f"the run cannot be kept: {error}", remedy="Check the disk, then resume the run")
        )


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
            self._journal.put(HOLD_CALL, self._run, self._name(held), held.nano, held.tokens)
        return held

    def close(self, reservation: Reservation, nano: int, tokens: int, output_tokens: int = 0) -> None:
        super().close(reservation, nano, tokens, output_tokens)
        if self._journal is not None:
            self._journal.put(SETTLE_CALL, nano, tokens, self._run, self._name(reservation))

    def release(self, reservation: Reservation) -> None:
        super().release(reservation)
        if self._journal is not None:
            self._journal.put("DELETE FROM run_calls WHERE run = ? AND id = ?", self._run, self._name(reservation))

    async def kept(self) -> None:
        if self._journal is not None:
            await self._journal.kept()
        await super().kept()

    def _name(self, held: Reservation) -> str:
        return f"{self._part}-{held.id}"


def spent_usd(ledger: Ledger) -> float | None:
    """What was settled; `None` if a model without a known price was asked."""
    return None if ledger.price_unknown else from_nano(ledger.settled_nano)
