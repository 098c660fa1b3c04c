"""One SQLite transaction that takes the write lock at once and commits or rolls back as a whole."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def writing(database: sqlite3.Connection, lock: threading.RLock) -> Iterator[None]:
    """For a connection in autocommit mode (`isolation_level=None`) that threads share under `lock`."""
    with lock:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
