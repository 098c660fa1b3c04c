"""The truth: one SQLite file (WAL, synchronous=FULL) that holds records, their vectors and what ranking needs of their words.

A write is acknowledged only after its commit. Everything else (indexes of scopes) is derived and can be rebuilt from here.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from memory.encoder import Vectors
from memory.errors import EncoderMismatch, QuotaExceeded, StoreError
from memory.group_commit import GroupCommit
from memory.record import Limits, NewRecord, Record, Scope, from_timestamp, to_timestamp
from memory.traits import traits_of
from memory.transactions import writing
from memory.words import counted

SCHEMA_VERSION = 2
APPLICATION_ID = 0x6F72_6D65  # "orme"
_SCHEMA = """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, deletions INTEGER NOT NULL DEFAULT 0, max_records INTEGER, ttl_s REAL
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, scope_id INTEGER NOT NULL REFERENCES scopes(id), text TEXT NOT NULL, speaker TEXT NOT NULL,
    time REAL, session TEXT NOT NULL, source TEXT NOT NULL, stored_at REAL NOT NULL, vector BLOB NOT NULL,
    asks INTEGER NOT NULL, names INTEGER NOT NULL, numbers INTEGER NOT NULL, personal INTEGER NOT NULL, words BLOB NOT NULL, counts BLOB NOT NULL
);
CREATE INDEX records_by_scope ON records (scope_id, id);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# Version 2 keeps with each record what ranking needs of its text (memory/traits.py, memory/words.py) instead of a full-text index of all scopes.
_TO_VERSION_2 = (
    "ALTER TABLE records ADD COLUMN asks INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE records ADD COLUMN names INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE records ADD COLUMN numbers INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE records ADD COLUMN personal INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE records ADD COLUMN words BLOB NOT NULL DEFAULT x''",
    "ALTER TABLE records ADD COLUMN counts BLOB NOT NULL DEFAULT x''",
    "ALTER TABLE scopes ADD COLUMN max_records INTEGER",
    "ALTER TABLE scopes ADD COLUMN ttl_s REAL",
    "DROP TABLE lexical",
)
_INSERT = (
    "INSERT INTO records (scope_id, text, speaker, time, session, source, stored_at, vector, asks, names, numbers, personal, words, counts) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_SCOPED = "records JOIN scopes ON scopes.id = scope_id"
_COLUMNS = "records.id, scopes.path, text, speaker, time, session, source"


class IndexedRow(NamedTuple):
    """What ranking needs of one record. `words` holds the ascending uint32 hashes of its distinct words, `counts` a byte for each."""

    id: int
    session: str
    speaker: str
    chars: int
    asks: int
    names: int
    numbers: int
    personal: int
    words: bytes
    counts: bytes


class RecordStore(Protocol):
    """Where records are kept. Ids ascend in the order in which the writes of a scope were committed; every method speaks of one scope."""

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Vectors) -> list[int]:
        """Stores all records or none, durably; returns their ids in order. Raises `StoreError` or `QuotaExceeded`."""
        ...

    def delete(self, scope: Scope, ids: Sequence[int] | None) -> list[int]:
        """Removes records (all of the scope when `ids` is None) for good; returns the ids of those that were there."""
        ...

    def expire(self, scope: Scope) -> list[int]:
        """Removes the records that have outlived the scope's time to live; returns their ids."""
        ...

    def limits(self, scope: Scope) -> Limits: ...

    def set_limits(self, scope: Scope, limits: Limits) -> None: ...

    def get(self, scope: Scope, ids: Iterable[int]) -> dict[int, Record]:
        """The records of `scope` among `ids`; ids of other scopes are not found."""
        ...

    def all(self, scope: Scope) -> Iterator[Record]:
        """Every record of `scope` in order of insertion."""
        ...

    def count(self, scope: Scope) -> int: ...

    def scopes(self) -> list[str]: ...

    def deletions(self, scope: Scope) -> int:
        """A counter that grows with every deletion in `scope`: a derived index that saw another value must be rebuilt."""
        ...

    def rows_after(self, scope: Scope, last_id: int) -> tuple[list[IndexedRow], Vectors]:
        """What ranking needs of the records of `scope` added after `last_id`, and their vectors."""
        ...

    def close(self) -> None: ...


