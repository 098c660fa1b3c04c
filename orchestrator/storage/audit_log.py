"""What administrators did: who, when, what, to what, and whether it was allowed. It is written once and not changed."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database, SqlValue
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE audit_log (
    id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, org TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
    action TEXT NOT NULL, subject TEXT NOT NULL, status BIGINT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX audit_log_by_org ON audit_log (org, at);
CREATE INDEX audit_log_by_time ON audit_log (at)
"""
_COLUMNS = "id, at, org, key, name, action, subject, status, detail"
MAX_SUBJECT = 200
_HIDDEN = ("key", "secret", "token", "text", "content", "password")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`key` and `name` are who did it, `org` whose it was; `status` is HTTP's, below 400 where it was done.

    `detail` is what was asked for, without secrets and texts.
    """

    at: float
    org: str
    key: str
    name: str
    action: str
    subject: str
    status: int
    detail: JsonObject


class AuditLog:
    """Calls block."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "audit", [_SCHEMA])

    def add(self, entry: AuditEntry) -> None:
        """Keeps one entry."""
        shown = {name: value for name, value in entry.detail.items() if name not in _HIDDEN}
        subject = entry.subject[:MAX_SUBJECT]
        values = (entry.at, entry.org, entry.key, entry.name, entry.action, subject, entry.status)
        with self._database.writing() as run:
            marks = ", ".join("?" * 9)
            run(f"INSERT INTO audit_log ({_COLUMNS}) VALUES ({marks})", secrets.token_hex(8), *values, _short(shown))

    def recent(self, org: str | None, *, limit: int = 100, before: tuple[float, str] | None = None) -> list[JsonObject]:
        """The newest first, of one organisation or of all (`None`); those before an entry's (moment, id)."""
        at, id = (self._clock() + 1, "") if before is None else before
        values: list[SqlValue] = [at, at, id]
        only = "" if org is None else " AND org = ?"
        values += [] if org is None else [org]
        where = f"at <= ? AND (at < ? OR id < ?){only}"
        sql = f"SELECT {_COLUMNS} FROM audit_log WHERE {where} ORDER BY at DESC, id DESC LIMIT ?"
        rows = self._database.read(sql, *values, limit)
        names = _COLUMNS.split(", ")
        return [{**dict(zip(names, row, strict=True)), "detail": json.loads(row[-1])} for row in rows]


def _short(detail: JsonObject) -> str:
    told = json.dumps(detail)
    return told if len(told) <= 4_000 else json.dumps({"left_out": f"{len(told):,} characters"})
