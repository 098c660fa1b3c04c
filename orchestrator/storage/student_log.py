"""What is known of students in use: audits, what they answered and saved, their versions, and what teachers said.

An SQLite file, or PostgreSQL. Queries and answers of a student's task are kept as text: the next student learns from
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import open_database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE IF NOT EXISTS student_audits (
    answer TEXT NOT NULL, student TEXT NOT NULL, version BIGINT NOT NULL, label TEXT NOT NULL,
    disagrees BIGINT NOT NULL, cost_usd DOUBLE PRECISION NOT NULL, source TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (student, answer, source)
);
CREATE INDEX IF NOT EXISTS student_audits_by_version ON student_audits (student, version, at);
CREATE TABLE IF NOT EXISTS student_days (
    student TEXT NOT NULL, version BIGINT NOT NULL, day TEXT NOT NULL, own BIGINT NOT NULL, given BIGINT NOT NULL,
    novel BIGINT NOT NULL, PRIMARY KEY (student, version, day)
);
CREATE TABLE IF NOT EXISTS student_versions (
    student TEXT NOT NULL, version BIGINT NOT NULL, state TEXT NOT NULL, path TEXT NOT NULL, facts TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL, PRIMARY KEY (student, version)
);
CREATE TABLE IF NOT EXISTS student_texts (
    student TEXT NOT NULL, text TEXT NOT NULL, answer TEXT NOT NULL, model TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL, cost_usd DOUBLE PRECISION NOT NULL, scope TEXT NOT NULL, id TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL, PRIMARY KEY (student, id)
);
CREATE INDEX IF NOT EXISTS student_texts_by_time ON student_texts (student, at);
CREATE TABLE IF NOT EXISTS student_turns (student TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)
"""
Source = Literal["audit", "unclear", "feedback", "check"]
State = Literal["candidate", "serving", "retired", "refused", "withdrawn"]


@dataclass(frozen=True, slots=True)
class StudentAudit:
    """One answer of a student, held against what others say.

    `source` is an audit by its teacher (unclear where that one's answer has no label), a check, or a person's feedback.
    """

    answer: str
    student: str
    version: int
    label: str
    disagrees: bool
    cost_usd: float
    source: Source = "audit"


@dataclass(frozen=True, slots=True)
class StudentCounts:
    """How many queries were a student's own, to how many of them it gave an answer, and how many were new to it."""

    own: int = 0
    given: int = 0
    novel: int = 0

    def plus(self, other: StudentCounts) -> StudentCounts:
        """Both together."""
        return StudentCounts(self.own + other.own, self.given + other.given, self.novel + other.novel)


@dataclass(frozen=True, slots=True)
class StudentVersion:
    """One student of a task, and what became of it. `at` is when that was, in seconds since 1970."""

    student: str
    version: int
    state: State
    path: str
    facts: JsonObject
    at: float


@dataclass(frozen=True, slots=True)
class TaughtText:
    """What a teacher answered to a text of a student's task, in traffic."""

    text: str
    answer: str
    model: str
    confidence: float
    cost_usd: float
    scope: str
    id: str
    at: float = 0.0


