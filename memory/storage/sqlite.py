"""The truth.

One SQLite file (WAL, synchronous=FULL) that holds records, their vectors and what ranking needs of their words.

A write is acknowledged only after its commit. Everything else (indexes of scopes) is derived and can be rebuilt from
here.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.errors import NotErased, StoreError
from orchestrator.memory.record import NewRecord, Scope, from_timestamp
from orchestrator.memory.storage.encryption import Cipher
from orchestrator.memory.storage.group_commit import GroupCommit
from orchestrator.memory.storage.schema import SCHEMA_VERSION, create, migrate
from orchestrator.memory.storage.sql_store import COLUMNS, LockedScope, SqlStore, vectors_of
from orchestrator.memory.storage.store import Added, prepared
from orchestrator.memory.storage.transactions import PATIENCE_S, connected, log_ahead, writing

FREE_PAGES, FREE_SHARE = 1_000, 0.2  # a file with more free pages than both is made smaller after a deletion
LOOKED_THROUGH_BYTES = 32_000_000  # a tenth of a second
MAX_FREED = 20_000  # pages at once: about a tenth of a second


class Store(SqlStore):
    """Records of all scopes in one file (`":memory:"` for a private one).

    Safe to share between threads; processes share the file.

    Raises `StoreError` when the file cannot be used and `EncoderMismatch` when its vectors come from another encoder;
    `fingerprint=None` takes it as it is, to encode it anew.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fingerprint: str | None,
        dimensions: int,
        clock: Callable[[], float] = time.time,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(dimensions=dimensions, clock=clock, cipher=cipher)
        self.path = str(path)
        self._lock = threading.RLock()
        self._is_erasing = False  # whether the log still holds what was deleted
        self._commits = GroupCommit(self._lock, lambda: writing(self._db, self._lock))
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._db = connected(self.path)
            try:
                self._prepare(fingerprint)
            except StoreError:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self._explained("cannot open the memory", error)) from error

    def _prepare(self, fingerprint: str | None) -> None:
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file
        log_ahead(self._db)
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        key = self._cipher.fingerprint if self._cipher is not None else "none"
        with writing(self._db, self._lock):
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"the memory {self.path} has schema {version}, this version knows {SCHEMA_VERSION}: upgrade the "
                    "package"
                )
            if version == 0:
                if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StoreError(f"{self.path} is an SQLite file but not a memory; choose another path")
                create(self._db)
                self._db.execute(
                    "INSERT INTO settings VALUES ('encoder', ?), ('cipher', ?)", (fingerprint or "none", key)
                )
            elif version < SCHEMA_VERSION:
                self._migrate(version, key)
            if self._cipher is not None:  # texts of records after this one are sealed for their own row
                last = "SELECT coalesce(max(id), 0) FROM records"
                self._db.execute(f"INSERT OR IGNORE INTO settings VALUES ('bound_after', ({last}))")
        settings = self._settings(key)
        self._bound_after = int(settings.get("bound_after", 0))
        self._vector_column = settings.get("vector_column", self._vector_column)
        if fingerprint is not None and settings["encoder"] != fingerprint:
            self._db.close()
            raise self._mismatch(settings["encoder"], fingerprint)

    def _migrate(self, version: int, key: str) -> None:
        settings = self._settings(key)
        migrate(self._db, version, self._insert_old)
        if version == 3:
            self._bound_after = int(settings.get("bound_after", 0))
            self.derive_again()

    def _settings(self, key: str) -> dict[str, str]:
        """Raises `StoreError` where the file was sealed with another key than that of the fingerprint `key`."""
        settings = dict(self._db.execute("SELECT name, value FROM settings").fetchall())
        if settings.get("cipher", "none") != key:
            raise StoreError(
                f"the memory {self.path} was sealed with {settings.get('cipher', 'none')}, at hand is {key}: give it "
                "its own cipher"
            )
        return settings

    def _insert_old(self, row: tuple[Any, ...]) -> None:
        record_id, scope_id, text, speaker, when, session, source, stored_at, vector = row
        made = prepared(NewRecord(text, speaker, from_timestamp(when), session, source), Scope(""), None)
        values = (
            scope_id, text, speaker, when, session, source, "", stored_at, len(text), made.digest, made.asks,
            made.names, made.numbers, made.personal,
            made.words, made.counts, vector,
        )  # fmt: skip
        self._db.execute(
            f"INSERT INTO records (id, {COLUMNS}, vector) VALUES ({', '.join('?' * 18)})", (record_id, *values)
        )
        if made.facts:
            self._end_facts(scope_id, [(record_id, made)], stored_at)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reading():
            self._erase_later()
            with writing(self._db, self._lock):
                yield

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
        if "closed database" in str(error):
            return f"the memory {self.path} is closed. Open it again: Memory({str(self.path)!r})"
        return f"{what} {self.path}: {error}. Check that it is a memory file and that the folder is writable"

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Sequence[Vectors], encoder: str) -> Added:
        """Concurrent calls share one commit."""
        try:
            return self._commits.run(self._add(scope, records, vectors, encoder))
        except (sqlite3.Error, StoreError) as error:
            if "closed database" in str(error):
                raise StoreError(self._explained("nothing was remembered", error)) from error
            raise StoreError(
                f"nothing was remembered: {self.path}: {error}. Check free disk space and write permission"
            ) from error

    def _do(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading():
            return self._db.execute(sql, values).fetchall()

    def _locked_scope(self, scope: Scope, *, create: bool) -> LockedScope | None:
        sql = "SELECT id, max_records, (SELECT value FROM settings WHERE name = 'encoder') FROM scopes WHERE path = ?"
        row = self._db.execute(sql, (scope.path,)).fetchone()
        if row is None and create:
            self._db.execute("INSERT INTO scopes (path) VALUES (?)", (scope.path,))
            return self._locked_scope(scope, create=False)
        return LockedScope(*row) if row else None

    def _among(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(?))"

    def _list(self, ids: Iterable[int]) -> str:
        return json.dumps([int(i) for i in ids])

    def _insert_rows(self, sql: str, rows: list[tuple[Any, ...]]) -> list[int]:
        sql = sql.removesuffix(" RETURNING id")  # `lastrowid` costs less
        return [int(self._db.execute(sql, row).lastrowid or 0) for row in rows]

    def _last_id(self) -> int:
        found = self._do("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
        return int(found[0][0]) if found else 0

    def _use_ids(self, last: int) -> None:
        """SQLite goes on after the highest id by itself."""

    def _vector_in(self, vector: Vectors, scope: Scope) -> bytes:
        return self._sealed(vector.tobytes(), scope)

    def _vectors_out(self, column: Sequence[bytes], scope: Scope) -> Vectors:
        return vectors_of(
            column if self._cipher is None else [self._unsealed(sealed, scope) for sealed in column], self._dimensions
        )

    def _deleted(self) -> None:
        """Deleted pages are overwritten in the file and the log is emptied.

        A file that is mostly holes is made smaller. Raises `NotErased`.
        """
        with self._reading():
            free, pages = (
                self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("freelist_count", "page_count")
            )
            if free > max(FREE_PAGES, FREE_SHARE * pages):
                self._db.executescript(f"PRAGMA incremental_vacuum({MAX_FREED})")  # `execute` would free one page
            self._is_erasing = True
            self._erase()
            if self._is_erasing:
                raise NotErased(
                    f"deleted, but not erased yet: another process has been reading {self.path} since before, so that "
                    "its log still holds the text; "
                    "forget again when that has ended"
                )

    def _erase(self) -> None:
        """Empties the log, if no reader needs it. SQLite waits for readers as long as for any lock (`PATIENCE_S`)."""
        is_busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self._is_erasing = bool(is_busy)

    def _erase_later(self) -> None:
        """What could not be erased is tried again, without waiting."""
        if self._is_erasing:
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                self._erase()
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {int(PATIENCE_S * 1000)}")

    def _check_whole(self, is_short: bool) -> None:
        """A damaged page may make rows vanish without a word.

        Files of a usual size are looked through, larger ones where a count does not fit.
        """
        pages, size = (int(self._do(f"PRAGMA {what}")[0][0]) for what in ("page_count", "page_size"))
        if not is_short and pages * size > LOOKED_THROUGH_BYTES:
            return
        found = self._do("PRAGMA quick_check(1)")
        if found and found[0][0] != "ok":
            raise StoreError(
                f"the memory {self.path} is damaged, and what was read of it is not all: {found[0][0]}. Copy what can "
                "be read: "
                f"orchestrator salvage {self.path} --into NEW.db"
            )

    def compact(self) -> None:
        """Rewrites the file without what was deleted."""
        with self._reading():
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect for files of older versions now
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()
