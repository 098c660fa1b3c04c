"""Everything that ranking needs to know of one scope, derived from the store and caught up before each search.

Position i of every array belongs to the i-th oldest record. The dense index is FAISS, exact (inner product of unit
vectors).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.memory.arrays import GrowableArray, Positions, Vectors
from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.errors import EncoderMismatch
from orchestrator.memory.record import Scope
from orchestrator.memory.retrieval.approximate_index import Builder, CoarseIndex
from orchestrator.memory.storage.store import IndexedRow, RecordStore, ScopeState
from orchestrator.memory.text.words import names_in
from orchestrator.memory.thresholds import Thresholds

DIRECT = 4_000  # up to so many records a pass over all of them is cheaper than what spares it
MAX_TELLING = 16  # words: a longer text does not tell more
COARSE_GROWTH = 1.5  # until the approximate index is made anew
READS_BEFORE_SORTING = 3  # an inverted index is worth its making only for a scope that is asked again


_GROWING = (
    "ids",
    "sessions",
    "speakers",
    "times",
    "log_chars",
    "asks",
    "names",
    "numbers",
    "personal",
    "ends",
    "words",
    "counts",
    "n_words",
)


class ScopeIndex:
    """Not thread-safe by itself: hold `lock` from `refresh` to the last read.

    It has more attributes than other classes because each is one column over the same rows, which grow and are dropped
    together.
    """

    def __init__(
        self, store: RecordStore, scope: Scope, encoder: Encoder, *, coarse_from: int = Thresholds().coarse_from
    ) -> None:
        self._store = store
        self.scope = scope
        self.encoder = encoder
        self._coarse_from = coarse_from
        self._dimensions = encoder.dimensions
        self.thawed_size = 0
        self.lock = threading.Lock()
        self._builder: Builder | None = None
        self._reset(0)

    def _reset(self, deletions: int) -> None:
        import faiss  # heavy

        self._deletions = deletions
        self._index: Any = faiss.IndexFlatIP(self._dimensions)
        self._ids, self._sessions, self._speakers = (
            GrowableArray(np.int64),
            GrowableArray(np.int32),
            GrowableArray(np.int32),
        )
        self._times, self._valid_until, self._revisions = GrowableArray(np.float64), np.zeros(0), 0
        self._log_chars, self._asks, self._names, self._numbers = (
            GrowableArray(np.float32),
            GrowableArray(np.uint8),
            GrowableArray(np.uint8),
            GrowableArray(bool),
        )
        self._personal = GrowableArray(bool)
        self._ends, self._words, self._counts, self._n_words = (
            GrowableArray(np.int64),
            GrowableArray(np.uint32),
            GrowableArray(np.uint8),
            GrowableArray(np.float32),
        )
        self._near = GrowableArray(np.float32), GrowableArray(np.float32)
        self._density: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._session_codes: dict[str, int] = {"": 0}
        self._speaker_codes: dict[str, int] = {}
        self.speaker_words: list[frozenset[str]] = []
        self._seen: dict[int, int] = {}
        self._sorted: _Sorted | None = None
        self._reads = 0
        self._coarse: CoarseIndex | None = None
        self._density_size = 0
        self.typical_log_chars, self.typical_n_words = 0.0, 1.0
        self._moments: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def refresh(self) -> None:
        """Takes in what this or another process has added, deleted or superseded since the last call.

        Raises `EncoderMismatch` when the memory has been encoded anew meanwhile.
        """
        self._reads += 1
        while True:
            state = self._own_state()
            if state.deletions != self._deletions:
                self._reset(state.deletions)
            rows, vectors = self._store.rows_after(self.scope, int(self.ids[-1]) if len(self) else 0)
            if (
                not rows or self._own_state().deletions == state.deletions
            ):  # or else these vectors may be another encoder's
                break
        if rows:
            self._add(rows, vectors)
        if rows or state.revisions != self._revisions:
            self._revisions = state.revisions
            self._valid_until = np.full(len(self), np.inf)
            if state.revisions:
                over = np.array(self._store.over(self.scope), dtype=float).reshape(-1, 2)
                known = over[over[:, 0] <= self.ids[-1]] if len(self) else over[:0]
                self._valid_until[np.searchsorted(self.ids, known[:, 0])] = known[:, 1]

        if self._reads > READS_BEFORE_SORTING and len(self) >= max(
            self._coarse_from, COARSE_GROWTH * (self._coarse.size if self._coarse else 0)
        ):
            self._build_coarse()

    def _build_coarse(self) -> None:
        if self._builder is not None and self._builder.is_running:
            return
        built_for = self._ids  # another object after a reset

        def read(first: int, last: int) -> Vectors | None:
            with self.lock:
                return self.vectors[first:last].copy() if self._ids is built_for else None

        def done(coarse: CoarseIndex) -> None:
            with self.lock:
                if self._ids is built_for:
                    self._coarse = coarse

        self._builder = Builder(read, len(self), done)

    def wait(self) -> None:
        """Until nothing is being built in the background."""
        if self._builder is not None:
            self._builder.wait()

    def stop(self) -> None:
        """Ends the building of an index in the background."""
        if self._builder is not None:
            self._builder.stop()

    def _own_state(self) -> ScopeState:
        state = self._store.state(self.scope)
        if state.encoder != self.encoder.fingerprint:
            raise EncoderMismatch(f"the memory was encoded anew, by {state.encoder!r}: open it again with that encoder")
        return state

    def _add(self, rows: Sequence[IndexedRow], vectors: Vectors) -> None:
        self._index.add(np.ascontiguousarray(vectors))
        start = len(self)
        self._ids.extend(np.array([row.id for row in rows], dtype=np.int64))
        self._sessions.extend(_coded([row.session for row in rows], self._session_codes))
        self._speakers.extend(_coded([row.speaker for row in rows], self._speaker_codes))
        self.speaker_words += [names_in([name]) for name in list(self._speaker_codes)[len(self.speaker_words) :]]
        self._times.extend(np.array([row.time for row in rows], dtype=np.float64))
        self._log_chars.extend(np.log1p([row.chars for row in rows]))
        self._asks.extend(np.array([row.asks for row in rows], dtype=np.uint8))
        self._names.extend(np.array([row.names for row in rows], dtype=np.uint8))
        self._numbers.extend(np.array([row.numbers for row in rows], dtype=bool))
        self._personal.extend(np.array([row.personal for row in rows], dtype=bool))
        sizes = np.array([len(row.counts) for row in rows], dtype=np.int64)
        words = np.frombuffer(b"".join(row.words for row in rows), dtype=np.uint32)
        counts = np.frombuffer(b"".join(row.counts for row in rows), dtype=np.uint8)
        self._ends.extend(np.cumsum(sizes) + len(self._words))
        self._words.extend(words)
        self._counts.extend(counts)
        self._n_words.extend(np.bincount(np.repeat(np.arange(len(rows)), sizes), weights=counts, minlength=len(rows)))
        for code, count in zip(*(found.tolist() for found in np.unique(words, return_counts=True)), strict=True):
            self._seen[code] = self._seen.get(code, 0) + count
        if self._moments is not None:
            self._moments = self._moments[0] + vectors.sum(axis=0), self._moments[1] + vectors.T @ vectors
        everything = self.vectors
        for distance, near in enumerate(self._near, start=1):
            first = max(start, distance)  # the first new record that has one so far before it
            cosines = np.zeros(len(rows), dtype=np.float32)
            cosines[first - start :] = np.einsum(
                "ij,ij->i", everything[first:], everything[first - distance : len(self) - distance]
            )
            near.extend(cosines)
        self._settle()

    def frozen(self) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
        """Everything that `thaw` needs to begin where this index is: a description of JSON values, and arrays."""
        arrays = {name: getattr(self, f"_{name}").view for name in _GROWING}
        arrays |= {"vectors": self.vectors, "near1": self.near[0], "near2": self.near[1], "density": self._density}
        arrays["codes"], arrays["seen"] = (
            np.fromiter(values, dtype=np.int64, count=len(self._seen)) for values in (self._seen, self._seen.values())
        )
        if self._coarse is not None:
            arrays["coarse"] = self._coarse.frozen()
        return {
            "deletions": self._deletions,
            "sessions": list(self._session_codes),
            "speakers": list(self._speaker_codes),
        }, arrays

    def thaw(self, described: JsonMapping, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over a frozen index, if nothing has been deleted since; call it before the first `refresh`."""
        if described["deletions"] != self._store.state(self.scope).deletions or len(arrays["vectors"]) == 0:
            return
        self._reset(described["deletions"])
        self._index.add(np.ascontiguousarray(arrays["vectors"]))
        for name in _GROWING:
            getattr(self, f"_{name}").extend(arrays[name])
        for near, saved in zip(self._near, (arrays["near1"], arrays["near2"]), strict=True):
            near.extend(saved)
        self._session_codes = {name: code for code, name in enumerate(described["sessions"])}
        self._speaker_codes = {name: code for code, name in enumerate(described["speakers"])}
        self.speaker_words = [names_in([name]) for name in described["speakers"]]
        self._seen = dict(zip(arrays["codes"].tolist(), arrays["seen"].tolist(), strict=True))
        self._density, self._density_size = arrays["density"], len(self)
        self._coarse = CoarseIndex.thawed(arrays["coarse"]) if "coarse" in arrays else None
        self._valid_until, self._revisions = np.full(len(self), np.inf), -1  # the next `refresh` reads them
        self._settle()
        self.thawed_size = len(self)

    def _settle(self) -> None:
        """What depends on the scope as a whole."""
        self.typical_log_chars = float(self.log_chars.mean())
        self.typical_n_words = max(float(self.n_words.mean()), 1.0)
        self._density = self._densities()

    def _densities(self) -> NDArray[np.float32]:
        """Mean worth of each record's distinct words, relative to a word that stands nowhere else, times the root of
        how many they are, up to 16.

        Worths hardly move while a large scope grows by a tenth: until then only what is new is computed.
        """
        known = len(self._density)
        since = known if known > DIRECT and len(self) < 1.1 * self._density_size else 0
        if not since:
            self._density_size = len(self)
        owner, words, _ = self.words_of(np.arange(since, len(self)))
        codes, inverse = np.unique(words, return_inverse=True)
        seen = np.fromiter(map(self._seen.__getitem__, codes.tolist()), dtype=float, count=len(codes))
        worth = inverse_frequency(len(self), seen) / inverse_frequency(len(self), 1)
        sums = np.bincount(owner, weights=worth[inverse], minlength=len(self) - since)
        sizes = np.bincount(owner, minlength=len(self) - since)
        density = sums / np.maximum(sizes, 1) * np.sqrt(np.minimum(sizes, MAX_TELLING))
        return np.concatenate([self._density[:since], density.astype(np.float32)])

    @property
    def ids(self) -> Positions:
        """Ids of the records, in the order of the index."""
        return self._ids.view

    @property
    def vectors(self) -> Vectors:
        """Shape (records, dimensions), float32: FAISS's own storage, not a copy."""
        import faiss  # heavy

        flat = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._dimensions)
        return np.asarray(flat.reshape(self._index.ntotal, self._dimensions))

    @property
    def sessions(self) -> NDArray[np.int32]:
        """A number for each session; 0 stands for none."""
        return self._sessions.view

    @property
    def speakers(self) -> NDArray[np.int32]:
        """The index of each record's speaker in `speaker_names`."""
        return self._speakers.view

    @property
    def speaker_names(self) -> list[str]:
        """Names of speakers; codes are positions in it."""
        return list(self._speaker_codes)

    @property
    def times(self) -> NDArray[np.float64]:
        """When each was said or happened, or else stored: seconds since 1970."""
        return self._times.view

    @property
    def valid_until(self) -> NDArray[np.float64]:
        """Since when what a record states is known to be no longer true, in seconds since 1970.

        Infinity where nothing says so.
        """
        return self._valid_until

    @property
    def log_chars(self) -> NDArray[np.float32]:
        """log(1 + length of the text in characters)."""
        return self._log_chars.view

    @property
    def asks(self) -> NDArray[np.uint8]:
        """1 where a record ends with a question, 2 where it is little else."""
        return self._asks.view

    @property
    def names(self) -> NDArray[np.uint8]:
        """How many names each record holds."""
        return self._names.view

    @property
    def numbers(self) -> NDArray[np.bool_]:
        """Whether each record holds a number."""
        return self._numbers.view

    @property
    def personal(self) -> NDArray[np.bool_]:
        """Whether each record speaks of its speaker."""
        return self._personal.view

    @property
    def n_words(self) -> NDArray[np.float32]:
        """Content words of each record, repeats counted."""
        return self._n_words.view

    @property
    def density(self) -> NDArray[np.float32]:
        """How much the words of each record tell, in [0, about 4]."""
        return self._density

    @property
    def near(self) -> tuple[Vectors, Vectors]:
        """Cosine of each record's vector with that of the record one, and two, before it (0 where there is none)."""
        return self._near[0].view, self._near[1].view

    def records_with(self, word: int) -> int:
        """In how many records a word stands."""
        return self._seen.get(word, 0)

    def words_of(self, positions: Positions) -> tuple[Positions, NDArray[np.uint32], NDArray[np.uint8]]:
        """(index into `positions`, word, count) of every distinct word of the records there."""
        ends = self._ends.view
        starts = np.where(positions > 0, ends[positions - 1], 0)
        sizes = ends[positions] - starts
        owner = np.repeat(np.arange(len(positions)), sizes)
        flat = np.arange(int(sizes.sum())) + np.repeat(starts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
        return owner, self._words.view[flat], self._counts.view[flat]

    def holding(self, word: int) -> tuple[Positions, NDArray[np.uint8]]:
        """Positions of the records in which a word stands, ascending, and how often."""
        if self._sorted is None and self._reads <= READS_BEFORE_SORTING:
            return self._scanned(word, 0)
        if self._sorted is None or len(self._words) > 1.2 * self._sorted.size:
            self._sorted = _Sorted.of(self._words.view, self._ends.view, self._counts.view)
        known, counts = self._sorted.holding(word)
        if self._sorted.size == len(self._words):
            return known, counts
        later, later_counts = self._scanned(word, self._sorted.size)
        return np.concatenate([known, later]), np.concatenate([counts, later_counts])

    def summed(self, weights: Mapping[int, float]) -> NDArray[np.float64]:
        """For each record the sum of the weights of the words that stand in it."""
        held = [(self.holding(word)[0], weight) for word, weight in weights.items()]
        if not held:
            return np.zeros(len(self))
        positions = np.concatenate([positions for positions, _ in held])
        each = np.repeat([weight for _, weight in held], [len(positions) for positions, _ in held])
        return np.bincount(positions, weights=each, minlength=len(self)).astype(float)

    def _scanned(self, word: int, start: int) -> tuple[Positions, NDArray[np.uint8]]:
        hits = np.flatnonzero(self._words.view[start:] == np.uint32(word)) + start
        return np.searchsorted(self._ends.view, hits, side="right"), self._counts.view[hits]

    def cosines(self, query: Vectors) -> tuple[float, float]:
        """Mean and standard deviation of the cosines of `query` with every record of the scope.

        Of large scopes without looking at each.
        """
        if len(self) <= DIRECT:
            found = self.vectors @ query
            return float(found.mean()), max(float(found.std()), 1e-6)
        if self._moments is None:
            vectors = self.vectors
            self._moments = vectors.sum(axis=0, dtype=np.float64), (vectors.T @ vectors).astype(np.float64)
        total, squares = self._moments
        mean = float(total @ query) / len(self)
        return mean, max(float(query @ squares @ query) / len(self) - mean**2, 1e-12) ** 0.5

    def nearest(self, query: Vectors, limit: int, allowed: NDArray[np.bool_] | None = None) -> Positions:
        """Positions of the `limit` nearest vectors to `query` (shape (dimensions,)) among those `allowed`.

        In very large scopes, of most of them.
        """
        import faiss  # heavy

        if allowed is not None:
            among = np.flatnonzero(allowed)
            return _largest((self.vectors @ query)[among], among, limit)
        if self._coarse is not None:
            among = np.concatenate([self._coarse.candidates(query, limit), np.arange(self._coarse.size, len(self))])
            return _largest(self.vectors[among] @ query, among, limit)

        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(
            1
        )  # one query is a matter of memory, and numpy's own threads are still spinning: two are three times slower
        try:
            _, positions = self._index.search(query.reshape(1, -1), min(limit, len(self)))
        finally:
            faiss.omp_set_num_threads(threads)
        return np.asarray(positions[0], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """An inverted index of the first `size` words of a scope.

    Codes ascending, and for each whose it is and how often it stands there.
    """

    codes: NDArray[np.uint32]
    owners: Positions
    counts: NDArray[np.uint8]
    size: int

    @classmethod
    def of(cls, words: NDArray[np.uint32], ends: Positions, counts: NDArray[np.uint8]) -> _Sorted:
        """Sorts the `words` of records of which the i-th ends before `ends[i]`, with how often each stands there."""
        order = np.argsort(words, kind="stable")
        owners = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        return cls(words[order], owners[order], counts[order], len(words))

    def holding(self, word: int) -> tuple[Positions, NDArray[np.uint8]]:
        """The positions of the records that hold `word`, and how often each does; both of shape (records,)."""
        code = np.uint32(word)
        start, end = self.codes.searchsorted(code), self.codes.searchsorted(code, side="right")
        return self.owners[start:end], self.counts[start:end]


def inverse_frequency(n: int, seen: Any) -> Any:
    """What a word is worth that stands in `seen` of `n` records: its inverse document frequency."""
    return np.log1p((n - seen + 0.5) / (seen + 0.5))


def _largest(scores: Vectors, positions: Positions, limit: int) -> Positions:
    return positions if len(positions) <= limit else positions[np.argpartition(-scores, limit)[:limit]]


def _coded(labels: Sequence[str], codes: dict[str, int]) -> NDArray[np.int32]:
    return np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.int32)
