"""What memory may give a query beside what its conversation holds already."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecallLimits:
    """Limits of one recall.

    Args:
        tokens: How many tokens the notes may fill.
        without: Ids of records that the prompt holds already.
        min_relevance: P(relevant) in [0, 1] below which a record of 160 characters is not worth its tokens.
    """

    tokens: int
    without: frozenset[int] = frozenset()
    min_relevance: float = 0.0
