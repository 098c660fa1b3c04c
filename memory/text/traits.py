"""What a text is like, whatever is asked: a question, or a statement about oneself, with names and numbers.

Computed once, when it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.memory.text.words import words_in

MAX_NAMES = 3
_NAME = re.compile(r"(?<=[^\s.!?] )[A-Z][^\W\d_]+")
_PERSONAL = frozenset(
    "i my mine me we our us ich mein meine meinen wir unser je mon nous notre yo nosotros nuestro nuestra eu meu minha "
    "nosso nossa я мой моя мое мы наш наша 我 我们 我的 私 僕 俺 私の 僕の 俺の".split()
)
_STATEMENT = re.compile(r"[^.!?。！？؟]+[.!。！]")
_ASKING = ("?", "？", "؟", "吗", "嗎", "呢", "か。", "ですか", "ますか")
_DIGIT = re.compile(r"\d")
_NUMBERS = frozenset(
    "two three four five six seven eight nine ten eleven twelve once twice dozen half hundred thousand".split()
)
MAX_CHARS, MAX_WORDS = 2_000, 400


class Traits(NamedTuple):
    """`asks`: 1 if it ends with a question (a bracketed remark aside), 2 if it says little else.

    `names`: capitalised words inside sentences, at most 3. `numbers`: has any. `personal`: speaks of oneself (I, my,
    we).
    """

    asks: int
    names: int
    numbers: bool
    personal: bool


def traits_of(text: str, words: Sequence[str] | None = None) -> Traits:
    """Reads the first and the last 2,000 characters, or the `words` of the whole text where these are known."""
    head, tail = text[:MAX_CHARS], text[-MAX_CHARS:].rstrip()
    known = set(words_in(head) if words is None else words[:MAX_WORDS])
    if tail.endswith("]"):
        tail = tail[: max(tail.rfind("["), 0)]
    names = sum(1 for _, _ in zip(range(MAX_NAMES), _NAME.finditer(head), strict=False))
    tail = tail.rstrip()
    asks = 0
    if tail.endswith(_ASKING):
        stated = sum(len(part) for part in _STATEMENT.findall(tail))
        asks = 2 if stated <= len(tail) // 3 else 1
    return Traits(
        asks, names, not known.isdisjoint(_NUMBERS) or _DIGIT.search(head) is not None, not known.isdisjoint(_PERSONAL)
    )
