"""What a run did, kept so that it goes on after a crash: no model is paid twice, and no effect happens twice.

A step's answer is kept before its calls are made, and that a call begins before it is made. After a crash, what was
begun and has no result may have happened: such a call is never made again unless it may be (see `Tool.effects`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import orjson

from orchestrator.budget import Budget, Ledger
from orchestrator.errors import ConfigError, StorageError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.storage.database import Database
from orchestrator.storage.journal import Journal, RunLedger
from orchestrator.storage.runs import KEEP, SILENT_S, Runs, StoredRun

KIND = "agent"  # what such runs are listed under
WAITING, APPROVED, REFUSED, BEGUN, DONE = "waiting", "approved", "refused", "begun", "done"
"""What is on record of a call, in this order; of a step's answer only `DONE`."""
log = logging.getLogger(__name__)


class RunInUse(ConfigError):
    """A run that somebody is working on: it can be gone on with when that has ended."""

    code = "run_in_use"


class RunRecord(Protocol):
    """The record of one run. Paths are `3` for the answer of the third step, `3.call_1` for one of its calls."""

    id: str

    def ledger(self, budget: Budget, within: Ledger | None) -> Ledger:
        """The account of the run, with what it spent before it was interrupted."""

    def kept_value(self, path: str) -> tuple[str, JsonValue] | None:
        """(status, value) of what is on record; `None` if nothing is."""

    async def keep(self, path: str, status: str, value: JsonValue = None) -> None:
        """Returns when it is kept."""

    def working(self) -> AbstractAsyncContextManager[None]:
        """A block in which the run is worked on, so that nobody else takes it over."""

    async def end(self, status: str, output: JsonValue, error: str = "") -> None:
        """Notes how the run ended."""


class RunStore:
    """Runs in a database; one process works on a run at a time."""

    def __init__(self, database: Database, *, owner: str = "local/") -> None:
        self.runs = Runs(database)
        self.owner = owner
        self._journal = Journal(self.runs)

    @classmethod
    def sharing(cls, runs: Runs, journal: Journal, owner: str) -> RunStore:
        """Runs beside others of the same database, with its writer."""
        made = cls.__new__(cls)
        made.runs, made.owner, made._journal = runs, owner, journal
        return made

    async def has(self, id: str) -> bool:
        """Whether there is a run of this id."""
        return await asyncio.to_thread(self.runs.find, self.owner, id) is not None

    async def open(self, id: str, asked: JsonMapping, *, owner: str | None = None) -> StoredRecord:
        """The run of this id, begun anew or gone on with; "" makes an id.

        `asked` is what the run is about. Raises `ConfigError` where another process works on it, or where the run of
        this id was about something else.
        """
        return await asyncio.to_thread(self._open, id or new_run_id(), dict(asked), owner or self.owner)

    def _open(self, id: str, asked: JsonObject, owner: str) -> StoredRecord:
        now, digest = self.runs.clock(), digest_of(asked)
        stored = self.runs.find(owner, id)
        holder = _holder()
        if stored is None:
            begun = StoredRun(id, owner, KIND, "", digest, "running", asked, None, "", now, None, holder, now)
            if not self.runs.begin_unless_there(begun):  # somebody was quicker
                raise RunInUse(f"somebody works on the run {id}", remedy="Wait until it ends")
            self._journal.begin(id)
            return StoredRecord(id, self, holder, {}, (0, 0, 0))
        if stored.digest != digest:
            raise other_run(id, stored.inputs, asked)
        if stored.has_ended:
            self.runs.reopen(id)
        gone = stored.holder if _is_gone(stored.holder) else ""
        if not self.runs.hold(id, holder, held_before=now - SILENT_S, take_from=gone) and stored.status != "done":
            raise RunInUse(
                f"somebody works on the run {id}",
                remedy=f"Wait until it ends, or, if its process is gone, was silent for {SILENT_S:g} s",
            )
        self._journal.begin(id)
        steps = {step.path: (step.status, step.value) for step in self.runs.steps(id)}
        return StoredRecord(id, self, holder, steps, self.runs.spent(id))

    def close(self) -> None:
        """Writes what is left."""
        self._journal.close()
        self.runs.database.close()

    @property
    def journal(self) -> Journal:
        """The writer that all runs share."""
        return self._journal


class StoredRecord:
    """The record of one run in a database."""

    def __init__(
        self,
        id: str,
        store: RunStore,
        holder: str,
        steps: dict[str, tuple[str, JsonValue]],
        spent: tuple[int, int, int],
    ) -> None:
        self.id = id
        self._store = store
        self._holder = holder
        self._steps = steps
        self._spent = spent

    def ledger(self, budget: Budget, within: Ledger | None) -> Ledger:
        """An account whose calls are on record before they are made: after a crash their worst case counts."""
        made = RunLedger(budget, within=within, journal=self._store.journal, run=self.id)
        made.goes_on(*self._spent)
        return made

    def kept_value(self, path: str) -> tuple[str, JsonValue] | None:
        """(status, value) of what is on record; `None` if nothing is."""
        return self._steps.get(path)

    async def keep(self, path: str, status: str, value: JsonValue = None) -> None:
        """Returns when it would outlive the process. Raises `StorageError` where somebody has taken the run over."""
        if status == BEGUN and await asyncio.to_thread(self._store.runs.heard, self.id, self._holder) == "lost":
            raise StorageError(
                f"the run {self.id} was taken over by another process", remedy="Ask for its answer there"
            )
        self._steps[path] = (status, value)
        written = None if value is None else orjson.dumps(value).decode()
        self._store.journal.put(self.id, KEEP, self.id, path, status, written, None, 0.0, time.time())
        await self._store.journal.kept(self.id)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A block in which the run is worked on: others are told, so that they do not take it over."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(SILENT_S / 4)
            try:
                await asyncio.to_thread(self._store.runs.heard, self.id, self._holder)
            except StorageError as error:  # the next one may succeed
                log.warning("the run %s could not be kept hold of: %s", self.id, error)

    async def end(self, status: str, output: JsonValue, error: str = "") -> None:
        """Notes how the run ended."""
        await self._store.journal.kept()
        await asyncio.to_thread(self._store.runs.end, self.id, status, output, error)


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def other_run(id: str, kept: JsonMapping, asked: JsonMapping) -> ConfigError:
    """The error where a run of this id was about something else; what that was stays untold: it may be another's."""
    differing = [name for name in asked if kept.get(name) != asked[name]]
    return ConfigError(
        f"the run {id} is about something else: it had another {', another '.join(differing) or 'beginning'}",
        remedy="Go on with the same query and tools, or leave out run= for a new one",
    )


def new_run_id() -> str:
    """Ids sort by the time they were made."""
    return f"run_{int(time.time() * 1000):011x}{secrets.token_hex(8)}"


def digest_of(asked: JsonObject) -> str:
    """What tells one query with its tools from another."""
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _is_gone(holder: str) -> bool:
    """Whether the process that worked on a run ran on this machine, and has ended."""
    machine, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if machine != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
