"""What a job knows, on disk: an SQLite file in its folder. What was paid for is written at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from orchestrator.distill.rows import Lesson, Part, TextRow, as_json, key_of
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonValue
from orchestrator.storage.database import open_database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE IF NOT EXISTS distill_rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL, source TEXT NOT NULL, gold TEXT,
    label TEXT, confidence REAL NOT NULL, teacher TEXT NOT NULL, grp TEXT NOT NULL, time TEXT NOT NULL, parent INTEGER,
    kind TEXT NOT NULL, round INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '', part TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS distill_lessons (
    row INTEGER NOT NULL REFERENCES distill_rows (id), teacher TEXT NOT NULL, confidence REAL NOT NULL,
    cost_usd REAL NOT NULL, facts TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (row, teacher)
);
CREATE TABLE IF NOT EXISTS distill_costs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, cost_usd REAL NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS distill_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""
WRITTEN = 0  # the round of rows that no source holds
_COLUMNS = "id, text, source, gold, label, confidence, teacher, grp, time, parent, kind, reason, part"


class JobStore:
    """One job's rows, lessons and costs. Thread-safe; calls block. Raises `StorageError`."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be made: {error}", remedy="State another `out`") from None
        self.path = folder / "job.db"
        self._lock = _locked(folder / "job.lock")
        self._db = open_database(self.path)
        migrate(self._db, "distill", [_SCHEMA])

    def collect(self, rows: Iterable[TextRow]) -> None:
        """Keeps what the sources hold now: rows that are there are brought up to date, those that are gone rest.

        What the fleet wrote (questions to documents, synthetic texts) stays.
        """
        round_ = int(str(self.fact("round") or 0)) + 1
        self._put(rows, round_)
        self.note("round", round_)
        self._forget_traffic(round_)

    def _forget_traffic(self, round_: int) -> None:
        """What the fleet has forgotten is deleted here, too, with all that was made of it."""
        gone = "SELECT id FROM distill_rows WHERE source = 'traffic' AND round <> ?"
        with self._db.writing() as run:
            ids = [row[0] for row in run(gone, round_)]
            for each in ids:
                run("DELETE FROM distill_lessons WHERE row IN (SELECT id FROM distill_rows WHERE parent = ?)", each)
                run("DELETE FROM distill_lessons WHERE row = ?", each)
                run("DELETE FROM distill_rows WHERE id = ? OR parent = ?", each, each)

    def add(self, rows: Iterable[TextRow]) -> None:
        """Keeps rows that the fleet wrote; their ids are given here."""
        self._put(rows, WRITTEN)

    def _put(self, rows: Iterable[TextRow], round_: int) -> None:
        columns = "key, text, source, gold, label, confidence, teacher, grp, time, parent, kind, round"
        updated = ("source", "gold", "confidence", "teacher", "grp", "time", "round")
        upsert = (
            f"INSERT INTO distill_rows ({columns}) VALUES ({', '.join('?' * 12)}) ON CONFLICT (key) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in updated)
        )
        with self._db.writing() as run:
            for row in rows:
                facts = row.text, row.source, row.gold, row.label, row.confidence, row.teacher, row.group, row.time
                run(upsert, key_of(row), *facts, row.parent, row.kind, round_)

    def rows(self) -> list[TextRow]:
        """All that the sources hold and the fleet wrote, in the order in which they came."""
        round_ = int(str(self.fact("round") or 0))
        sql = f"SELECT {_COLUMNS} FROM distill_rows WHERE round IN (?, ?) ORDER BY id"
        return [TextRow(*row) for row in self._db.read(sql, round_, WRITTEN)]

    def reject(self, reasons: Mapping[int, str], parts: Mapping[int, Part]) -> None:
        """Replaces what was decided of all rows: why some are rejected, and what the others are for."""
        with self._db.writing() as run:
            run("UPDATE distill_rows SET reason = '', part = ''")
            for row, reason in reasons.items():
                run("UPDATE distill_rows SET reason = ? WHERE id = ?", reason, row)
            for row, part in parts.items():
                run("UPDATE distill_rows SET part = ? WHERE id = ?", part, row)

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Keeps lessons; one that failed before is replaced, one that is there stays."""
        with self._db.writing() as run:
            for lesson in lessons:
                run(
                    "INSERT INTO distill_lessons VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (row, teacher) DO UPDATE SET "
                    "confidence = excluded.confidence, cost_usd = distill_lessons.cost_usd + excluded.cost_usd, "
                    "facts = excluded.facts, at = excluded.at "
                    "WHERE json_extract(distill_lessons.facts, '$.answer') IS NULL",
                    lesson.row,
                    lesson.teacher,
                    lesson.confidence,
                    lesson.cost_usd,
                    json.dumps(as_json(lesson)),
                    time.time(),
                )

    def lessons(self) -> list[Lesson]:
        """All of them, by row and teacher."""
        sql = "SELECT row, teacher, confidence, cost_usd, facts FROM distill_lessons ORDER BY row, teacher"
        return [_lesson(*found) for found in self._db.read(sql)]

    def pay(self, what: str, cost_usd: float) -> None:
        """Keeps what was paid beside lessons: questions and paraphrases that were written."""
        with self._db.writing() as run:
            run("INSERT INTO distill_costs (what, cost_usd, at) VALUES (?, ?, ?)", what, cost_usd, time.time())

    def spent_usd(self) -> float:
        """What the job cost so far."""
        lessons = self._db.read("SELECT coalesce(sum(cost_usd), 0) FROM distill_lessons")[0][0]
        return float(lessons) + float(self._db.read("SELECT coalesce(sum(cost_usd), 0) FROM distill_costs")[0][0])

    def hold(self, usd: float) -> None:
        """Notes what calls under way may cost, so that a job that is killed counts them as spent."""
        self.note("held", usd)

    def release(self) -> None:
        """No call is under way any longer."""
        self.note("held", None)

    def book_lost_calls(self) -> None:
        """Counts as spent what was under way when an earlier run was killed."""
        held = self.fact("held")
        if isinstance(held, int | float) and held > 0:
            self.pay("calls under way when a run was killed", float(held))
        self.release()

    def fact(self, name: str) -> JsonValue:
        """Something that was noted, or `None`."""
        found = self._db.read("SELECT value FROM distill_facts WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def note(self, name: str, value: JsonValue) -> None:
        """Notes something; what was noted under the name before is replaced."""
        upsert = "INSERT INTO distill_facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        with self._db.writing() as run:
            run(upsert, name, json.dumps(value, sort_keys=True))

    def close(self) -> None:
        """Closes the file, and lets another run begin."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()


def _locked(path: Path) -> IO[str] | None:
    """One run of a job at a time: two would ask, and pay, for the same texts. Raises `ConfigError`."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(f"another run works in {path.parent}", remedy="Wait until it has ended") from None
    return file


def _lesson(row: int, teacher: str, confidence: float, cost_usd: float, facts: str) -> Lesson:
    found = json.loads(facts)
    return Lesson(
        row,
        teacher,
        found["answer"],
        confidence,
        cost_usd,
        found["model"],
        tuple(found["verdicts"]),
        tuple(found["drafts"]),
        found["error"],
    )
