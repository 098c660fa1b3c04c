"""Runs of a fleet without storage: they end with their process, and until then can be gone on with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.agent.journal import RunInUse, new_run_id, other_run
from orchestrator.budget import Budget, Ledger
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.storage.journal import RunLedger

MAX_UNKEPT = 1_000  # runs that wait


class UnkeptRun:
    """The record of a run that ends with its process; `asked` is what it is about."""

    def __init__(self, id: str = "", asked: JsonMapping | None = None) -> None:
        self.id = id or new_run_id()
        self.asked = dict(asked or {})
        self.status = "running"
        self._steps: dict[str, tuple[str, JsonValue]] = {}
        self._ledger: Ledger | None = None

    def ledger(self, budget: Budget, within: Ledger | None) -> Ledger:
        """An account of its own: what the run spent before it waited counts."""
        made, before = RunLedger(budget, within=within), self._ledger
        if before is not None:
            made.goes_on(before.settled_nano, before.settled_tokens, before.calls)
        self._ledger = made
        return made

    def kept_value(self, path: str) -> tuple[str, JsonValue] | None:
        """(status, value) of what is on record; `None` if nothing is."""
        return self._steps.get(path)

    async def keep(self, path: str, status: str, value: JsonValue = None) -> None:
        """Keeps it as long as the process lives."""
        self._steps[path] = (status, value)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A block in which the run is worked on."""
        yield

    async def end(self, status: str, output: JsonValue, error: str = "") -> None:
        """Notes how the run ended."""
        self.status = status


class UnkeptRuns:
    """Runs of a fleet without storage: the latest ones that wait can be gone on with in this process."""

    def __init__(self) -> None:
        self._known: dict[str, UnkeptRun] = {}

    def open(self, id: str, asked: JsonMapping, *, must_exist: bool) -> UnkeptRun:
        """The run of this id, begun anew or gone on with. Raises `ConfigError` where it is not known, or not this."""
        found = self._known.pop(id, None)
        if found is None and must_exist:
            raise ConfigError(
                f"the run {id or 'that was decided about'} is not known here",
                remedy='Pass run=answer.run; runs outlive the program with Orchestrator(..., storage="runs.db")',
            )
        if found is None:
            found = UnkeptRun(id, asked)
        elif found.asked != dict(asked):
            self._known[found.id] = found
            raise other_run(id, found.asked, asked)
        elif found.status == "running":
            self._known[found.id] = found
            raise RunInUse(f"somebody works on the run {id}", remedy="Wait until it ends")
        found.status = "running"
        self._known[found.id] = found
        self._forget_oldest()
        return found

    def _forget_oldest(self) -> None:
        """Lets go of runs that are done, and of those that wait, the oldest beyond `MAX_UNKEPT`."""
        waiting = {id: each for id, each in self._known.items() if each.status not in ("running", "done")}
        too_old = set(list(waiting)[: max(len(waiting) - MAX_UNKEPT, 0)])
        self._known = {id: each for id, each in self._known.items() if each.status != "done" and id not in too_old}
