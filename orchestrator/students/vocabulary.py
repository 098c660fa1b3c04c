"""What of a text becomes a feature: words, pairs of neighbours, and runs of characters inside words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.tokens import tokens_of

Vector = NDArray[np.float32]
FEWEST_TEXTS = 2  # that a feature stands in
MAX_WORD_CHARS = 40  # longer ones (addresses, base64) say nothing by their inside
MAX_FEATURES = 200_000  # of each kind: the most frequent ones


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Features by name, and the weight of each: log inverse document frequency (Salton & Buckley 1988), smoothed."""

    columns: dict[str, int]
    idf: Vector

    @classmethod
    def fit(cls, texts: Iterable[Sequence[str]]) -> Vocabulary:
        """The features that at least two texts hold, in alphabetical order."""
        seen: Counter[str] = Counter()
        n = 0
        for features in texts:
            seen.update(set(features))
            n += 1
        common = [(name, count) for name, count in seen.items() if count >= FEWEST_TEXTS]
        kept = sorted(sorted(common, key=lambda pair: (-pair[1], pair[0]))[:MAX_FEATURES])
        idf = np.array([np.log((1 + n) / (1 + count)) + 1.0 for _, count in kept], dtype=np.float32)
        return cls({name: column for column, (name, _) in enumerate(kept)}, idf)


def words_and_pairs(text: str) -> list[str]:
    """Each word, and each pair of neighbours."""
    tokens = tokens_of(text)
    return [*tokens, *map(" ".join, pairwise(tokens))]


def grams_in(text: str) -> list[str]:
    """Runs of three and four characters inside each word; a blank stands for the word's edges."""
    return [gram for token in tokens_of(text) for gram in grams_of(token)]


def grams_of(word: str) -> list[str]:
    """The runs of characters of one word."""
    edged = f" {word[:MAX_WORD_CHARS]} "
    grams = [edged[at : at + 3] for at in range(len(edged) - 2)]
    grams += [edged[at : at + 4] for at in range(len(edged) - 3)]
    return grams


Reader = Callable[[str], list[str]]
