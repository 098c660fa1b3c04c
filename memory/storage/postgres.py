"""The truth on PostgreSQL with pgvector (extra `postgres`): the same memory for many machines.

Writers of one scope take its row's lock first, so that ids ascend in the order of commits: an index that read up to an
id has missed nothing before it. Deleted rows are vacuumed, which frees them; PostgreSQL does not overwrite them in the
file at once, as the SQLite store does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.errors import StoreError
from orchestrator.memory.record import NewRecord, Scope
from orchestrator.memory.storage.sql_store import LockedScope, SqlStore
from orchestrator.memory.storage.store import Added

SCHEMA_VERSION = 1
LOCK = 0x6F72_6D65  # advisory: one process at a time prepares the schema
_SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS orchestrator_memory;
SET search_path TO orchestrator_memory, public;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scopes (
    id BIGSERIAL PRIMARY KEY, path TEXT NOT NULL UNIQUE, deletions BIGINT NOT NULL DEFAULT 0,
    revisions BIGINT NOT NULL DEFAULT 0,
    max_records BIGINT, ttl_s DOUBLE PRECISION
);
CREATE TABLE IF NOT EXISTS records (
    id BIGSERIAL PRIMARY KEY, scope_id BIGINT NOT NULL REFERENCES scopes (id), text TEXT NOT NULL,
    speaker TEXT NOT NULL,
    time DOUBLE PRECISION, session TEXT NOT NULL, source TEXT NOT NULL, heading TEXT NOT NULL,
    stored_at DOUBLE PRECISION NOT NULL,
    chars BIGINT NOT NULL, digest BIGINT,
    asks SMALLINT NOT NULL, names SMALLINT NOT NULL, numbers SMALLINT NOT NULL, personal SMALLINT NOT NULL,
    words BYTEA NOT NULL,
    counts BYTEA NOT NULL, vector vector, vector_b vector, said BIGINT NOT NULL DEFAULT 1, last_said DOUBLE PRECISION,
    valid_until DOUBLE PRECISION, superseded_by BIGINT
);
CREATE INDEX IF NOT EXISTS records_by_scope ON records (scope_id, id);
CREATE INDEX IF NOT EXISTS records_by_digest ON records (scope_id,
    digest) WHERE digest IS NOT NULL AND valid_until IS NULL;
CREATE INDEX IF NOT EXISTS records_over ON records (scope_id, id) WHERE valid_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS records_by_successor ON records (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE TABLE IF NOT EXISTS mentions (
    record_id BIGINT NOT NULL REFERENCES records (id) ON DELETE CASCADE, place BIGINT NOT NULL, time DOUBLE PRECISION,
    session TEXT NOT NULL,
    source TEXT NOT NULL, said BIGINT NOT NULL, PRIMARY KEY (record_id, place)
);
CREATE TABLE IF NOT EXISTS facts (
    id BIGSERIAL PRIMARY KEY, record_id BIGINT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    scope_id BIGINT NOT NULL, fact BIGINT NOT NULL,
    value BIGINT NOT NULL, since DOUBLE PRECISION NOT NULL, is_all SMALLINT NOT NULL, ended_by BIGINT NOT NULL,
    ends SMALLINT NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS facts_by_time ON facts (scope_id, fact, since);
CREATE INDEX IF NOT EXISTS facts_current ON facts (scope_id, fact, ended_by, since);
CREATE INDEX IF NOT EXISTS facts_by_record ON facts (record_id);
CREATE INDEX IF NOT EXISTS facts_by_successor ON facts (ended_by) WHERE ended_by > 0;
CREATE TABLE IF NOT EXISTS summaries (
    id BIGSERIAL PRIMARY KEY, scope_id BIGINT NOT NULL REFERENCES scopes (id), level TEXT NOT NULL,
    session TEXT NOT NULL, text TEXT NOT NULL,
    sources TEXT NOT NULL, made_by TEXT NOT NULL, tokens BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS summaries_by_scope ON summaries (scope_id);
CREATE TABLE IF NOT EXISTS summary_sources (
    record_id BIGINT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    summary_id BIGINT NOT NULL REFERENCES summaries (id) ON DELETE CASCADE,
    PRIMARY KEY (record_id, summary_id)
);
CREATE INDEX IF NOT EXISTS summary_sources_by_summary ON summary_sources (summary_id);
"""


