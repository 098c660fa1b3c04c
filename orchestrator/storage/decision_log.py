"""The decision log: every routing decision, what it could have chosen with which probability, and what came of it.

An SQLite file, or PostgreSQL.

Queries are kept as text (a router learns from them), answers only as the short canonical form by which they are
compared. Several processes may share a file (WAL). A write survives the death of the process; a power cut may take the
last moments with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.router import Outcome
from orchestrator.router.learning.replay import ReplayedDecision
from orchestrator.router.outcome import reliability_weight
from orchestrator.storage.database import Database, Rows, Run, SqliteDatabase, open_database
from orchestrator.storage.migrations import migrate

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6F72_6465  # "orde"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, scope TEXT NOT NULL, query TEXT NOT NULL, asked TEXT NOT NULL,
    propensity DOUBLE PRECISION NOT NULL, answer INTEGER NOT NULL, confidence DOUBLE PRECISION NOT NULL,
    cost_usd DOUBLE PRECISION, policy TEXT NOT NULL, reference TEXT NOT NULL, reference_cost_usd DOUBLE PRECISION,
    options TEXT NOT NULL, drafts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_by_scope ON decisions (scope);
CREATE INDEX IF NOT EXISTS decisions_by_time ON decisions (at);
CREATE TABLE IF NOT EXISTS outcomes (
    decision TEXT NOT NULL REFERENCES decisions (id) ON DELETE CASCADE, model TEXT NOT NULL,
    score DOUBLE PRECISION NOT NULL, reliability DOUBLE PRECISION NOT NULL, source TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL, PRIMARY KEY (decision, model)
);
CREATE TABLE IF NOT EXISTS audits (
    decision TEXT PRIMARY KEY REFERENCES decisions (id) ON DELETE CASCADE, certificate TEXT NOT NULL,
    loss DOUBLE PRECISION NOT NULL, gain DOUBLE PRECISION NOT NULL, cost_usd DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL
)
"""
MAX_IDS = 500
_COLUMNS = (
    "id, at, scope, query, asked, propensity, answer, confidence, cost_usd, policy, reference, "
    "reference_cost_usd, options, drafts"
)


@dataclass(frozen=True, slots=True)
class LoggedDraft:
    """One answer of one model.

    `key` is what it is compared by: equal keys are equivalent answers, `text#...` equals nothing.
    """

    model: str
    key: str
    cost_usd: float | None
    output_tokens: int
    latency_s: float
    ttft_s: float | None = None
    is_revision: bool = False

    @property
    def is_comparable(self) -> bool:
        """Whether other answers can be equal to it."""
        return not self.key.startswith("text#")


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One decision.

    `asked` is the model that was asked first, `propensity` in (0, 1] the probability with which it was.

    `options` holds (model, P(correct), expected USD) of every model that could have been asked; `answer` is the index
    of the draft that was given.
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
    """What is known of one model's answer.

    `score` in [0, 1], and the probability `reliability` in (0.5, 1] that the grader is right.
    """

    model: str
    score: float
    reliability: float = 1.0


@dataclass(frozen=True, slots=True)
class LoggedAudit:
    """One query that was also asked of the reference.

    What was lost, the predicted gain of the reference, and the price of looking.
    """

    loss: float
    gain: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """An answer that was given, with the confidence that was stated and the score in [0, 1] that it got.

    `source` is who judged: `user`, `checks`, `audit`.
    """

    id: str
    at: float
    model: str
    confidence: float
    score: float
    source: str


