"""Text to vectors without a network: a static embedding (model2vec's method), tens of microseconds a text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.text.scripts import MARKED
from orchestrator.text.word_vectors import WORD_VECTORS, load_word_vectors
from orchestrator.text.wordpiece import WordPiece

Vectors = NDArray[np.float32]
MAX_ENCODED_CHARS = 20_000


class StaticEncoder:
    """Mean of token vectors that were trained to come close to a sentence encoder's (after model2vec: Tulkens & van
    Dongen 2024).

    The shipped weights are learned from all-MiniLM-L6-v2, and for words of other languages from multilingual-e5-small,
    carried into the same space: 256 dimensions, in the form of `word_vectors`; `python -m
    orchestrator.memory.training.distill` makes them. Only the first 20,000 characters of a text are read.
    """

    def __init__(self, weights: str | Path = WORD_VECTORS) -> None:
        words = load_word_vectors(weights)
        self._rows, self._scales = words.rows, words.scales
        self._wordpiece = WordPiece(words.vocabulary.decode("utf-8").split("\n"))
        self.dimensions = int(self._rows.shape[1])
        content = hashlib.sha256(words.vocabulary + self._scales.tobytes() + self._rows.tobytes())
        self.fingerprint = f"static:{content.hexdigest()[:16]}:{self.dimensions}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of texts, shape (texts, dimensions), float32; a text without known words is all zeros."""
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            self._write(self._wordpiece.ids(text[:MAX_ENCODED_CHARS]), row)
        return out

    def encode_split(self, texts: Sequence[str], words: Sequence[list[str]]) -> Vectors:
        """As `encode`, faster, where somebody has cut the texts into `words` already.

        Texts whose words may be cut between a letter and its marks, or have no spaces, are read anew.
        """
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text, parts in zip(out, texts, words, strict=True):
            is_cut_well = text.isascii() or MARKED.search(text) is None
            self._write(self._wordpiece.ids_of(parts) if is_cut_well else self._wordpiece.ids(text), row)
        return out

    def _write(self, ids: list[int], row: Vectors) -> None:
        """Writes the unit vector of pieces to `row`, which holds zeros."""
        if ids:
            at = np.array(ids)
            np.matmul(np.ones(len(at), np.float32), self._rows.take(at, axis=0).astype(np.float32), out=row)
            row *= self._scales
            row /= max(math.sqrt(row @ row), 1e-12)


@lru_cache(maxsize=1)
def static_encoder() -> StaticEncoder:
    """The shipped encoder, read once a process: it is immutable."""
    return StaticEncoder()
