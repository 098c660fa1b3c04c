"""What is found out about a question once, for all answers to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
END_CHARS = 8_000  # of a long question: its first and its last so many are looked at
KEPT = 512


def once_a_question(function: Callable[[str], T]) -> Callable[[str], T]:
    """Keeps what `function` found for the latest 512 questions.

    Of a question of more than 16,000 characters (with a document in it, say) it sees the first and the last 8,000, so
    that neither time nor memory grows with it.
    """
    kept = lru_cache(maxsize=KEPT)(function)

    @wraps(function)
    def found(question: str) -> T:
        return kept(question if len(question) <= 2 * END_CHARS else f"{question[:END_CHARS]}\n{question[-END_CHARS:]}")

    return found
