"""One SQL database of ours: an SQLite file, or PostgreSQL where several machines share it.

Statements are written once, with `?` for values.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.jsontypes import JsonValue
from orchestrator.memory.storage.transactions import connected, log_ahead, writing

CHECK_S = 1.0  # how long a check waits for a lock
MAX_ROWS = 100
DAMAGED = "The file is damaged: stop what uses it, and restore a backup (orchestrator restore FOLDER --replace)"
Row = tuple[Any, ...]
Rows = list[Row]
Run = Callable[..., Rows]
SqlValue = str | int | float | bytes | None


class Database(ABC):
    """Thread-safe; calls block.

    `blob` is the type of byte columns, `locking` what a SELECT ends with to hold its rows until the transaction ends,
    `clustered` what a CREATE TABLE ends with whose rows shall lie in the order of their key, `whole` how the whole part
    of a positive number is written.
    """

    blob = "BLOB"
    locking = ""
    clustered = ""
    whole = "CAST({} AS BIGINT)"
    where = ""

    @abstractmethod
    def read(self, sql: str, *values: SqlValue) -> Rows:
        """Rows of one query."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Run]:
        """A context that gives `run(sql, *values)`, all of which is committed at its end, or nothing if it raises."""

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[JsonValue]]) -> None:
        """All rows in one transaction; a row whose key is there already is left out."""
        with self.writing() as run:
            insert_rows(run, table, columns, rows)

    def reader(self) -> Database:
        """The same database on a connection of its own, so that long readings keep nobody waiting; to be closed."""
        return self

    @abstractmethod
    def check(self) -> None:
        """Writes something and takes it back.

        Raises `StorageError` at once where the database is full, locked, or gone.
        """

    @abstractmethod
    def erase(self) -> None:
        """What was deleted is gone from every file of the database when this returns.

        Raises `StorageError` where a reader keeps it alive.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes connections."""


class SqliteDatabase(Database):
    """Several processes may share the file.

    A write survives the death of the process; a power cut may take the last moments with it.
    """

    clustered = " WITHOUT ROWID"

    def __init__(self, path: str | Path) -> None:
        self.where = str(path)
        self._lock = threading.RLock()
        try:
            if self.where != ":memory:":
                Path(self.where).parent.mkdir(parents=True, exist_ok=True)
            self._db = connected(self.where)
            log_ahead(self._db)
            for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
                self._db.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot open {self.where}: {error}", remedy=remedy_for(error)) from error

    def read(self, sql: str, *values: SqlValue) -> Rows:
        with self._lock, self._named():
            return self._db.execute(sql, values).fetchall()

    def reader(self) -> Database:
        return self if self.where == ":memory:" else SqliteDatabase(self.where)

    @contextmanager
    def writing(self) -> Iterator[Run]:
        with self._named(), writing(self._db, self._lock):
            yield lambda sql, *values: self._db.execute(sql, values).fetchall()

    def check(self) -> None:
        """On a connection of its own, so that nobody waits for it, and it for nobody."""
        with self._named():
            if self.where == ":memory:":
                return
            probe = sqlite3.connect(self.where, timeout=CHECK_S, isolation_level=None)
            try:
                probe.execute("BEGIN IMMEDIATE")
                probe.execute("CREATE TABLE probe (content BLOB)")
                probe.execute("INSERT INTO probe VALUES (zeroblob(65536))")
                probe.execute("ROLLBACK")
            finally:
                probe.close()

    def erase(self) -> None:
        with self._lock, self._named():
            is_busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise StorageError(
                f"deleted, but the log of {self.where} still holds it: another process reads it since before",
                remedy="Delete it again later",
            )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StorageError(f"{self.where} cannot be used: {error}", remedy=remedy_for(error)) from error


def remedy_for(error: sqlite3.Error | OSError) -> str:
    """What to do about an error of a file of SQLite."""
    is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if is_damaged:
        return DAMAGED
    return "Check the path, its disk and permissions"


