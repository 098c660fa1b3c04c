"""A query as a sparse vector: hashed word 1-2-grams with sub-linear term frequency (length 1), and a few surface features."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 13
MAX_CHARS = 20_000
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]", re.UNICODE)
_CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+|[{};]\s*$|=>|\breturn\b|#include|\bSELECT\b.+\bFROM\b", re.MULTILINE)
_MATHS = re.compile(
    r"\\(?:frac|sqrt|sum|int)\b|[=<>]\s*-?\d|\d\s*[-+*/^]\s*\d|\b(?:integral|derivative|equation|prove|theorem|modulo)\b", re.IGNORECASE
)
_OPTION = re.compile(r"^\s*\(?[A-J][).:]\s", re.MULTILINE)
_REASON = re.compile(r"\b(?:why|explain|prove|derive|compare|analy[sz]e|design|step by step|argue|critique)\b", re.IGNORECASE)
SURFACE = (
    "log_words",
    "digit_share",
    "numbers",
    "code",
    "maths",
    "questions",
    "options",
    "reasoning",
    "non_ascii",
    "upper_share",
    "mean_word_length",
    "sentences",
    "constant",
)
DIMENSIONS = BUCKETS + len(SURFACE)


@dataclass(frozen=True, slots=True)
class Features:
    """Indices (int64) and values (float32) of the non-zero features of one query, in a space of `DIMENSIONS`."""

    indices: NDArray[np.int64]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, text: str) -> Features:
        """Features of `text`; of very long texts the first and last 10,000 characters are read."""
        if len(text) > MAX_CHARS:
            text = text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
        words = _WORD.findall(text.lower())
        counts: dict[int, float] = {}
        for gram in _grams(words):
            bucket = zlib.crc32(gram.encode("utf-8", "replace")) % BUCKETS
            counts[bucket] = counts.get(bucket, 0.0) + 1.0
        weights = np.fromiter((1.0 + math.log(c) for c in counts.values()), dtype=np.float32, count=len(counts))
        length = float(np.linalg.norm(weights)) or 1.0
        indices = np.concatenate([np.fromiter(counts.keys(), dtype=np.int64, count=len(counts)), np.arange(BUCKETS, DIMENSIONS)])
        return cls(indices, np.concatenate([weights / length, _surface(text, words)]).astype(np.float32))

    def clipped(self, bounds: NDArray[np.float32]) -> Features:
        """The same features with the surface ones kept inside `bounds`, shape (2, len(SURFACE)): no extrapolation beyond what was seen."""
        values = self.values.copy()
        np.clip(values[-len(SURFACE) :], bounds[0], bounds[1], out=values[-len(SURFACE) :])
        return Features(self.indices, values)

    def dot(self, weights: NDArray[np.float32]) -> float:
        return float(weights[self.indices] @ self.values)


def _grams(words: list[str]) -> Iterable[str]:
    # Numbers are told apart by their length only: 17 and 23 say the same about difficulty, 17 and 170,000 do not.
    plain = [f"<{len(word)}>" if word[0].isdigit() else word for word in words]
    yield from plain
    for first, second in pairwise(plain):
        yield f"{first} {second}"


def _surface(text: str, words: list[str]) -> NDArray[np.float32]:
    """The features named in `SURFACE`, each scaled to about [0, 1]."""
    n_chars, n_words = max(len(text), 1), max(len(words), 1)
    values = (
        math.log1p(n_words) / 8,
        sum(c.isdigit() for c in text) / n_chars,
        min(sum(word[0].isdigit() for word in words), 20) / 20,
        float(bool(_CODE.search(text))),
        float(bool(_MATHS.search(text))),
        min(text.count("?"), 5) / 5,
        min(len(_OPTION.findall(text)), 10) / 10,
        float(bool(_REASON.search(text))),
        sum(not c.isascii() for c in text) / n_chars,
        sum(c.isupper() for c in text) / n_chars,
        min(sum(map(len, words)) / n_words, 12) / 12,
        min(text.count(". ") + text.count("\n"), 40) / 40,
        1.0,
    )
    return np.array(values, dtype=np.float32)
