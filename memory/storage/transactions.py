"""SQLite as every file of ours is used.

A connection shared by threads, write-ahead logging, transactions that commit or roll back as a whole.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE_S = 10.0  # how long a writer waits for another, of this process or of others


def connected(path: str) -> sqlite3.Connection:
    """A connection in autocommit mode that threads may share under a lock of their own.

    A new file, and its log beside it, can be read by its owner alone. A file that is there is opened by SQLite alone:
    closing any other handle of it would drop every lock that this process holds on it (POSIX, fcntl), and the next
    process to close the database would take itself for the last one and delete the log that this one writes
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    if path != ":memory:":
        with suppress(FileExistsError):
            new = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
            os.close(os.open(os.path.realpath(path), new, 0o600))
    return sqlite3.connect(path, timeout=PATIENCE_S, check_same_thread=False, isolation_level=None)


def log_ahead(database: sqlite3.Connection) -> None:
    """Turns write-ahead logging on.

    Where several open a new file at once, SQLite refuses all but one without waiting, so that we wait here.

    Raises `sqlite3.OperationalError` when the file is still locked after `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))


@contextmanager
def writing(database: sqlite3.Connection, lock: threading.RLock) -> Iterator[None]:
    """One transaction that takes the write lock at once, on a connection that threads share under `lock`."""
    with lock:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
