"""The shipped static embedding as a student carries it: inside its own file, so that no upgrade changes its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.vocabulary import Vector
from orchestrator.text.word_vectors import load_word_vectors
from orchestrator.text.wordpiece import WordPiece


@dataclass(frozen=True)
class PieceTable:
    """Vectors of word pieces, as signed bytes with one scale a row.

    Attributes:
        vocabulary: The pieces, joined by line breaks, as UTF-8.
        rows: Shape (pieces, dimensions), int8.
        scales: Shape (pieces,), what a row is multiplied by.
    """

    vocabulary: bytes
    rows: NDArray[np.int8]
    scales: NDArray[np.float16]
    _wordpiece: WordPiece = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wordpiece", WordPiece(self.vocabulary.decode().split("\n")))

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.rows.shape[1])

    def vectors(self, words: Sequence[str]) -> Vector:
        """The sum of the vectors of each word's pieces, not normalised, shape (words, dimensions).

        Zeros for a word that is not known.
        """
        found = [self._wordpiece.ids(word) for word in words]
        ids = [*chain.from_iterable(found)]
        out = np.zeros((len(words), self.dimensions), dtype=np.float32)
        if not ids:
            return out
        rows = self.rows[ids].astype(np.float32) * self.scales[ids].astype(np.float32)[:, None]
        known = [at for at, pieces in enumerate(found) if pieces]
        starts = [0, *accumulate(len(found[at]) for at in known[:-1])]
        out[known] = np.add.reduceat(rows, starts)
        return out


@lru_cache(maxsize=1)
def shipped_pieces() -> PieceTable:
    """The table that comes with the package (all-MiniLM-L6-v2's vocabulary in 256 dimensions)."""
    words = load_word_vectors()
    vectors = words.rows * words.scales
    scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 1e-7).astype(np.float16)
    return PieceTable(words.vocabulary, np.rint(vectors / scales[:, None]).clip(-127, 127).astype(np.int8), scales)
