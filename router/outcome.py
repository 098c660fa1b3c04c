"""Graded answers: what a router learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """One graded answer: `score` in [0, 1].

    `weight` in (0, 1] is how much the grader is trusted (see `reliability_weight`).

    `output_tokens` is how long the answer was and `answer` its text, where they are known.
    """

    query: str
    model: str
    score: float
    weight: float = 1.0
    output_tokens: float | None = None
    answer: str | None = None

    def check(self) -> None:
        """Raises `ValueError` on a score or weight out of range."""
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(
                f"outcome of {self.model!r} on {self.query[:40]!r}: score {self.score!r} is not a number in [0, 1]"
            )
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(
                f"outcome of {self.model!r} on {self.query[:40]!r}: weight {self.weight!r} is not a number in (0, 1]"
            )


def reliability_weight(accuracy: float) -> float:
    """What an outcome is worth whose grader is right with probability `accuracy` in [0, 1].

    1 for a certain one, 0 for a coin.

    (2a - 1)^2, the information that a symmetric noisy label keeps about a balanced one, to first order.
    """
    if not 0.0 <= accuracy <= 1.0:
        raise ValueError(f"accuracy must lie in [0, 1], not {accuracy!r}")
    return (2.0 * accuracy - 1.0) ** 2


def query_hashes(queries: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit hashes of the queries, in order."""
    digests = b"".join(hashlib.blake2b(query.encode("utf-8", "replace"), digest_size=8).digest() for query in queries)
    return np.frombuffer(digests, dtype=np.uint64)
