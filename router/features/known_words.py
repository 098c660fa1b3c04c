"""The words of the training queries: a query of words that hardly any of them holds is in another language or trade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

USUAL = 0.1  # one text in ten that was left out holds a smaller share of known words than is usual
FADING = 2


class KnownWords:
    """`known` are words that at least two training queries hold.

    `usual` is the share of known words that nine in ten queries reach that were left out.
    """

    def __init__(self, known: Iterable[str], usual: float) -> None:
        self._known = frozenset(known)
        self._usual = usual

    @classmethod
    def fit(cls, kept: Sequence[list[str]], left_out: Sequence[list[str]]) -> KnownWords:
        """From the words of queries, and of others that were left out."""
        texts = Counter(word for words in kept for word in set(words))
        known = cls((word for word, count in texts.items() if count > 1), 1.0)
        shares = [known._share(words) for words in left_out]
        return cls(known._known, float(np.quantile(shares, USUAL)) if len(shares) >= 5 else 0.0)

    @classmethod
    def from_arrays(cls, words: NDArray[np.uint8], usual: NDArray[np.float64]) -> KnownWords:
        """What `as_arrays` gave."""
        return cls(bytes(words).decode().split("\n"), float(usual))

    def as_arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The words as UTF-8, one a line, and the usual share."""
        named = "\n".join(sorted(self._known)).encode("utf-8", "ignore")
        return np.frombuffer(named, dtype=np.uint8), np.array(self._usual)

    def familiarity(self, words: list[str]) -> float:
        """1 for a query of known words, towards 0 for one of none."""
        return min(self._share(words) / (self._usual or 1e-9), 1.0) ** FADING

    def _share(self, words: list[str]) -> float:
        present = set(words)
        unknown = [word for word in present - self._known if not word[0].isdigit()]  # numbers are strange to nobody
        return 1.0 - len(unknown) / len(present) if present else 1.0
