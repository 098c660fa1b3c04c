"""The truth on PostgreSQL with pgvector (extra `postgres`): the same memory for many machines.

Writers of one scope take its row's lock first, so that ids ascend in the order of commits: an index that read up to an id has missed nothing
before it.
Deleted rows are vacuumed, which frees them; PostgreSQL does not overwrite them in the file at once, as the SQLite store does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from memory.encoder import Vectors
from memory.errors import EncoderMismatch, QuotaExceeded, StoreError
from memory.record import Limits, NewRecord, Record, Scope, from_timestamp, to_timestamp
from memory.store import IndexedRow, indexed

SCHEMA_VERSION = 1
LOCK = 0x6F72_6D65  # advisory: one process at a time prepares the schema
_SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS memory_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS memory_scopes (
    id BIGSERIAL PRIMARY KEY, path TEXT NOT NULL UNIQUE, deletions BIGINT NOT NULL DEFAULT 0, max_records BIGINT, ttl_s DOUBLE PRECISION
);
CREATE TABLE IF NOT EXISTS memory_records (
    id BIGSERIAL PRIMARY KEY, scope_id BIGINT NOT NULL REFERENCES memory_scopes (id), text TEXT NOT NULL, speaker TEXT NOT NULL,
    time DOUBLE PRECISION, session TEXT NOT NULL, source TEXT NOT NULL, stored_at DOUBLE PRECISION NOT NULL, vector vector(%d) NOT NULL,
    asks SMALLINT NOT NULL, names SMALLINT NOT NULL, numbers SMALLINT NOT NULL, personal SMALLINT NOT NULL, words BYTEA NOT NULL,
    counts BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS memory_records_by_scope ON memory_records (scope_id, id);
"""
_INSERT = (
    "INSERT INTO memory_records (scope_id, text, speaker, time, session, source, stored_at, vector, asks, names, numbers, personal, words, counts) "
    f"VALUES ({', '.join(['%s'] * 14)}) RETURNING id"
)
_SCOPED = "memory_records r JOIN memory_scopes s ON s.id = r.scope_id"
_COLUMNS = "r.id, s.path, text, speaker, time, session, source"


