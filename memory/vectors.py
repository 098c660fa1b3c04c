"""The dense index of one scope: FAISS, exact (inner product of unit vectors), derived from the store and caught up before each search."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.encoder import Vectors
from memory.record import Scope
from memory.store import Store


class ScopeVectors:
    """Vectors and turn order of one scope. `ids` ascend; position i of every array below belongs to `ids[i]`."""

    def __init__(self, store: Store, scope: Scope, dimensions: int) -> None:
        self._store = store
        self._scope = scope
        self._dimensions = dimensions
        self._lock = threading.Lock()
        self._reset(0)

    def _reset(self, deletions: int) -> None:
        import faiss

        self._deletions = deletions
        self._index: Any = faiss.IndexFlatIP(self._dimensions)
        self.ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.sessions: list[str] = []
        self.speakers: list[str] = []
        self.lengths: list[int] = []

    def refresh(self) -> None:
        """Takes in what this or another process has added or deleted since the last call."""
        with self._lock:
            deletions = self._store.deletions(self._scope)
            if deletions != self._deletions:
                self._reset(deletions)
            rows, vectors = self._store.rows_after(self._scope, int(self.ids[-1]) if len(self.ids) else 0)
            if not rows:
                return
            self._index.add(np.ascontiguousarray(vectors))
            self.ids = np.concatenate([self.ids, np.array([row[0] for row in rows], dtype=np.int64)])
            self.sessions.extend(row[1] for row in rows)
            self.speakers.extend(row[2] for row in rows)
            self.lengths.extend(row[4] for row in rows)

    def search(self, query: Vectors, limit: int) -> tuple[NDArray[np.int64], Vectors]:
        """(positions, cosine similarities) of the `limit` nearest vectors to `query` (shape (dimensions,)), best first."""
        with self._lock:
            scores, positions = self._index.search(query.reshape(1, -1), min(limit, self._index.ntotal))
        return positions[0], scores[0]
