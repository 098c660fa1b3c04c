"""The decision log: every routing decision, what it could have chosen with which probability, and what came of it. One SQLite file.

Queries are kept as text (a router learns from them), answers only as the short canonical form by which they are compared. Several processes may share
a file (WAL). A write survives the death of the process; a power cut may take the last moments with it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.memory.storage.transactions import connected, log_ahead, writing
from orchestrator.router import Outcome
from orchestrator.router.learning.replay import Decision
from orchestrator.router.success import reliability_weight

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6F72_6465  # "orde"
_SCHEMA = """
CREATE TABLE decisions (
    id TEXT PRIMARY KEY, at REAL NOT NULL, scope TEXT NOT NULL, query TEXT NOT NULL, asked TEXT NOT NULL, propensity REAL NOT NULL,
    answer INTEGER NOT NULL, confidence REAL NOT NULL, cost_usd REAL, policy TEXT NOT NULL, reference TEXT NOT NULL,
    reference_cost_usd REAL, options TEXT NOT NULL, drafts TEXT NOT NULL
);
CREATE INDEX decisions_by_scope ON decisions (scope);
CREATE INDEX decisions_by_time ON decisions (at);
CREATE TABLE outcomes (
    decision TEXT NOT NULL REFERENCES decisions (id) ON DELETE CASCADE, model TEXT NOT NULL, score REAL NOT NULL,
    reliability REAL NOT NULL, source TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (decision, model)
);
CREATE TABLE audits (
    decision TEXT PRIMARY KEY REFERENCES decisions (id) ON DELETE CASCADE, certificate TEXT NOT NULL, loss REAL NOT NULL,
    gain REAL NOT NULL, cost_usd REAL NOT NULL, at REAL NOT NULL
)
"""
_COLUMNS = "id, at, scope, query, asked, propensity, answer, confidence, cost_usd, policy, reference, reference_cost_usd, options, drafts"


@dataclass(frozen=True, slots=True)
class LoggedDraft:
    """One answer of one model. `key` is what it is compared by: equal keys are equivalent answers, `text#...` equals nothing."""

    model: str
    key: str
    cost_usd: float | None
    output_tokens: int
    latency_s: float
    ttft_s: float | None = None
    is_revision: bool = False

    @property
    def is_comparable(self) -> bool:
        return not self.key.startswith("text#")


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One decision. `asked` is the model that was asked first, `propensity` in (0, 1] the probability with which it was.

    `options` holds (model, P(right), expected USD) of every model that could have been asked; `answer` is the index of the draft that was given.
    """

    id: str
    at: float
    scope: str
    query: str
    asked: str
    propensity: float
    answer: int
    confidence: float
    cost_usd: float | None
    policy: str
    reference: str
    reference_cost_usd: float | None
    options: tuple[tuple[str, float, float | None], ...]
    drafts: tuple[LoggedDraft, ...]


@dataclass(frozen=True, slots=True)
class Grade:
    """What is known of one model's answer: `score` in [0, 1], and the probability `reliability` in (0.5, 1] that the grader is right."""

    model: str
    score: float
    reliability: float = 1.0


@dataclass(frozen=True, slots=True)
class LoggedAudit:
    """One query that was also asked of the reference: what was lost, the predicted gain of the reference, and the price of looking."""

    loss: float
    gain: float
    cost_usd: float


