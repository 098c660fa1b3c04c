"""Runs of pipelines, step by step, so that one that was interrupted goes on where it was.

What finished, what was begun, what was spent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, pipeline TEXT NOT NULL, file TEXT NOT NULL, digest TEXT NOT NULL,
    status TEXT NOT NULL,
    inputs TEXT NOT NULL, output TEXT, error TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    holder TEXT NOT NULL, held_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX runs_by_owner ON runs (owner, created_at);
CREATE TABLE run_steps (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, path TEXT NOT NULL, status TEXT NOT NULL, value TEXT,
    cost_nano BIGINT,
    seconds DOUBLE PRECISION NOT NULL, at DOUBLE PRECISION NOT NULL, PRIMARY KEY (run, path)
);
CREATE TABLE run_calls (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, id TEXT NOT NULL, nano BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (run, id)
);
CREATE TABLE step_cache (key TEXT PRIMARY KEY, value TEXT NOT NULL, until DOUBLE PRECISION NOT NULL)
"""
FORGOTTEN = {"forgotten": True}  # stands where something was forgotten
SILENT_S = 10.0  # a run whose worker was not heard of for so long may be taken over
_OF_PREFIX = "substr(owner, 1, ?) = ?"
ENDS = ("done", "partial", "failed", "cancelled")
WORKED_ON = ("running", "cancelling")
_COLUMNS = "id, owner, pipeline, file, digest, status, inputs, output, error, created_at, ended_at, holder, held_at"
KEEP = """INSERT INTO run_steps VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, path)
    DO UPDATE SET status = excluded.status, value = excluded.value, cost_nano = excluded.cost_nano,
    seconds = excluded.seconds, at = excluded.at"""
HOLD_CALL = "INSERT INTO run_calls VALUES (?, ?, ?, ?)"
SETTLE_CALL = "UPDATE run_calls SET nano = ?, tokens = ? WHERE run = ? AND id = ?"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Times are seconds since 1970. `holder` is the process that works on it, and was heard of at `held_at`.

    `status` is running, cancelling (its process is asked to end it), interrupted (that process is silent: the run can
    be resumed), or one of `ENDS`.
    """

    id: str
    owner: str
    pipeline: str
    file: str
    digest: str
    status: str
    inputs: dict[str, Any]
    output: Any
    error: str
    created_at: float
    ended_at: float | None
    holder: str
    held_at: float

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens in it."""
        return self.status in ENDS

    def as_dict(self) -> JsonObject:
        """The run as JSON values."""
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "status": self.status,
            "inputs": self.inputs,
            "output": self.output,
            "error": self.error,
            "created_at": self.created_at,
            "ended_at": self.ended_at,
        }


@dataclass(frozen=True, slots=True)
class StoredStep:
    """`status` is done, skipped, failed (with a value instead), or begun.

    Then nobody knows whether what it changes outside was changed.
    """

    path: str
    status: str
    value: Any
    cost_usd: float | None
    seconds: float
    at: float

    def as_dict(self) -> JsonObject:
        """The step as JSON values."""
        return asdict(self)