class StudentLog:
    """Thread-safe; calls block. `path` is a file, or `postgresql://...`. Raises `StorageError`."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._db = open_database(path)
        migrate(self._db, "students", [_SCHEMA])

    def audit(self, audit: StudentAudit) -> None:
        """Keeps one audit; a second one of the same answer from the same source changes nothing."""
        values = (audit.answer, audit.student, audit.version, audit.label, int(audit.disagrees), audit.cost_usd)
        with self._db.writing() as run:
            run(
                "INSERT INTO student_audits VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                *values,
                audit.source,
                time.time(),
            )

    def audits(self, student: str, version: int, source: Source = "audit") -> list[StudentAudit]:
        """Of one version, in order."""
        rows = self._db.read(
            "SELECT answer, student, version, label, disagrees, cost_usd, source FROM student_audits WHERE student = ? "
            "AND version = ? AND source = ? ORDER BY at",
            student,
            version,
            source,
        )
        return [StudentAudit(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6]) for row in rows]

    def audit_costs(self, student: str) -> list[float]:
        """What each audit of a student cost, of all versions, in USD."""
        sql = "SELECT cost_usd FROM student_audits WHERE student = ? AND source IN ('audit', 'unclear')"
        return [float(row[0]) for row in self._db.read(sql, student)]

    def audit_usd_since(self, moment: float, student: str) -> float:
        """What audits of a student cost since then (seconds since 1970)."""
        sql = "SELECT coalesce(sum(cost_usd), 0) FROM student_audits WHERE at >= ? AND student = ?"
        return float(self._db.read(sql, moment, student)[0][0])

    def audit_count(self, student: str, version: int) -> int:
        """How many audits of a version there are."""
        sql = "SELECT count(*) FROM student_audits WHERE student = ? AND version = ? AND source = 'audit'"
        return int(self._db.read(sql, student, version)[0][0])

    def count(self, student: str, version: int, counts: StudentCounts) -> None:
        """Adds to what is known of today."""
        day = datetime.now(UTC).date().isoformat()
        upsert = (
            "INSERT INTO student_days VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (student, version, day) DO UPDATE SET "
            "own = student_days.own + excluded.own, given = student_days.given + excluded.given, "
            "novel = student_days.novel + excluded.novel"
        )
        with self._db.writing() as run:
            run(upsert, student, version, day, counts.own, counts.given, counts.novel)

    def counts(self, student: str, version: int | None = None) -> StudentCounts:
        """Of all days, of one version or of all."""
        where, values = ("", (student,)) if version is None else (" AND version = ?", (student, version))
        sql = "SELECT coalesce(sum(own), 0), coalesce(sum(given), 0), coalesce(sum(novel), 0) FROM student_days"
        row = self._db.read(f"{sql} WHERE student = ?{where}", *values)[0]
        return StudentCounts(*map(int, row))

    def days(self, student: str) -> list[tuple[str, StudentCounts]]:
        """What happened on each day, all versions together."""
        sql = (
            "SELECT day, sum(own), sum(given), sum(novel) FROM student_days WHERE student = ? GROUP BY day ORDER BY day"
        )
        return [(row[0], StudentCounts(*map(int, row[1:]))) for row in self._db.read(sql, student)]

    def keep_version(self, student: str, version: int, state: State, path: str | Path, facts: JsonObject) -> None:
        """Keeps what became of a version; what was known of it before is replaced."""
        upsert = (
            "INSERT INTO student_versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (student, version) DO UPDATE SET "
            "state = excluded.state, path = excluded.path, facts = excluded.facts, at = excluded.at"
        )
        with self._db.writing() as run:
            run(upsert, student, version, state, str(path), json.dumps(facts, sort_keys=True), time.time())

    def change_state(self, student: str, version: int, state: State) -> None:
        """Another state of a version that is known."""
        with self._db.writing() as run:
            run("UPDATE student_versions SET state = ? WHERE student = ? AND version = ?", state, student, version)

    def versions(self, student: str) -> list[StudentVersion]:
        """All versions of a student, the first one first."""
        sql = "SELECT student, version, state, path, facts, at FROM student_versions WHERE student = ? ORDER BY version"
        rows = self._db.read(sql, student)
        return [StudentVersion(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5]) for row in rows]

    def latest_version(self, student: str) -> int | None:
        """The newest version that answered anything; `None` if none did."""
        sql = "SELECT max(version) FROM student_days WHERE student = ?"
        found = self._db.read(sql, student)[0][0]
        return None if found is None else int(found)

    def students(self) -> list[str]:
        """Everyone who is known, by name."""
        names = (f"SELECT student FROM student_{table}" for table in ("versions", "days", "texts"))
        return [row[0] for row in self._db.read(" UNION ".join(names) + " ORDER BY student")]

    def teach(self, student: str, rows: Sequence[TaughtText]) -> None:
        """Keeps what teachers answered; an answer that is kept already changes nothing."""
        columns = ["student", "text", "answer", "model", "confidence", "cost_usd", "scope", "id", "at"]
        now = time.time()
        values = [
            [student, row.text, row.answer, row.model, row.confidence, row.cost_usd, row.scope, row.id, row.at or now]
            for row in rows
        ]
        self._db.insert_many("student_texts", columns, values)

    def taught(self, student: str, *, since: float = 0.0, limit: int = 100_000) -> list[TaughtText]:
        """What teachers answered since then, the newest `limit`, oldest first."""
        sql = (
            "SELECT text, answer, model, confidence, cost_usd, scope, id, at FROM student_texts WHERE student = ? AND "
            "at >= ? ORDER BY at DESC LIMIT ?"
        )
        return [TaughtText(*row) for row in self._db.read(sql, student, since, limit)][::-1]

    def claim(self, student: str, every_s: float) -> bool:
        """Whether it is time for a new student, and the caller is the one to make it.

        Of many processes that ask at the same time, one is told so.
        """
        now = time.time()
        upsert = (
            "INSERT INTO student_turns VALUES (?, ?) ON CONFLICT (student) DO UPDATE SET at = excluded.at "
            "WHERE student_turns.at <= ? RETURNING student"
        )
        with self._db.writing() as run:
            return bool(run(upsert, student, now, now - every_s))

    def forget(self, scope: str) -> int:
        """Deletes the texts of a scope; returns how many."""
        with self._db.writing() as run:
            return len(run("DELETE FROM student_texts WHERE scope = ? RETURNING id", scope))

    def close(self) -> None:
        """Closes the database."""
        self._db.close()
