"""A linear classifier over words, runs of characters and word vectors, laid out so that answering is a sum over words.

Every feature but a pair of neighbours belongs to one word, so what a word adds to each label's score is worked out when
the word first turns up and looked up afterwards: a text costs one gather of rows, whatever the number of features. For
that, the length by which a text's tf-idf vector is divided (Salton & Buckley 1988) counts repeated features as if they
were different; on news and banking questions that is no worse than the exact length.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from math import sqrt

import numpy as np

from orchestrator.students.piece_table import PieceTable
from orchestrator.students.tokens import tokens_of
from orchestrator.students.vocabulary import Vector, Vocabulary, grams_of

MAX_CACHED_BYTES = 32_000_000
FIRST_ROWS = 1_024
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """What was learned. `k` is the number of labels.

    Attributes:
        words: Shape (words and pairs, k), for tf-idf of unit length.
        grams: Shape (runs of characters, k), likewise.
        vectors: Shape (dimensions, k), for the mean word vector of unit length.
        bias: Shape (k,).
        counts: Shape (words and pairs, k): log-likelihoods of a naive Bayes model, for plain counts.
        counts_share: The share of the naive Bayes model in the probabilities, in [0, 1).
    """

    words: Vector
    grams: Vector
    vectors: Vector
    bias: Vector
    counts: Vector
    counts_share: float


@dataclass(frozen=True, slots=True)
class LinearReading:
    """What a model makes of one text.

    Attributes:
        p: P(label) for every label, shape (k,), from both models.
        linear: Of the linear model alone.
        bayes: Of the naive Bayes model alone.
        vector: The mean word vector, of length 1 (0 where no word is known).
        known: The share of words that stood in the training texts, in [0, 1].
    """

    p: Vector
    linear: Vector
    bayes: Vector
    vector: Vector
    known: float

    @classmethod
    def of(cls, scores: Vector, counts_share: float, vector: Vector, known: float) -> LinearReading:
        """From the scores of both models, shape (2, k), which are overwritten."""
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        linear, bayes = scores
        return cls(linear + counts_share * (bayes - linear), linear, bayes, vector, known)


@dataclass
class _WordRows:
    """What each word adds, one row a word, grown as words turn up."""

    index: dict[str, int]
    rows: Vector


@dataclass
class LinearModel:
    """Reads texts. Threads may share it; a text takes some tens of microseconds once its words were seen.

    Attributes:
        words: The vocabulary of words and pairs of neighbours.
        grams: That of runs of characters inside words.
        pieces: The table of word vectors.
        weights: What was learned.
        seen: Every word of the training texts, also those that stood in one text only.
    """

    words: Vocabulary
    grams: Vocabulary
    pieces: PieceTable
    weights: LinearWeights
    seen: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._k = len(self.weights.bias)
        self._width = 3 * self._k + 3 + self.pieces.dimensions
        self._most_rows = MAX_CACHED_BYTES // (4 * self._width)
        self._rows = _WordRows({}, np.zeros((FIRST_ROWS, self._width), dtype=np.float32))
        words, grams = self.words.idf[:, None], self.grams.idf[:, None]
        self._pairs = _with_zeros(np.hstack([self.weights.words * words, self.weights.counts, words**2]))
        self._grams = _with_zeros(np.hstack([self.weights.grams * grams, grams**2]))

    def read(self, text: str) -> LinearReading:
        """Raises nothing: a text without any word has the probabilities of the bias."""
        return self.read_tokens(tokens_of(text))

    def read_tokens(self, tokens: Sequence[str]) -> LinearReading:
        """As `read`, of a text that was split already."""
        k, columns = self._k, self.words.columns
        total = self._sum_of_words(tokens)
        pairs = [found for pair in map(" ".join, pairwise(tokens)) if (found := columns.get(pair)) is not None]
        if pairs:
            total[: 2 * k + 1] += self._pairs.take(pairs, axis=0).sum(axis=0)
        # Of each word: weights in the linear model, log-likelihoods, squared idf; the same of its characters; a vector.
        word_length, gram_length, known = total[2 * k], total[3 * k + 1], total[3 * k + 2]
        vector = total[3 * k + 3 :]
        vector /= sqrt(vector @ vector) + TINY
        scores = np.empty((2, k), dtype=np.float32)
        np.matmul(vector, self.weights.vectors, out=scores[0])
        scores[0] += self.weights.bias
        scores[0] += total[:k] / (sqrt(word_length) + TINY)
        scores[0] += total[2 * k + 1 : 3 * k + 1] / (sqrt(gram_length) + TINY)
        scores[1] = total[k : 2 * k]
        return LinearReading.of(scores, self.weights.counts_share, vector, float(known) / max(len(tokens), 1))

    def _sum_of_words(self, tokens: Sequence[str]) -> Vector:
        with self._lock:
            seen = self._rows
            at: list[int | None] = list(map(seen.index.get, tokens))
            if None in at:
                if len(seen.index) >= self._most_rows:
                    seen = self._rows = _WordRows({}, np.zeros((FIRST_ROWS, self._width), dtype=np.float32))
                self._add_words(seen, [token for token in dict.fromkeys(tokens) if token not in seen.index])
                at = list(map(seen.index.get, tokens))
            return np.asarray(seen.rows.take(at, axis=0).sum(axis=0))  # type: ignore[arg-type]

    def _add_words(self, seen: _WordRows, words: Sequence[str]) -> None:
        """Makes the rows of words that turn up for the first time, all at once."""
        if not words:
            return
        first, after = len(seen.index), len(seen.index) + len(words)
        if after > len(seen.rows):
            grown = np.zeros((2 * after, self._width), dtype=np.float32)
            grown[:first] = seen.rows[:first]
            seen.rows = grown
        seen.rows[first:after] = self._rows_of(words)
        seen.index.update(zip(words, range(first, after), strict=True))

    def _rows_of(self, words: Sequence[str]) -> Vector:
        k, made = self._k, np.zeros((len(words), self._width), dtype=np.float32)
        nothing = len(self._pairs) - 1  # the last row of each table is zeros
        columns = [self.words.columns.get(word, nothing) for word in words]
        if min(columns) < nothing:
            made[:, : 2 * k + 1] = self._pairs[columns]
            made[:, 3 * k + 2] = made[:, 2 * k] > 0
        columns, starts, nothing = [], [], len(self._grams) - 1
        for word in words:
            starts.append(len(columns))
            columns.extend(map(self.grams.columns.get, grams_of(word), repeat(nothing)))
        np.add.reduceat(self._grams.take(columns, axis=0), starts, out=made[:, 2 * k + 1 : 3 * k + 2])
        made[:, 3 * k + 3 :] = self.pieces.vectors(words)
        return made

    def warm(self) -> None:
        """Works out what each word of the training texts adds, so that no text has to wait for it."""
        words = self.seen[: self._most_rows // 2]
        with self._lock:
            self._add_words(self._rows, [word for word in words if word not in self._rows.index])


def _with_zeros(rows: Vector) -> Vector:
    return np.vstack([rows, np.zeros_like(rows[:1])]) if len(rows) else np.zeros((1, rows.shape[1]), dtype=rows.dtype)