class Runs:
    """Calls block. An `owner` sees no runs but its own."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock
        migrate(database, "runs", [_SCHEMA])

    def begin(self, run: StoredRun) -> None:
        """Stores a run that begins."""
        self._insert(run, "")

    def begin_unless_there(self, run: StoredRun) -> bool:
        """Stores a run that begins; false where a run of this id is there already."""
        return self._insert(run, " ON CONFLICT (id) DO NOTHING RETURNING id")

    def _insert(self, run: StoredRun, unless: str) -> bool:
        begun = (run.id, run.owner, run.pipeline, run.file, run.digest, run.status, json.dumps(run.inputs))
        values = (*begun, None, "", run.created_at, None)
        with self.database.writing() as do:
            sql = f"INSERT INTO runs ({_COLUMNS}) VALUES ({', '.join('?' * 13)}){unless}"
            return bool(do(sql, *values, run.holder, run.held_at))

    def _stored(self, row: tuple[Any, ...]) -> StoredRun:
        """A run as it is read; one whose process is silent is `interrupted`, whatever that process wrote last."""
        run = _run(row)
        is_silent = self.clock() - run.held_at > SILENT_S
        return replace(run, status="interrupted") if is_silent and run.status in WORKED_ON else run

    def find(self, owner: str, id: str) -> StoredRun | None:
        """A run of an owner; `None` if it is not there."""
        rows = self.database.read(f"SELECT {_COLUMNS} FROM runs WHERE owner = ? AND id = ?", owner, id)
        return self._stored(rows[0]) if rows else None

    def recent_of(self, prefix: str, *, limit: int = 100) -> list[StoredRun]:
        """The newest runs of all owners whose names begin so, "" for those of everybody."""
        sql = f"SELECT {_COLUMNS} FROM runs WHERE {_OF_PREFIX} ORDER BY created_at DESC, id LIMIT ?"
        return [self._stored(row) for row in self.database.read(sql, len(prefix), prefix, limit)]

    def find_of(self, prefix: str, id: str) -> StoredRun | None:
        """A run of an owner whose name begins so; `None` if it is not there."""
        rows = self.database.read(f"SELECT {_COLUMNS} FROM runs WHERE {_OF_PREFIX} AND id = ?", len(prefix), prefix, id)
        return self._stored(rows[0]) if rows else None

    def recent(self, owner: str, *, pipeline: str | None = None, limit: int = 100) -> list[StoredRun]:
        """The newest runs first."""
        named, values = ("AND pipeline = ?", [pipeline]) if pipeline is not None else ("", [])
        sql = f"SELECT {_COLUMNS} FROM runs WHERE owner = ? {named} ORDER BY created_at DESC, id LIMIT ?"
        return [self._stored(row) for row in self.database.read(sql, owner, *values, limit)]

    def steps(self, id: str) -> list[StoredStep]:
        """The steps of a run, in the order in which they finished."""
        sql = "SELECT path, status, value, cost_nano, seconds, at FROM run_steps WHERE run = ? ORDER BY at, path"
        return [_step(row) for row in self.database.read(sql, id)]

    def spent(self, id: str) -> tuple[int, int, int]:
        """(nano-dollars, tokens, calls) of a run.

        What was settled, and the worst case of what was under way when it ended.
        """
        nano, tokens, calls = self.database.read(
            "SELECT coalesce(sum(nano), 0), coalesce(sum(tokens), 0), count(*) FROM run_calls WHERE run = ?", id
        )[0]
        return int(nano), int(tokens), int(calls)

    def hold(self, id: str, holder: str, *, held_before: float, take_from: str = "") -> bool:
        """Takes an unended run to work on, or keeps it.

        False if another process has it (but for `take_from`, which is known to be gone).
        """
        marks = ", ".join("?" * len(ENDS))
        sql = f"""UPDATE runs SET holder = ?, held_at = ?,
            status = CASE WHEN status = 'cancelling' THEN status ELSE 'running' END
            WHERE id = ? AND (holder IN (?, ?) OR held_at < ?) AND status NOT IN ({marks}) RETURNING id"""
        with self.database.writing() as do:
            return bool(do(sql, holder, self.clock(), id, holder, take_from or holder, held_before, *ENDS))

    def reopen(self, id: str) -> None:
        """A run that failed, was cancelled or ran out of its budget may go on."""
        with self.database.writing() as do:
            sql = (
                "UPDATE runs SET status = 'running', error = '', ended_at = NULL, held_at = 0 WHERE id = ? AND "
                "status IN (?, ?, ?)"
            )
            do(sql, id, "failed", "cancelled", "partial")

    def heard(self, id: str, holder: str) -> str:
        """Says that a run is being worked on; returns its status, `cancelling` if somebody wants it to end."""
        with self.database.writing() as do:
            rows = do(
                "UPDATE runs SET held_at = ? WHERE id = ? AND holder = ? RETURNING status", self.clock(), id, holder
            )
        return str(rows[0][0]) if rows else "lost"

    def cancel(self, owner: str, id: str) -> bool:
        """Asks the process that works on a run to end it; one that nobody works on has ended with that."""
        marks = ", ".join("?" * len(ENDS))
        with self.database.writing() as do:
            return bool(
                do(
                    f"UPDATE runs SET status = 'cancelling' WHERE owner = ? AND id = ? AND status NOT IN ({marks}) "
                    "RETURNING id",
                    owner,
                    id,
                    *ENDS,
                )
            )

    def answered(self, id: str, output: JsonValue) -> None:
        """Keeps the output of a run whose steps in the background go on."""
        with self.database.writing() as do:
            do("UPDATE runs SET output = ? WHERE id = ?", json.dumps(output), id)

    def end(self, id: str, status: str, output: JsonValue, error: str) -> None:
        """Notes how a run ended."""
        with self.database.writing() as do:
            do(
                "UPDATE runs SET status = ?, output = ?, error = ?, ended_at = ? WHERE id = ?",
                status,
                json.dumps(output),
                error,
                self.clock(),
                id,
            )

    def forget(self, *, before: float) -> int:
        """Deletes runs that ended before a moment (seconds since 1970), with their steps, and what is cached no
        longer.
        """
        with self.database.writing() as do:
            do("DELETE FROM step_cache WHERE until < ?", self.clock())
            return len(do("DELETE FROM runs WHERE ended_at < ? RETURNING id", before))

    def delete(self, owner: str, id: str) -> bool:
        """Deletes a run. False if it is not there."""
        with self.database.writing() as do:
            return bool(do("DELETE FROM runs WHERE owner = ? AND id = ? RETURNING id", owner, id))

    def redact(self, tenant: str, texts: Collection[str]) -> int:
        """Takes out of the runs of a tenant whatever holds one of `texts`, which were forgotten.

        What steps gave, outputs, inputs, cached results. Returns how many values that were; the runs stay, and what was
        spent on them.
        """
        written = [json.dumps(text)[1:-1] for text in texts if text.strip()]
        told, found = json.dumps(FORGOTTEN), 0
        with self.database.writing() as do:
            sql = (
                "SELECT run, path, value FROM run_steps JOIN runs ON runs.id = run WHERE owner LIKE ? AND value IS "
                "NOT NULL"
            )
            for run, path, value in do(sql, f"{tenant}/%"):
                if any(text in value for text in written):
                    do("UPDATE run_steps SET value = ? WHERE run = ? AND path = ?", told, run, path)
                    found += 1
            for id_, inputs, output in do("SELECT id, inputs, output FROM runs WHERE owner LIKE ?", f"{tenant}/%"):
                if any(text in inputs for text in written):
                    do("UPDATE runs SET inputs = ? WHERE id = ?", json.dumps({"forgotten": True}), id_)
                    found += 1
                if output is not None and any(text in output for text in written):
                    do("UPDATE runs SET output = ? WHERE id = ?", told, id_)
                    found += 1
            for key, value in do("SELECT key, value FROM step_cache"):
                if any(text in value for text in written):
                    do("DELETE FROM step_cache WHERE key = ?", key)
                    found += 1
        return found

    def copy_steps(self, of: str, to: str, paths: list[str]) -> None:
        """Begins a run with what another one found."""
        with self.database.writing() as do:
            for path in paths:
                do(
                    "INSERT INTO run_steps SELECT ?, path, status, value, 0, seconds, at FROM run_steps WHERE run = ? "
                    "AND path = ?",
                    to,
                    of,
                    path,
                )

    def cached(self, key: str) -> tuple[JsonValue] | None:
        """The value that a step gave for these inputs, in a tuple; `None` if none is kept."""
        rows = self.database.read("SELECT value FROM step_cache WHERE key = ? AND until > ?", key, self.clock())
        return (json.loads(rows[0][0]),) if rows else None

    def cache(self, key: str, value: JsonValue, seconds: float) -> None:
        """Keeps the value that a step gave, for so many seconds."""
        sql = (
            "INSERT INTO step_cache VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, until = "
            "excluded.until"
        )
        with self.database.writing() as do:
            do(sql, key, json.dumps(value), self.clock() + seconds)


def _run(row: tuple[Any, ...]) -> StoredRun:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("inputs", "output"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return StoredRun(**values)


def _step(row: tuple[Any, ...]) -> StoredStep:
    path, status, value, cost_nano, seconds, at = row
    return StoredStep(
        path,
        status,
        None if value is None else json.loads(value),
        None if cost_nano is None else cost_nano / 1e9,
        seconds,
        at,
    )
