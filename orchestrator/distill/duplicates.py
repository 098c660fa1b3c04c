"""Texts that say the same twice, and texts of evaluation sets: neither may be learned from."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import ConfigError
from orchestrator.students.tokens import tokens_of

SHINGLE = 5  # characters
PERMUTATIONS = 128
LONG_RUN = 8  # words: who shares so many in a row with an evaluation text has seen it
SHARED_WORDS = 1 / 3


def plain(text: str) -> str:
    """A text as it is compared: compatibility forms, case and blanks do not count."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def exact_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text, the index of the first that is equal to it: its own where it is the first."""
    first: dict[str, int] = {}
    return [first.setdefault(plain(text), at) for at, text in enumerate(texts)]


def near_duplicates(texts: Sequence[str], similarity: float) -> list[int]:
    """For each text, the index of an earlier one that it is nearly equal to, else its own.

    MinHash with locality-sensitive hashing (Broder 1997; the package datasketch) finds candidates, the exact Jaccard
    similarity of their runs of five characters decides.

    Raises `ConfigError` where the extra `train` is missing.
    """
    try:
        from datasketch import MinHash, MinHashLSH  # extra `train`
    except ImportError:
        raise ConfigError(
            "near duplicates need the package datasketch", remedy="pip install 'compound-orchestrator[train]'"
        ) from None
    index: Any = MinHashLSH(threshold=max(similarity - 0.1, 0.4), num_perm=PERMUTATIONS)
    shingles = [_shingles(plain(text)) for text in texts]
    found = list(range(len(texts)))
    for at, own in enumerate(shingles):
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([each.encode("utf-8", "surrogatepass") for each in sorted(own)])
        alike = [int(other) for other in index.query(sketch) if _jaccard(own, shingles[int(other)]) >= similarity]
        if alike:
            found[at] = min(alike)
        else:
            index.insert(str(at), sketch)
    return found


class EvaluationTexts:
    """The texts of evaluation sets, and how near another text comes to them.

    Args:
        texts: Of the sets.
        max_similarity: The cosine of static vectors from which on two texts that share a third of their words are one.
    """

    def __init__(self, texts: Sequence[str], max_similarity: float) -> None:
        self._plain = {plain(text) for text in texts}
        self._words = [tokens_of(text) for text in texts]
        self._runs: set[tuple[str, ...]] = {run for words in self._words for run in _runs(words)}
        self._vectors = _vectors(self._words)
        self._max = max_similarity

    def why_seen(self, texts: Sequence[str]) -> list[str]:
        """For each text, how it repeats an evaluation text; empty where it does not."""
        words = [tokens_of(text) for text in texts]
        vectors = _vectors(words)
        return [self._why(text, own, vector) for text, own, vector in zip(texts, words, vectors, strict=True)]

    def _why(self, text: str, words: Sequence[str], vector: NDArray[np.float32]) -> str:
        if plain(text) in self._plain:
            return "it stands in an evaluation set"
        if any(run in self._runs for run in _runs(words)):
            return f"it shares {LONG_RUN} words in a row with an evaluation set"
        if not len(self._vectors):
            return ""
        likeness = self._vectors @ vector
        for at in np.flatnonzero(likeness >= self._max):
            own, other = set(words), set(self._words[at])
            if len(own & other) >= SHARED_WORDS * max(len(own | other), 1):
                return "it is nearly a text of an evaluation set"
        return ""


def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[at : at + SHINGLE] for at in range(max(len(text) - SHINGLE + 1, 1)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + LONG_RUN]) for at in range(len(words) - LONG_RUN + 1)]


def _vectors(texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    from orchestrator.students.piece_table import shipped_pieces

    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    pieces = shipped_pieces()
    out = np.array([pieces.vectors(words).sum(axis=0) for words in texts], dtype=np.float32)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1), 1e-12)[:, None])


def conflicts(keys: Sequence[int], labels: Sequence[str]) -> set[int]:
    """The keys under which more than one label stands: equal texts that were answered differently."""
    seen: dict[int, set[str]] = defaultdict(set)
    for key, label in zip(keys, labels, strict=True):
        seen[key].add(label)
    return {key for key, found in seen.items() if len(found) > 1}
