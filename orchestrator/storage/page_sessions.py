"""What sessions of the dashboard rest on: the secret that signs them, and those that were ended."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE dashboard_secret (id BIGINT PRIMARY KEY, secret TEXT NOT NULL);
CREATE TABLE ended_sessions (nonce TEXT PRIMARY KEY, ends_at DOUBLE PRECISION NOT NULL)
"""


class PageSessions:
    """Calls block. All processes of a database share it."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "dashboard", [_SCHEMA])

    def secret(self) -> bytes:
        """What cookies are signed with; made once."""
        with self._database.writing() as run:
            run("INSERT INTO dashboard_secret VALUES (1, ?) ON CONFLICT DO NOTHING", secrets.token_hex(32))
            return bytes.fromhex(str(run("SELECT secret FROM dashboard_secret")[0][0]))

    def end(self, nonce: str, ends_at: float) -> None:
        """Ends a session; it is remembered until it would have ended by itself."""
        with self._database.writing() as run:
            run("DELETE FROM ended_sessions WHERE ends_at < ?", self._clock())
            run("INSERT INTO ended_sessions VALUES (?, ?) ON CONFLICT DO NOTHING", nonce, ends_at)

    def has_ended(self, nonce: str) -> bool:
        """Whether a session was ended."""
        return bool(self._database.read("SELECT 1 FROM ended_sessions WHERE nonce = ?", nonce))
