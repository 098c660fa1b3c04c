"""The features of all training texts, read once; every fold takes its rows and hides what its own rows do not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.piece_table import PieceTable, shipped_pieces
from orchestrator.students.tokens import tokens_of
from orchestrator.students.vocabulary import FEWEST_TEXTS, Reader, Vector, Vocabulary, grams_in, words_and_pairs

Matrix = Any  # scipy.sparse.csr_matrix, which has no types
Rows = NDArray[np.int64]
TINY = 1e-12


@dataclass(frozen=True)
class Design:
    """Counts of features in every text.

    Attributes:
        words: The vocabulary of words and pairs.
        grams: That of runs of characters.
        pieces: The table of word vectors.
        word_counts: Shape (n, words).
        gram_counts: Shape (n, grams).
        vectors: Mean word vectors of length 1, shape (n, dimensions).
        lengths: How many tokens each text has, shape (n,).
        seen: Every word of the texts, in alphabetical order.
    """

    words: Vocabulary
    grams: Vocabulary
    pieces: PieceTable
    word_counts: Matrix
    gram_counts: Matrix
    vectors: Vector
    lengths: Rows
    seen: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Design:
        """Reads texts."""
        pieces = shipped_pieces()
        words, word_counts = _counted(texts, words_and_pairs)
        grams, gram_counts = _counted(texts, grams_in)
        tokens = [tokens_of(text) for text in texts]
        seen = tuple(sorted({token for text in tokens for token in text}))
        vectors, lengths = _vectors(tokens, seen, pieces), np.array([len(each) for each in tokens])
        return cls(words, grams, pieces, word_counts, gram_counts, vectors, lengths, seen)

    def shown(self, rows: Rows) -> tuple[Vector, Vector]:
        """Which words and which runs of characters stand in at least two of these texts, as 0 or 1.

        A student that is trained on them would not know the others.
        """
        return _shown(self.word_counts[rows]), _shown(self.gram_counts[rows])

    def features(self, rows: Rows, shown: tuple[Vector, Vector]) -> Matrix:
        """The features of the linear model, shape (rows, words + grams + dimensions), each block of unit length."""
        from scipy import sparse

        blocks = [
            _weighted(self.word_counts[rows], self.words.idf, shown[0]),
            _weighted(self.gram_counts[rows], self.grams.idf, shown[1]),
            sparse.csr_matrix(self.vectors[rows]),
        ]
        return sparse.hstack(blocks, format="csr", dtype=np.float32)

    def known(self, rows: Rows, shown: tuple[Vector, Vector]) -> Vector:
        """The share of words of each text that are shown."""
        is_word = np.array([" " not in name for name in self.words.columns], dtype=np.float32)
        found = self.word_counts[rows] @ (is_word * shown[0])
        return np.asarray(found / np.maximum(self.lengths[rows], 1), dtype=np.float32)


def _counted(texts: Sequence[str], read: Reader) -> tuple[Vocabulary, Matrix]:
    from scipy import sparse

    found = [Counter(read(text)) for text in texts]
    vocabulary = Vocabulary.fit([list(each) for each in found])
    columns, data, ends = [], [], [0]
    for counts in found:
        for name, count in counts.items():
            column = vocabulary.columns.get(name)
            if column is not None:
                columns.append(column)
                data.append(count)
        ends.append(len(columns))
    shape = (len(texts), len(vocabulary.columns))
    return vocabulary, sparse.csr_matrix((np.array(data, dtype=np.float32), columns, ends), shape=shape)


def _shown(counts: Matrix) -> Vector:
    return np.asarray(np.bincount(counts.indices, minlength=counts.shape[1]) >= FEWEST_TEXTS, dtype=np.float32)


def _weighted(counts: Matrix, idf: Vector, shown: Vector) -> Matrix:
    """tf-idf, divided by the length as `orchestrator.students.linear_model` reckons it."""
    from scipy import sparse

    weights = idf * shown
    lengths = np.sqrt(np.maximum(counts @ (weights * weights), TINY))
    return sparse.diags(1.0 / lengths) @ counts @ sparse.diags(weights)


def _vectors(texts: Sequence[list[str]], words: Sequence[str], pieces: PieceTable) -> Vector:
    index, table = {word: at for at, word in enumerate(words)}, pieces.vectors(words)
    out = np.array([table[[index[token] for token in tokens]].sum(axis=0) for tokens in texts], dtype=np.float32)
    return np.asarray(out / np.maximum(np.sqrt(np.einsum("ij,ij->i", out, out)), TINY)[:, None])