class DecisionLog:
    """Thread-safe.

    `path` is a file, or the address of a PostgreSQL database (`postgresql://...`) that several machines share.

    Raises `StorageError` when it cannot be used; nothing already written is touched then.
    """

    def __init__(self, path: str | Path, *, keep_days: float | None = None) -> None:
        self.path = str(path)
        self._db = open_database(path)
        _check_file(self._db)
        migrate(self._db, "decisions", [_SCHEMA])
        _mark_file(self._db)
        if keep_days is not None:
            self.forget(before=time.time() - 86_400 * keep_days)

    def record(self, decision: LoggedDecision, grades: Sequence[Grade] = (), *, source: str = "verifier") -> None:
        """Keeps one decision, with what is known of its drafts already."""
        row = [getattr(decision, name) for name in _COLUMNS.split(", ")[:-2]]
        row += [json.dumps(decision.options), json.dumps([asdict(draft) for draft in decision.drafts])]
        with self._db.writing() as run:
            run(f"INSERT INTO decisions ({_COLUMNS}) VALUES ({','.join('?' * 14)})", *row)
            self._grade(run, decision.id, grades, source)

    def grade(self, decision: str, grades: Sequence[Grade], *, source: str) -> bool:
        """Keeps what became known of a decision's drafts; a grade gives way only to one at least as reliable.

        True if one was replaced.
        """
        with self._db.writing() as run:
            return self._grade(run, decision, grades, source)

    def _grade(self, run: Run, decision: str, grades: Sequence[Grade], source: str) -> bool:
        known = {row[0] for row in run("SELECT model FROM outcomes WHERE decision = ?", decision)}
        upsert = (
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (decision, model) DO UPDATE SET score = "
            "excluded.score, "
            "reliability = excluded.reliability, source = excluded.source, at = excluded.at "
            "WHERE excluded.reliability >= outcomes.reliability"
        )
        for grade in grades:
            run(upsert, decision, grade.model, grade.score, grade.reliability, source, time.time())
        return not known.isdisjoint(g.model for g in grades)

    def audit(self, decision: str, certificate: str, audit: LoggedAudit) -> None:
        """Keeps what one audit under a certificate found; a second one of the same decision replaces the first."""
        upsert = (
            "INSERT INTO audits VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (decision) DO UPDATE SET certificate = "
            "excluded.certificate, "
            "loss = excluded.loss, gain = excluded.gain, cost_usd = excluded.cost_usd, at = excluded.at"
        )
        with self._db.writing() as run:
            run(upsert, decision, certificate, audit.loss, audit.gain, audit.cost_usd, time.time())

    def find(self, decision: str) -> LoggedDecision | None:
        """A decision by its id; `None` if it is not there."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM decisions WHERE id = ?", decision)
        return _decision(rows[0]) if rows else None

    def recent(self, limit: int) -> list[LoggedDecision]:
        """The newest decisions, oldest first."""
        return [
            _decision(row) for row in self._rows(f"SELECT {_COLUMNS} FROM decisions ORDER BY at DESC LIMIT ?", limit)
        ][::-1]

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

    def judged(self, since: float, scope_prefix: str = "", *, limit: int = 50_000) -> list[JudgedAnswer]:
        """The newest answers since then (seconds since 1970) whose given draft was graded, newest first.

        Of scopes that begin so.
        """
        sql = (
            "SELECT id, decisions.at, confidence, drafts, answer, model, score, source FROM decisions "
            "JOIN outcomes ON id = decision WHERE decisions.at >= ? AND substr(scope, 1, ?) = ? "
            "ORDER BY decisions.at DESC LIMIT ?"
        )
        found = []
        for id, at, confidence, drafts, answer, model, score, source in self._rows(
            sql, since, len(scope_prefix), scope_prefix, limit
        ):
            written = json.loads(drafts)
            if answer < len(written) and written[answer]["model"] == model:
                found.append(JudgedAnswer(id, at, model, confidence, score, source))
        return found

    def grades(self, ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """The scores of each decision by the model that got them; only those that were graded."""
        found: dict[str, dict[str, float]] = {}
        for start in range(0, len(ids), MAX_IDS):
            some = ids[start : start + MAX_IDS]
            sql = f"SELECT decision, model, score FROM outcomes WHERE decision IN ({', '.join('?' * len(some))})"
            for id, model, score in self._rows(sql, *some):
                found.setdefault(id, {})[model] = score
        return found

    def graded_models(self, since: float) -> list[tuple[str, float, list[tuple[str, float, float]]]]:
        """(query, when, [(model, score, USD)]) of each decision since then with graded drafts, oldest first."""
        sql = (
            "SELECT id, query, decisions.at, drafts, model, score FROM decisions JOIN outcomes ON id = decision "
            "WHERE decisions.at >= ? ORDER BY decisions.at, id"
        )
        found: dict[str, tuple[str, float, list[tuple[str, float, float]]]] = {}
        for decision, query, at, drafts, model, score in self._rows(sql, since):
            cost = next((draft["cost_usd"] for draft in json.loads(drafts) if draft["model"] == model), None)
            found.setdefault(decision, (query, at, []))[2].append((model, score, cost or 0.0))
        return list(found.values())

    def decisions(self) -> list[ReplayedDecision]:
        """Decisions whose first model's answer was graded, as `orchestrator.router.learning.replay` judges another
        policy by them.
        """
        graded = "SELECT decision, score FROM outcomes JOIN decisions ON decisions.id = decision AND model = asked"
        sql = f"SELECT {_COLUMNS}, score FROM decisions JOIN ({graded}) ON id = decision ORDER BY at"
        found = []
        for row in self._rows(sql):
            logged = _decision(row[:-1])
            cost = next((draft.cost_usd for draft in logged.drafts if draft.model == logged.asked), None)
            found.append(ReplayedDecision(logged.query, logged.asked, logged.propensity, row[-1], cost or 0.0))
        return found

    def audits(self, certificate: str) -> list[LoggedAudit]:
        """What audits of this certificate found, in order."""
        return [
            LoggedAudit(*r)
            for r in self._rows(
                "SELECT loss, gain, cost_usd FROM audits WHERE certificate = ? ORDER BY at", certificate
            )
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
        with self._db.writing() as run:
            return len(run(f"DELETE FROM decisions WHERE {where} RETURNING id", value))

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    def _rows(self, sql: str, *values: Any) -> Rows:
        return self._db.read(sql, *values)


def _check_file(database: Database) -> None:
    """Raises `StorageError` on an SQLite file that is something else, or a log of a later version."""
    if not isinstance(database, SqliteDatabase):
        return
    tables = {row[0] for row in database.read("SELECT name FROM sqlite_master WHERE type = 'table'")}
    is_ours = database.read("PRAGMA application_id")[0][0] == APPLICATION_ID
    if tables and not is_ours and "parts" not in tables:
        raise StorageError(f"{database.where} is an SQLite file but no decision log", remedy="Choose another path")
    version = database.read("PRAGMA user_version")[0][0]
    if is_ours and version > SCHEMA_VERSION:
        told = f"the decision log {database.where} has schema {version}, this version knows {SCHEMA_VERSION}"
        raise StorageError(told, remedy="Upgrade")


def _mark_file(database: Database) -> None:
    """An SQLite file of its own says what it is, also to version 0.1 of this package."""
    if isinstance(database, SqliteDatabase) and not database.read("PRAGMA application_id")[0][0]:
        with database.writing() as run:
            run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            run(f"PRAGMA application_id = {APPLICATION_ID}")


def _decision(row: tuple[Any, ...]) -> LoggedDecision:
    options = tuple((model, p, cost) for model, p, cost in json.loads(row[-2]))
    plain = dict(zip(_COLUMNS.split(", ")[:-2], row[:-2], strict=True))
    return LoggedDecision(**plain, options=options, drafts=tuple(LoggedDraft(**draft) for draft in json.loads(row[-1])))