class PostgresStore:
    """`memory.store.RecordStore` on a server. Threads share one connection, which is opened again when it breaks.

    Raises `StoreError` when the server or the extension pgvector is missing, `EncoderMismatch` when its vectors come from another encoder.
    """

    def __init__(self, url: str, *, fingerprint: str, dimensions: int, clock: Callable[[], float] = time.time) -> None:
        self._url, self._dimensions, self._clock = url, dimensions, clock
        self._lock = threading.RLock()
        self._db: Any = None
        with self._using() as db, db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            db.execute(_SCHEMA % dimensions)
            db.execute(
                "INSERT INTO memory_settings VALUES ('encoder', %s), ('schema', %s) ON CONFLICT DO NOTHING",
                (fingerprint, str(SCHEMA_VERSION)),
            )
            settings = dict(db.execute("SELECT name, value FROM memory_settings").fetchall())
        if int(settings["schema"]) > SCHEMA_VERSION or settings["encoder"] != fingerprint:
            self.close()
        if int(settings["schema"]) > SCHEMA_VERSION:
            raise StoreError(
                f"the memory at {self._where} has schema {settings['schema']}, this version knows {SCHEMA_VERSION}: upgrade the package"
            )
        if settings["encoder"] != fingerprint:
            raise EncoderMismatch(
                f"the memory at {self._where} was encoded by {settings['encoder']!r}, the encoder at hand is {fingerprint!r}: open it with its own "
                f"encoder, export it and remember it again in a new memory"
            )

    @property
    def _where(self) -> str:
        """The address without user and password."""
        return self._url.rpartition("@")[2]

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """The connection, and its errors in words of our own."""
        try:
            import psycopg
            from pgvector.psycopg import register_vector
        except ImportError:
            raise StoreError("a memory on PostgreSQL needs psycopg and pgvector: pip install 'compound-orchestrator[postgres]'") from None
        with self._lock:
            try:
                if self._db is None or self._db.closed or self._db.broken:
                    self._db = psycopg.connect(self._url, autocommit=True)
                    self._db.execute("CREATE EXTENSION IF NOT EXISTS vector")
                    register_vector(self._db)
                yield self._db
            except psycopg.Error as error:
                told = " ".join(str(error).split())
                raise StoreError(f"the memory at {self._where} cannot be used: {told}. Check server, address and rights") from error

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Vectors) -> list[int]:
        now = self._clock()
        rows = [
            (r.text, r.speaker, to_timestamp(r.time), r.session, r.source, now, vector, *indexed(r))
            for r, vector in zip(records, vectors, strict=True)
        ]
        with self._using() as db, db.transaction():
            scope_id, limit = self._locked(db, scope)
            if limit is not None:
                held = db.execute("SELECT count(*) FROM memory_records WHERE scope_id = %s", (scope_id,)).fetchone()[0]
                if held + len(rows) > limit:
                    raise QuotaExceeded(f"scope {scope.path} holds {held} of at most {limit} records; forget some, or raise its limit")
            with db.cursor() as cursor:
                cursor.executemany(_INSERT, [(scope_id, *row) for row in rows], returning=True)
                ids = []
                while True:
                    ids.append(int(cursor.fetchone()[0]))
                    if not cursor.nextset():
                        return ids

    def _locked(self, db: Any, scope: Scope) -> tuple[int, int | None]:
        """Id and quota of the scope, which is created if need be; nobody else writes to it until this transaction ends."""
        db.execute("INSERT INTO memory_scopes (path) VALUES (%s) ON CONFLICT DO NOTHING", (scope.path,))
        row = db.execute("SELECT id, max_records FROM memory_scopes WHERE path = %s FOR UPDATE", (scope.path,)).fetchone()
        return int(row[0]), row[1]

    def delete(self, scope: Scope, ids: Sequence[int] | None) -> list[int]:
        return self._delete(scope, "TRUE", ()) if ids is None else self._delete(scope, "r.id = ANY(%s)", (list(ids),))

    def expire(self, scope: Scope) -> list[int]:
        ttl_s = self.limits(scope).ttl_s
        if ttl_s is None:
            return []
        before = self._clock() - ttl_s
        oldest = self._rows(f"SELECT stored_at FROM {_SCOPED} WHERE path = %s ORDER BY r.id LIMIT 1", scope.path)
        return self._delete(scope, "stored_at < %s", (before,)) if oldest and oldest[0][0] < before else []

    def _delete(self, scope: Scope, where: str, values: tuple[Any, ...]) -> list[int]:
        with self._using() as db:
            with db.transaction():
                row = db.execute("SELECT id FROM memory_scopes WHERE path = %s FOR UPDATE", (scope.path,)).fetchone()
                if row is None:
                    return []
                gone = db.execute(
                    f"DELETE FROM memory_records r WHERE scope_id = %s AND {where} RETURNING id", (row[0], *values)
                ).fetchall()
                db.execute("UPDATE memory_scopes SET deletions = deletions + 1 WHERE id = %s", (row[0],))
            if gone:
                db.execute("VACUUM memory_records")
        return sorted(int(found[0]) for found in gone)

    def limits(self, scope: Scope) -> Limits:
        rows = self._rows("SELECT max_records, ttl_s FROM memory_scopes WHERE path = %s", scope.path)
        return Limits(*rows[0]) if rows else Limits()

    def set_limits(self, scope: Scope, limits: Limits) -> None:
        with self._using() as db, db.transaction():
            scope_id, _ = self._locked(db, scope)
            db.execute("UPDATE memory_scopes SET max_records = %s, ttl_s = %s WHERE id = %s", (limits.max_records, limits.ttl_s, scope_id))

    def get(self, scope: Scope, ids: Iterable[int]) -> dict[int, Record]:
        rows = self._rows(f"SELECT {_COLUMNS} FROM {_SCOPED} WHERE path = %s AND r.id = ANY(%s)", scope.path, [int(i) for i in ids])
        return {row[0]: _record(row) for row in rows}

    def all(self, scope: Scope) -> Iterator[Record]:
        last = 0
        while rows := self._rows(
            f"SELECT {_COLUMNS} FROM {_SCOPED} WHERE path = %s AND r.id > %s ORDER BY r.id LIMIT 500", scope.path, last
        ):
            yield from map(_record, rows)
            last = rows[-1][0]

    def count(self, scope: Scope) -> int:
        return int(self._rows(f"SELECT count(*) FROM {_SCOPED} WHERE path = %s", scope.path)[0][0])

    def scopes(self) -> list[str]:
        return [row[0] for row in self._rows("SELECT path FROM memory_scopes ORDER BY path")]

    def deletions(self, scope: Scope) -> int:
        rows = self._rows("SELECT deletions FROM memory_scopes WHERE path = %s", scope.path)
        return int(rows[0][0]) if rows else 0

    def rows_after(self, scope: Scope, last_id: int) -> tuple[list[IndexedRow], Vectors]:
        rows = self._rows(
            f"SELECT r.id, session, speaker, length(text), asks, names, numbers, personal, words, counts, vector FROM {_SCOPED} "
            "WHERE path = %s AND r.id > %s ORDER BY r.id",
            scope.path,
            last_id,
        )
        vectors = np.array([row[-1].to_numpy() for row in rows], dtype=np.float32).reshape(len(rows), self._dimensions)
        return [IndexedRow(*row[:-1]) for row in rows], vectors

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._using() as db:
            found: list[tuple[Any, ...]] = db.execute(sql, values, binary=True).fetchall()
        return found


def _record(row: tuple[Any, ...]) -> Record:
    return Record(row[0], row[1], row[2], row[3], from_timestamp(row[4]), row[5], row[6])
