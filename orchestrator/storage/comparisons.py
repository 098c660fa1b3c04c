"""Comparisons that somebody kept in the playground: each is its key's own."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE comparisons (id TEXT PRIMARY KEY, key TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, content TEXT NOT NULL);
CREATE INDEX comparisons_by_key ON comparisons (key, at)
"""
MAX_KEPT = 200


class Comparisons:
    """Calls block. Of each key at most `MAX_KEPT` are kept, the newest."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "comparisons", [_SCHEMA])

    def add(self, key: str, content: JsonObject) -> str:
        """Keeps one; its id."""
        id = secrets.token_hex(8)
        with self._database.writing() as run:
            run("INSERT INTO comparisons VALUES (?, ?, ?, ?)", id, key, self._clock(), json.dumps(content))
            run(
                "DELETE FROM comparisons WHERE key = ? AND id NOT IN "
                "(SELECT id FROM comparisons WHERE key = ? ORDER BY at DESC, id LIMIT ?)",
                key,
                key,
                MAX_KEPT,
            )
        return id

    def of(self, key: str, *, limit: int = 50) -> list[JsonObject]:
        """Those of a key, the newest first."""
        rows = self._database.read(
            "SELECT id, at, content FROM comparisons WHERE key = ? ORDER BY at DESC, id LIMIT ?", key, limit
        )
        return [{"id": id, "at": at, "content": json.loads(content)} for id, at, content in rows]

    def delete(self, key: str, id: str) -> None:
        """Deletes one of a key."""
        with self._database.writing() as run:
            run("DELETE FROM comparisons WHERE key = ? AND id = ?", key, id)