class PostgresStore(SqlStore):
    """Threads share one connection, which is opened again when it breaks.

    Raises `StoreError` when the server or the extension pgvector is missing, `EncoderMismatch` when its vectors come
    from another encoder; `fingerprint=None` takes it as it is, to encode it anew.
    """

    def __init__(
        self, url: str, *, fingerprint: str | None, dimensions: int, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(dimensions=dimensions, clock=clock)
        self.path = url
        self._lock = threading.RLock()
        self._db: Any = None
        with self._using() as db, db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            settings = self._prepared(db, fingerprint)
        self._vector_column = settings.get("vector_column", self._vector_column)
        if int(settings["schema"]) != SCHEMA_VERSION:
            self.close()
            raise StoreError(
                f"the memory at {self._where} has schema {settings['schema']}, this version knows {SCHEMA_VERSION}: "
                "upgrade the package"
            )
        if fingerprint is not None and settings["encoder"] != fingerprint:
            self.close()
            raise self._mismatch(settings["encoder"], fingerprint)

    def _prepared(self, db: Any, fingerprint: str | None) -> dict[str, str]:
        """Makes or upgrades the tables, in a transaction; returns the settings."""
        if db.execute("SELECT to_regclass('public.memory_records')").fetchone()[0] is not None:
            raise StoreError(
                f"the memory at {self._where} was made by a development version: export it with that one, then "
                "drop memory_records"
            )
        db.execute(_SCHEMA)
        db.execute(
            "INSERT INTO settings VALUES ('encoder', %s), ('schema', %s) ON CONFLICT DO NOTHING",
            (fingerprint or "none", str(SCHEMA_VERSION)),
        )
        settings = dict(db.execute("SELECT name, value FROM settings").fetchall())
        if settings["schema"] == "3":
            self._migrate(db)
            settings["schema"] = str(SCHEMA_VERSION)
        return settings

    def _migrate(self, db: Any) -> None:
        """From version 3, in the transaction that found it."""
        db.execute("ALTER TABLE facts ADD COLUMN IF NOT EXISTS ends SMALLINT NOT NULL DEFAULT 1")
        self.derive_again()
        db.execute("UPDATE settings SET value = %s WHERE name = 'schema'", (str(SCHEMA_VERSION),))

    @property
    def _where(self) -> str:
        return self.path.rpartition("@")[2]

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """The connection, and its errors in words of our own."""
        try:
            import psycopg  # optional: extra `postgres`
            from pgvector.psycopg import register_vector
        except ImportError:
            raise StoreError(
                "a memory on PostgreSQL needs psycopg and pgvector: pip install 'compound-orchestrator[postgres]'"
            ) from None
        with self._lock:
            try:
                if self._db is None or self._db.closed or self._db.broken:
                    self._db = psycopg.connect(self.path, autocommit=True)
                    self._db.execute("CREATE EXTENSION IF NOT EXISTS vector")
                    self._db.execute("SET search_path TO orchestrator_memory, public")
                    register_vector(self._db)
                yield self._db
            except psycopg.Error as error:
                told = " ".join(str(error).split())
                raise StoreError(
                    f"the memory at {self._where} cannot be used: {told}. Check server, address and rights"
                ) from error

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Sequence[Vectors], encoder: str) -> Added:
        """Stores records in one transaction."""
        job = self._add(scope, records, vectors, encoder)
        with self._transaction():
            return job()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._using() as db, db.transaction():
            yield

    def _do(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._using() as db:
            done = db.execute(sql.replace("?", "%s"), values, binary=True)
            found: list[tuple[Any, ...]] = done.fetchall() if done.description is not None else []
        return found

    def _locked_scope(self, scope: Scope, *, create: bool) -> LockedScope | None:
        if create:
            self._do("INSERT INTO scopes (path) VALUES (?) ON CONFLICT DO NOTHING", scope.path)
        sql = (
            "SELECT id, max_records, (SELECT value FROM settings WHERE name = 'encoder') FROM scopes WHERE path = ? "
            "FOR UPDATE"
        )
        rows = self._do(sql, scope.path)
        return LockedScope(*rows[0]) if rows else None

    def _among(self, column: str) -> str:
        return f"{column} = ANY(?)"

    def _list(self, ids: Iterable[int]) -> list[int]:
        return [int(i) for i in ids]

    def _insert_rows(self, sql: str, rows: list[tuple[Any, ...]]) -> list[int]:
        """All in one round trip."""
        if not rows:
            return []
        with self._using() as db, db.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows, returning=True)
            ids = [int(cursor.fetchone()[0])]
            while cursor.nextset():
                ids.append(int(cursor.fetchone()[0]))
            return ids

    def _last_id(self) -> int:
        last, is_used = self._do("SELECT last_value, is_called FROM records_id_seq")[0]
        return int(last) if is_used else 0

    def _use_ids(self, last: int) -> None:
        self._do("SELECT setval('records_id_seq', ?)", last)

    def _vector_in(self, vector: Vectors, scope: Scope) -> Any:
        return np.asarray(vector, dtype=np.float32)

    def _vectors_out(self, column: Sequence[Any], scope: Scope) -> Vectors:
        rows = [vector.to_numpy() for vector in column]
        return np.array(rows, dtype=np.float32).reshape(len(rows), len(rows[0]) if rows else self._dimensions)

    def _deleted(self) -> None:
        self._do("VACUUM records")

    def compact(self) -> None:
        """Rewrites the table without what was deleted."""
        self._do("VACUUM FULL records")

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._db is not None:
                self._db.close()