class Store:
    """Records of all scopes in one file (`":memory:"` for a private one). Safe to share between threads; processes share the file.

    Raises `StoreError` when the file cannot be used and `EncoderMismatch` when its vectors come from another encoder.
    """

    def __init__(self, path: str | Path, *, fingerprint: str, dimensions: int, clock: Callable[[], float] = time.time) -> None:
        self.path = str(path)
        self._dimensions = dimensions
        self._clock = clock
        self._lock = threading.RLock()
        self._commits = GroupCommit(self._lock, self._write)
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=10.0, check_same_thread=False, isolation_level=None)
            self._prepare(fingerprint)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self._explained("cannot open the memory", error)) from error

    def _prepare(self, fingerprint: str) -> None:
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
            "busy_timeout = 10000",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        with self._write():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(f"the memory {self.path} has schema {version}, this version knows {SCHEMA_VERSION}: upgrade the package")
            if version == 0:
                if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StoreError(f"{self.path} is an SQLite file but not a memory; choose another path")
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute("INSERT INTO settings VALUES ('encoder', ?)", (fingerprint,))
            elif version == 1:
                self._migrate_to_2()
        stored = self._db.execute("SELECT value FROM settings WHERE name = 'encoder'").fetchone()[0]
        if stored != fingerprint:
            self._db.close()
            raise EncoderMismatch(
                f"the memory {self.path} was encoded by {stored!r}, the encoder at hand is {fingerprint!r}: "
                f"open it with its own encoder, export it and remember it again in a new memory"
            )

    def _migrate_to_2(self) -> None:
        for statement in _TO_VERSION_2:
            self._db.execute(statement)
        old = self._db.execute(f"SELECT {_COLUMNS} FROM {_SCOPED}").fetchall()
        self._db.executemany(
            "UPDATE records SET asks = ?, names = ?, numbers = ?, personal = ?, words = ?, counts = ? WHERE id = ?",
            ((*indexed(NewRecord(*row[2:])), row[0]) for row in ((*r[:4], from_timestamp(r[4]), *r[5:]) for r in old)),
        )
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _write(self) -> AbstractContextManager[None]:
        return writing(self._db, self._lock)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The lock, and errors of the database in words of our own."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreError(self._explained("cannot use the memory", error)) from error

    def _explained(self, what: str, error: Exception) -> str:
        if "malformed" in str(error) or "corrupt" in str(error):
            return f"{what} {self.path}: {error}. Copy what can be read: orchestrator salvage {self.path} --into NEW.db"
        return f"{what} {self.path}: {error}. Check that it is a memory file and that the folder is writable"

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Vectors) -> list[int]:
        """Stores all records or none, durably; returns their ids in order. Concurrent calls share one commit."""
        now = self._clock()
        rows = [
            (r.text, r.speaker, to_timestamp(r.time), r.session, r.source, now, vector.tobytes(), *indexed(r))
            for r, vector in zip(records, vectors, strict=True)
        ]
        try:
            return self._commits.run(lambda: self._insert(scope, rows))
        except sqlite3.Error as error:
            raise StoreError(f"nothing was remembered: {self.path}: {error}. Check free disk space and write permission") from error

    def _insert(self, scope: Scope, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        scope_id = self._scope_id(scope, create=True)
        limit = self.limits(scope).max_records
        if limit is not None and (held := self.count(scope)) + len(rows) > limit:
            raise QuotaExceeded(f"scope {scope.path} holds {held} of at most {limit} records; forget some, or raise its limit")
        return [int(self._db.execute(_INSERT, (scope_id, *row)).lastrowid or 0) for row in rows]

    def delete(self, scope: Scope, ids: Sequence[int] | None) -> list[int]:
        """Removes records (all of the scope when `ids` is None) for good; returns the ids of those that were there."""
        if ids is None:
            return self._delete(scope, "1", ())
        return self._delete(scope, "id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))

    def expire(self, scope: Scope) -> list[int]:
        """Removes the records that have outlived the scope's time to live; returns their ids."""
        ttl_s = self.limits(scope).ttl_s
        if ttl_s is None:
            return []
        oldest = "SELECT stored_at FROM records JOIN scopes ON scopes.id = scope_id WHERE path = ? ORDER BY records.id LIMIT 1"
        with self._reading():
            row = self._db.execute(oldest, (scope.path,)).fetchone()
        if row is not None and row[0] < (before := self._clock() - ttl_s):
            return self._delete(scope, "stored_at < ?", (before,))
        return []

    def _delete(self, scope: Scope, where: str, values: tuple[Any, ...]) -> list[int]:
        with self._reading(), self._write():
            scope_id = self._scope_id(scope)
            if scope_id is None:
                return []
            gone = [row[0] for row in self._db.execute(f"SELECT id FROM records WHERE scope_id = ? AND {where}", (scope_id, *values))]
            self._db.executemany("DELETE FROM records WHERE id = ?", ((i,) for i in gone))
            self._db.execute("UPDATE scopes SET deletions = deletions + 1 WHERE id = ?", (scope_id,))
        with self._reading():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # deleted pages are overwritten in the file, and the log is emptied
        return gone

    def limits(self, scope: Scope) -> Limits:
        with self._reading():
            row = self._db.execute("SELECT max_records, ttl_s FROM scopes WHERE path = ?", (scope.path,)).fetchone()
        return Limits(*row) if row else Limits()

    def set_limits(self, scope: Scope, limits: Limits) -> None:
        with self._reading(), self._write():
            self._scope_id(scope, create=True)
            values = (limits.max_records, limits.ttl_s, scope.path)
            self._db.execute("UPDATE scopes SET max_records = ?, ttl_s = ? WHERE path = ?", values)

    def get(self, scope: Scope, ids: Iterable[int]) -> dict[int, Record]:
        """The records of `scope` among `ids`; ids of other scopes are not found."""
        query = f"SELECT {_COLUMNS} FROM {_SCOPED} WHERE path = ? AND records.id IN (SELECT value FROM json_each(?))"
        with self._reading():
            rows = self._db.execute(query, (scope.path, json.dumps([int(i) for i in ids]))).fetchall()
        return {row[0]: _record(row) for row in rows}

    def all(self, scope: Scope) -> Iterator[Record]:
        """Every record of `scope` in order of insertion, read in pages."""
        last = 0
        query = f"SELECT {_COLUMNS} FROM {_SCOPED} WHERE path = ? AND records.id > ? ORDER BY records.id LIMIT 500"
        while True:
            with self._reading():
                rows = self._db.execute(query, (scope.path, last)).fetchall()
            if not rows:
                return
            yield from map(_record, rows)
            last = rows[-1][0]

    def count(self, scope: Scope) -> int:
        with self._reading():
            row = self._db.execute(f"SELECT count(*) FROM {_SCOPED} WHERE path = ?", (scope.path,)).fetchone()
        return int(row[0])

    def scopes(self) -> list[str]:
        with self._reading():
            return [row[0] for row in self._db.execute("SELECT path FROM scopes ORDER BY path")]

    def deletions(self, scope: Scope) -> int:
        """A counter that grows with every deletion in `scope`: a derived index that saw another value must be rebuilt."""
        with self._reading():
            row = self._db.execute("SELECT deletions FROM scopes WHERE path = ?", (scope.path,)).fetchone()
        return int(row[0]) if row else 0

    def rows_after(self, scope: Scope, last_id: int) -> tuple[list[IndexedRow], Vectors]:
        """What ranking needs of the records of `scope` added after `last_id`, and their vectors."""
        sql = (
            f"SELECT records.id, session, speaker, length(text), asks, names, numbers, personal, words, counts, vector FROM {_SCOPED} "
            "WHERE path = ? AND records.id > ? ORDER BY records.id"
        )
        with self._reading():
            rows = self._db.execute(sql, (scope.path, last_id)).fetchall()
        vectors = np.frombuffer(b"".join(row[-1] for row in rows), dtype=np.float32).reshape(len(rows), self._dimensions)
        return [IndexedRow(*row[:-1]) for row in rows], vectors

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _scope_id(self, scope: Scope, *, create: bool = False) -> int | None:
        if create:
            self._db.execute("INSERT OR IGNORE INTO scopes (path) VALUES (?)", (scope.path,))
        row = self._db.execute("SELECT id FROM scopes WHERE path = ?", (scope.path,)).fetchone()
        return int(row[0]) if row else None


def _indexed_text(record: NewRecord) -> str:
    date = record.time.strftime("%d %B %Y") if record.time else ""
    return " ".join(part for part in (date, record.speaker, record.text) if part)


def indexed(record: NewRecord) -> tuple[int, int, int, int, bytes, bytes]:
    """What ranking needs of a record's text: the last five columns of a row."""
    traits = traits_of(record.text)
    words, counts = counted(_indexed_text(record))
    return traits.asks, traits.names, int(traits.numbers), int(traits.personal), words.tobytes(), counts.tobytes()


def _record(row: tuple[int, str, str, str, float | None, str, str]) -> Record:
    return Record(row[0], row[1], row[2], row[3], from_timestamp(row[4]), row[5], row[6])