class PostgresDatabase(Database):
    """Threads share one connection, which is opened again when it breaks.

    All tables are in the schema `orchestrator`.
    """

    blob = "BYTEA"
    locking = " FOR UPDATE"
    whole = "CAST(floor({}) AS BIGINT)"

    def __init__(self, url: str) -> None:
        self._url = url
        self.where = url.rpartition("@")[2]
        self._lock = threading.RLock()
        self._db: Any = None
        with self._using() as db:
            db.execute("SELECT 1")

    @contextmanager
    def _using(self) -> Iterator[Any]:
        try:
            import psycopg  # optional: extra `postgres`
        except ImportError:
            raise StorageError(
                "a database on PostgreSQL needs psycopg", remedy="pip install 'compound-orchestrator[postgres]'"
            ) from None
        with self._lock:
            try:
                if self._db is None or self._db.closed or self._db.broken:
                    self._db = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
                    self._db.execute("CREATE SCHEMA IF NOT EXISTS orchestrator")
                    self._db.execute("SET search_path TO orchestrator")
                yield self._db
            except psycopg.errors.IntegrityError as error:
                raise sqlite3.IntegrityError(
                    str(error)
                ) from error  # one name for both, so that callers need not know which it is
            except psycopg.Error as error:
                told = " ".join(str(error).split())
                raise StorageError(
                    f"the database at {self.where} cannot be used: {told}", remedy="Check server, address, rights"
                ) from error

    def reader(self) -> Database:
        return PostgresDatabase(self._url)

    def read(self, sql: str, *values: SqlValue) -> Rows:
        with self._using() as db:
            return list(db.execute(_percent(sql), values).fetchall())

    @contextmanager
    def writing(self) -> Iterator[Run]:
        with self._using() as db, db.transaction():

            def run(sql: str, *values: SqlValue) -> Rows:
                done = db.execute(_percent(sql), values)
                return list(done.fetchall()) if done.description is not None else []

            yield run

    def check(self) -> None:
        with self._using() as db, db.transaction(force_rollback=True):
            db.execute("CREATE TEMPORARY TABLE probe (content TEXT) ON COMMIT DROP")

    def erase(self) -> None:
        """Old versions of rows are the server's to clean (autovacuum)."""

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._db is not None:
                self._db.close()


def insert_rows(
    run: Run, table: str, columns: Sequence[str], rows: Sequence[Sequence[JsonValue]], *, returning: str = ""
) -> Rows:
    """Inserts rows within the transaction of `run`; one whose key is there already is left out.

    With `returning`, the value of that column of each row that went in. Many rows go into one statement: each statement
    gives other threads the interpreter and waits until it has it back.
    """
    row = f"({', '.join('?' * len(columns))})"
    more = f" RETURNING {returning}" if returning else ""
    found: Rows = []
    for start in range(0, len(rows), MAX_ROWS):
        some = rows[start : start + MAX_ROWS]
        values = [value for one in some for value in one]
        found += run(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(some))} ON CONFLICT DO NOTHING"
            f"{more}",
            *values,
        )
    return found


def open_database(url: str | Path) -> Database:
    """The database at a path or a `postgresql://` address. Raises `StorageError`."""
    if str(url).startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(str(url))
    return SqliteDatabase(url)


def check_readable(where: str | Path) -> None:
    """Reads a database, and changes nothing; a file that is not there yet is none to read.

    Raises `StorageError` where it cannot be reached, is damaged or is no database.
    """
    if str(where).startswith(("postgresql://", "postgres://")):
        database = PostgresDatabase(str(where))
        try:
            database.read("SELECT 1")
        finally:
            database.close()
        return
    path = Path(where)
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=CHECK_S)) as file:
            found = file.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StorageError(f"{where} cannot be used: {error}", remedy=remedy_for(error)) from error
    if found != "ok":
        raise StorageError(f"{where} cannot be used: {found}", remedy=DAMAGED)


def _percent(sql: str) -> str:
    return sql.replace("?", "%s")