class DecisionLog:
    """Thread-safe. Raises `StorageError` when the file cannot be used; nothing already written is touched then."""

    def __init__(self, path: str | Path, *, keep_days: float | None = None) -> None:
        self.path = str(path)
        self._lock = threading.RLock()
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._db = connected(self.path)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot open the decision log {self.path}: {error}", remedy="Check the path and its permissions") from error
        if keep_days is not None:
            self.forget(before=time.time() - 86_400 * keep_days)

    def _prepare(self) -> None:
        log_ahead(self._db)
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        with self._write():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            elif self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StorageError(f"{self.path} is an SQLite file but no decision log", remedy="Choose another path")
            elif version > SCHEMA_VERSION:
                raise StorageError(
                    f"the decision log {self.path} has schema {version}, this version knows {SCHEMA_VERSION}", remedy="Upgrade"
                )

    def _write(self) -> AbstractContextManager[None]:
        return writing(self._db, self._lock)

    def record(self, decision: LoggedDecision, grades: Sequence[Grade] = (), *, source: str = "verifier") -> None:
        """Keeps one decision, with what is known of its drafts already."""
        row = [getattr(decision, name) for name in _COLUMNS.split(", ")[:-2]]
        row += [json.dumps(decision.options), json.dumps([asdict(draft) for draft in decision.drafts])]
        with self._write():
            self._db.execute(f"INSERT INTO decisions ({_COLUMNS}) VALUES ({','.join('?' * 14)})", row)
            self._grade(decision.id, grades, source)

    def grade(self, decision: str, grades: Sequence[Grade], *, source: str) -> bool:
        """Keeps what became known of a decision's drafts; a grade gives way only to one at least as reliable. True if one was replaced."""
        with self._write():
            return self._grade(decision, grades, source)

    def _grade(self, decision: str, grades: Sequence[Grade], source: str) -> bool:
        known = {row[0] for row in self._db.execute("SELECT model FROM outcomes WHERE decision = ?", (decision,))}
        self._db.executemany(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET score = excluded.score, "
            "reliability = excluded.reliability, source = excluded.source, at = excluded.at WHERE excluded.reliability >= reliability",
            [(decision, g.model, g.score, g.reliability, source, time.time()) for g in grades],
        )
        return not known.isdisjoint(g.model for g in grades)

    def audit(self, decision: str, certificate: str, audit: LoggedAudit) -> None:
        with self._write():
            row = (decision, certificate, audit.loss, audit.gain, audit.cost_usd, time.time())
            self._db.execute("INSERT OR REPLACE INTO audits VALUES (?, ?, ?, ?, ?, ?)", row)

    def find(self, decision: str) -> LoggedDecision | None:
        rows = self._rows(f"SELECT {_COLUMNS} FROM decisions WHERE id = ?", decision)
        return _decision(rows[0]) if rows else None

    def recent(self, limit: int) -> list[LoggedDecision]:
        """The newest decisions, oldest first."""
        return [_decision(row) for row in self._rows(f"SELECT {_COLUMNS} FROM decisions ORDER BY at DESC LIMIT ?", limit)][::-1]

    def outcomes(self, limit: int = 1_000_000) -> list[Outcome]:
        """The newest graded answers, oldest first, as a router is trained on them."""
        sql = (
            "SELECT query, model, score, reliability, drafts FROM outcomes JOIN decisions ON decisions.id = decision "
            "ORDER BY outcomes.at DESC LIMIT ?"
        )
        found = []
        for query, model, score, reliability, drafts in self._rows(sql, limit)[::-1]:
            tokens = next((d["output_tokens"] for d in json.loads(drafts) if d["model"] == model), None)
            found.append(Outcome(query, model, score, reliability_weight(reliability), tokens))
        return found

    def decisions(self) -> list[Decision]:
        """Decisions whose first model's answer was graded, as `orchestrator.router.learning.replay` judges another policy by them."""
        graded = "SELECT decision, score FROM outcomes JOIN decisions ON decisions.id = decision AND model = asked"
        sql = f"SELECT {_COLUMNS}, score FROM decisions JOIN ({graded}) ON id = decision ORDER BY at"
        found = []
        for row in self._rows(sql):
            logged = _decision(row[:-1])
            cost = next((draft.cost_usd for draft in logged.drafts if draft.model == logged.asked), None)
            found.append(Decision(logged.query, logged.asked, logged.propensity, row[-1], cost or 0.0))
        return found

    def audits(self, certificate: str) -> list[LoggedAudit]:
        """What audits of this certificate found, in order."""
        return [
            LoggedAudit(*r) for r in self._rows("SELECT loss, gain, cost_usd FROM audits WHERE certificate = ? ORDER BY at", certificate)
        ]

    def audit_usd_since(self, moment: float) -> float:
        """What audits cost since then (seconds since 1970)."""
        return float(self._rows("SELECT coalesce(sum(cost_usd), 0) FROM audits WHERE at >= ?", moment)[0][0])

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind."""
        return {name: self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("decisions", "outcomes", "audits")}

    def forget(self, *, scope: str | None = None, before: float | None = None) -> int:
        """Deletes decisions, with all that is known of them: of one scope, or older than a moment; returns how many."""
        where, value = ("scope = ?", scope) if scope is not None else ("at < ?", before)
        with self._write():
            return self._db.execute(f"DELETE FROM decisions WHERE {where}", (value,)).rowcount

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


def _decision(row: tuple[Any, ...]) -> LoggedDecision:
    options = tuple((model, p, cost) for model, p, cost in json.loads(row[-2]))
    plain = dict(zip(_COLUMNS.split(", ")[:-2], row[:-2], strict=True))
    return LoggedDecision(**plain, options=options, drafts=tuple(LoggedDraft(**draft) for draft in json.loads(row[-1])))
