"""The memory of a fleet: `remember`, `recall`, `forget`, `export`. Synchronous and thread-safe; no model call anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import numpy as np

from memory.encoder import Encoder, default_encoder
from memory.packing import Recall, RecalledRecord, pack
from memory.record import Forgotten, Limits, NewRecord, Record, Scope
from memory.relevance import SIGNALS, Asked, candidates_of, shipped_weights, signals_of
from memory.scope_index import ScopeIndex
from memory.snapshot import Snapshots
from memory.store import RecordStore, Store

DEFAULT_SCOPE = "default"
JUDGED_WHOLE = 1_000  # records; of larger scopes the candidates below are judged
CANDIDATES = 150  # nearest by meaning, and as many by words
MOST_INDEXED = 2_000_000  # records in memory, over all scopes: about 1.2 KB each
SNAPSHOT_FROM, SNAPSHOT_GROWTH = 20_000, 1.1  # records; smaller scopes are read from the store as fast
MAX_QUERY_CHARS = 4_000
MAX_RECALLED = 500
MIN_RECORD_TOKENS = 8


class Memory:
    """Remembers text under scopes and recalls the few records that a query needs.

    `path` is an SQLite file (created when missing; `":memory:"` for none), or `postgresql://...` (extra `postgres`) for a memory that many machines
    share. `clock` gives seconds since 1970. Errors are `memory.MemoryFailure` subclasses.
    """

    def __init__(self, path: str | Path = ":memory:", *, encoder: Encoder | None = None, clock: Callable[[], float] = time.time) -> None:
        self._encoder = encoder or default_encoder()
        self._store = _opened(path, self._encoder, clock)
        is_file = isinstance(self._store, Store) and self._store.path != ":memory:"
        self._snapshots = Snapshots(path) if is_file else None
        self._indexes: dict[str, ScopeIndex] = {}
        self._lock = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        return self._encoder

    @property
    def store(self) -> RecordStore:
        return self._store

    def remember(
        self,
        text: str,
        scope: str | Scope = DEFAULT_SCOPE,
        *,
        speaker: str = "",
        time: datetime | None = None,
        session: str = "",
        source: str = "",
    ) -> Record:
        """Stores one text; it is durable when this returns. Raises `InvalidRecord`, `ScopeError` or `StoreError`."""
        return self.remember_many([NewRecord(text, speaker, time, session, source)], scope)[0]

    def remember_many(self, records: Sequence[NewRecord], scope: str | Scope = DEFAULT_SCOPE) -> list[Record]:
        """Stores all records in one transaction: all are durable when this returns, or none is stored."""
        where = Scope.parse(scope)
        if not records:
            return []
        vectors = self._encoder.encode([f"{r.speaker}: {r.text}" if r.speaker else r.text for r in records])
        ids = self._store.add(where, records, vectors)
        return [Record(i, where.path, r.text, r.speaker, r.time, r.session, r.source) for i, r in zip(ids, records, strict=True)]

    def recall(self, query: str, scope: str | Scope = DEFAULT_SCOPE, *, token_budget: int = 1_000, limit: int | None = None) -> Recall:
        """The records of `scope` that best serve `query`, at most `limit`, packed into `token_budget` tokens.

        Raises `ValueError` on a budget or limit below zero. An unknown scope or an empty query recalls nothing.
        """
        if token_budget < 0 or (limit is not None and limit < 0):
            raise ValueError(f"token_budget and limit must not be negative (got {token_budget}, {limit})")
        where = Scope.parse(scope)
        self._expire(where)
        wanted = min(token_budget // MIN_RECORD_TOKENS + 1, MAX_RECALLED) if limit is None else limit
        ranked, searched = self._ranked(query[:MAX_QUERY_CHARS], where, wanted)
        return pack(query, where.path, ranked, token_budget=token_budget, searched=searched)

    def forget(self, scope: str | Scope, ids: Sequence[int] | None = None) -> Forgotten:
        """Deletes records for good: those of `ids`, or the whole scope. When this returns, their text is no longer in the file."""
        where = Scope.parse(scope)
        gone = self._store.delete(where, ids)
        if self._snapshots is not None:
            self._snapshots.drop(where)
        return Forgotten(where.path, tuple(gone), datetime.now(UTC), self._store.count(where))

    def limit(self, scope: str | Scope, *, max_records: int | None = None, ttl: timedelta | None = None) -> None:
        """Sets what the scope may hold, durably; without arguments lifts its limits.

        Adding beyond `max_records` raises `QuotaExceeded`; records stored longer than `ttl` ago are gone from the next look at the scope on.
        """
        self._store.set_limits(Scope.parse(scope), Limits(max_records, ttl.total_seconds() if ttl else None))

    def limits(self, scope: str | Scope) -> Limits:
        return self._store.limits(Scope.parse(scope))

    def export(self, scope: str | Scope) -> Iterator[Record]:
        """Every record of the scope in order of insertion."""
        where = Scope.parse(scope)
        self._expire(where)
        return self._store.all(where)

    def count(self, scope: str | Scope = DEFAULT_SCOPE) -> int:
        where = Scope.parse(scope)
        self._expire(where)
        return self._store.count(where)

    def scopes(self) -> list[str]:
        """Paths of all scopes that ever held a record."""
        return self._store.scopes()

    def close(self) -> None:
        """Keeps snapshots of the large scopes that were asked about, so that they open fast, and closes the store."""
        if self._snapshots is not None:
            for index in list(self._indexes.values()):
                self._keep_snapshot(index, self._snapshots)
        self._store.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ranked(self, query: str, scope: Scope, wanted: int) -> tuple[list[RecalledRecord], int]:
        index = self._scope_index(scope)
        with index.lock:
            if not len(index):
                self._thaw(index)
            index.refresh()
            total = len(index)
            if not total or not query.strip():
                return [], total
            asked = Asked.of(query, self._encoder, index)
            candidates = np.arange(total) if total <= JUDGED_WHOLE else candidates_of(index, asked, CANDIDATES)
            signals = signals_of(index, asked, candidates)
            ids = index.ids[candidates]
        weights = shipped_weights()
        log_odds = weights.log_odds(signals, total)
        order = np.argsort(-log_odds, kind="stable")[:wanted]
        records = self._store.get(scope, ids[order].tolist())
        p_relevant = 1.0 / (1.0 + np.exp(-log_odds[order]))
        contributions = (signals[order] * np.array(weights.weights)).tolist()
        ranked: list[RecalledRecord] = []
        for record_id, p, parts in zip(ids[order].tolist(), p_relevant.tolist(), contributions, strict=True):
            if record_id in records:  # else it was deleted since the refresh
                ranked.append(RecalledRecord(records[record_id], len(ranked) + 1, p, tuple(zip(SIGNALS, parts, strict=True))))
        return ranked, total

    def _expire(self, scope: Scope) -> None:
        if self._store.expire(scope) and self._snapshots is not None:
            self._snapshots.drop(scope)

    def _thaw(self, index: ScopeIndex) -> None:
        """Under the scope's own lock: other scopes need not wait while a large snapshot is read."""
        saved = self._snapshots.load(index.scope) if self._snapshots is not None else None
        if saved is not None and saved[0].get("encoder") == self._encoder.fingerprint:
            index.thaw(*saved)

    def _keep_snapshot(self, index: ScopeIndex, snapshots: Snapshots) -> None:
        if len(index) < max(SNAPSHOT_FROM, SNAPSHOT_GROWTH * index.thawed_size):
            return
        with index.lock:
            described, arrays = index.frozen()
            if self._store.deletions(index.scope) == described["deletions"]:
                snapshots.save(index.scope, {**described, "encoder": self._encoder.fingerprint}, arrays)
        if self._store.deletions(index.scope) != described["deletions"]:  # somebody forgot something meanwhile
            snapshots.drop(index.scope)

    def _scope_index(self, scope: Scope) -> ScopeIndex:
        """The scope's index; those not used for longest are dropped (they can be rebuilt) when all together grow too large."""
        with self._lock:
            index = self._indexes.pop(scope.path, None)
            if index is None:
                index = ScopeIndex(self._store, scope, self._encoder.dimensions)
                while self._indexes and sum(map(len, self._indexes.values())) > MOST_INDEXED:
                    self._indexes.pop(next(iter(self._indexes)))
            self._indexes[scope.path] = index  # a dictionary keeps the order of insertion: the last one is the one used last
            return index


def _opened(path: str | Path, encoder: Encoder, clock: Callable[[], float]) -> RecordStore:
    if str(path).startswith(("postgresql://", "postgres://")):
        from memory.postgres import PostgresStore

        return PostgresStore(str(path), fingerprint=encoder.fingerprint, dimensions=encoder.dimensions, clock=clock)
    return Store(path, fingerprint=encoder.fingerprint, dimensions=encoder.dimensions, clock=clock)
