"""The memory of a fleet: `remember`, `recall`, `forget`, `export`. Synchronous and thread-safe; no model call anywhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

import numpy as np

from memory.encoder import Encoder, default_encoder
from memory.fusion import fuse
from memory.lexical import strip_question
from memory.packing import Recall, RecalledRecord, pack
from memory.record import NewRecord, Record, Scope
from memory.store import Store
from memory.vectors import ScopeVectors

DEFAULT_SCOPE = "default"
CANDIDATES = 2_000
MAX_QUERY_CHARS = 4_000
MAX_RECALLED = 500
MIN_RECORD_TOKENS = 6


class Memory:
    """Remembers text under scopes and recalls the few records that a query needs.

    `path` is an SQLite file (created when missing; `":memory:"` for none). Errors are `memory.MemoryFailure` subclasses.
    """

    def __init__(self, path: str | Path = ":memory:", *, encoder: Encoder | None = None) -> None:
        self._encoder = encoder or default_encoder()
        self._store = Store(path, fingerprint=self._encoder.fingerprint, dimensions=self._encoder.dimensions)
        self._vectors: dict[str, ScopeVectors] = {}
        self._lock = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        return self._encoder

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
        wanted = min(token_budget // MIN_RECORD_TOKENS + 1, MAX_RECALLED) if limit is None else limit
        ranked, searched = self._ranked(query[:MAX_QUERY_CHARS], where, wanted)
        return pack(query, where.path, ranked, token_budget=token_budget, searched=searched)

    def forget(self, scope: str | Scope, ids: Sequence[int] | None = None) -> int:
        """Deletes records for good, with their vectors and index entries: those of `ids`, or the whole scope. Returns how many."""
        return self._store.delete(Scope.parse(scope), ids)

    def export(self, scope: str | Scope) -> Iterator[Record]:
        """Every record of the scope in order of insertion."""
        return self._store.all(Scope.parse(scope))

    def count(self, scope: str | Scope = DEFAULT_SCOPE) -> int:
        return self._store.count(Scope.parse(scope))

    def scopes(self) -> list[str]:
        """Paths of all scopes that ever held a record."""
        return self._store.scopes()

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ranked(self, query: str, scope: Scope, wanted: int) -> tuple[list[RecalledRecord], int]:
        vectors = self._scope_vectors(scope)
        vectors.refresh()
        total = len(vectors.ids)
        if not total or not query.strip():
            return [], total
        names = {name.casefold() for name in vectors.speakers if name}
        asked = {word.removesuffix("'s").removesuffix("’s") for word in query.casefold().replace("?", " ").split()}
        encoded = self._encoder.encode([strip_question(query, frozenset(names))])[0]
        positions, similarities = vectors.search(encoded, CANDIDATES)
        dense = np.full(total, float(similarities.min()) if len(similarities) else 0.0)
        dense[positions] = similarities
        lexical = np.zeros(total)
        matches = self._store.search(scope, query, CANDIDATES)
        found = np.searchsorted(vectors.ids, np.array([i for i, _ in matches], dtype=np.int64))
        for position, (record_id, score) in zip(found, matches, strict=True):
            if position < total and vectors.ids[position] == record_id:  # a record added since the refresh is not ranked yet
                lexical[position] = score
        named = names & asked
        speaker_match = np.array([speaker.casefold() in named for speaker in vectors.speakers]) if named else None
        fused = fuse(dense, lexical, sessions=vectors.sessions, lengths=vectors.lengths, speaker_match=speaker_match)
        order = np.argsort(-fused, kind="stable")[:wanted]
        records = self._store.get(scope, (int(vectors.ids[p]) for p in order))
        ranked: list[RecalledRecord] = []
        for position in order:
            record = records.get(int(vectors.ids[position]))
            if record is not None:  # deleted since the refresh
                scores = float(fused[position]), float(dense[position]), float(lexical[position])
                ranked.append(RecalledRecord(record, len(ranked) + 1, *scores))
        return ranked, total

    def _scope_vectors(self, scope: Scope) -> ScopeVectors:
        with self._lock:
            if scope.path not in self._vectors:
                self._vectors[scope.path] = ScopeVectors(self._store, scope, self._encoder.dimensions)
            return self._vectors[scope.path]
