"""What is found out about a question once, for all answers to it."""

from __future__ import annotations

import re
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


_WANTS_TEXT = re.compile(
    r"\b(why|how (do|does|did|can|could|should|would|to|come)|explain|describe|discuss|compare|summari[sz]e|write|"
    r"compose|draft|translate|rewrite|rephrase|code|poem|story|essay|e-?mail|letter|program|function|script)\b",
    re.IGNORECASE,
)
_WANTS_VALUE = re.compile(
    r"\b(calculate|compute|solve|evaluate|simplify|convert|determine|how (many|much|long|old|far|tall|often|big)|"
    r"when|who|which|what (is|are|was|were|year|date|number|percentage))\b",
    re.IGNORECASE,
)


@once_a_question
def asks_for_value(question: str) -> bool:
    """Whether the answer is probably a number, a date, a name or a choice, which verifiers read from its last line.

    It is a guess by the words of the question, English ones beside question marks of any script; a text that is to be
    written is none.
    """
    if re.search(r"(?m)^\s*\(?[A-J][.):]\s", question):  # options to choose from
        return True
    end = question.rstrip()[-400:]
    if _WANTS_TEXT.search(end):
        return False
    return end.endswith(("?", "？", "؟")) or _WANTS_VALUE.search(end) is not None
