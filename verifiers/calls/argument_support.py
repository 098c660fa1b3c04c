"""How far the values in a text support another text: words by their stems, numbers by value, in any language.

Lexical, so that it costs microseconds: what a user said is what the arguments of a call are made of, mostly word for
word. Scripts without blanks are compared by pairs of characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from orchestrator.jsontypes import JsonValue
from orchestrator.verifiers.answers.moments import find_dates
from orchestrator.verifiers.answers.number_words import NUMBER_WORD, value_of_words
from orchestrator.verifiers.answers.numerals import read_numeral, simplified
from orchestrator.verifiers.answers.pattern import Pattern

MAX_CHARS = 20_000  # of a conversation that values are looked up in: its end
MAX_NUMBERS = 500
MIN_STEM = 4
_NUMBER = Pattern(r"(?<![\w.])[-+]?\.?\d")
_CAMEL = Pattern(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = Pattern(r"[^\W_]+")
_DENSE = Pattern(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_COMMON = frozenset(
    "a an and are as at be by can could do does for from get give has have how i if in is it its let like me my of on "
    "or please should so some tell than that the their them then there these this to us use using want was we what "
    "when where which who will with would you your "
    "der die das und ein eine ist von für mit im den dem des ich mir bitte wie was zu auf "
    "el la los las un una de del y en es por para con que me mi cuál "
    "le les un une des du et est pour avec dans que je moi quel quelle "
    "o os as um uma do da e em para com que eu "
    "и в на с по для что как мне я из".split()
)


@dataclass(frozen=True, slots=True)
class _Said:
    """What stands in one text: stems of its words, its numbers, dates as (month, day), and itself in small letters."""

    terms: frozenset[str]
    numbers: frozenset[Fraction]
    dates: frozenset[tuple[int | None, int | None]]
    text: str


class SaidTexts:
    """The texts that a model read before it called, in order: only the last 20,000 characters are looked at.

    Each text is read once, however often the conversation goes on.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def _said(self) -> list[_Said]:
        found: list[_Said] = []
        room = MAX_CHARS
        for text in reversed(self._texts):
            if room <= 0:
                break
            found.append(_read(text[-room:]))
            room -= len(text)
        return found

    def share_of(self, value: JsonValue) -> float | None:
        """How much of a value was said, in [0, 1]; `None` of one that says nothing (null, a flag, "")."""
        if value is None or isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return float(self._has_number(value))
        written = str(value)
        wanted, folded = terms_of(written), written.casefold()
        if not folded.strip():
            return None
        if any(folded in said.text for said in self._said):
            return 1.0
        if not wanted:
            return 0.0
        dates = {(each.month, each.day) for each in find_dates(written)}
        if any(dates & said.dates for said in self._said):
            return 1.0
        numbers = numbers_in(written)
        if numbers and len(wanted) <= len(numbers) and all(map(self._knows, numbers)):
            return 1.0
        return sum(any(term in said.terms for said in self._said) for term in wanted) / len(wanted)

    def _has_number(self, value: float) -> bool:
        try:
            exact = Fraction(str(value))
        except (ValueError, OverflowError):  # infinite, or none
            return False
        return any(map(self._knows, (exact, -exact, exact * 100, exact / 100)))  # 5 % is 0.05

    def _knows(self, number: Fraction) -> bool:
        return any(number in said.numbers for said in self._said)


@lru_cache(maxsize=2_048)
def _read(text: str) -> _Said:
    dates = frozenset((each.month, each.day) for each in find_dates(text))
    return _Said(terms_of(text), numbers_in(text), dates, text.casefold())


@lru_cache(maxsize=4_096)
def terms_of(text: str) -> frozenset[str]:
    """The stems of a text's words, common words left out; names written together are taken apart (`getUserName`)."""
    found: set[str] = set()
    for word in _WORD.findall(_CAMEL.sub(" ", text)):
        folded = word.casefold()
        if _DENSE.search(folded):
            found |= {folded[i : i + 2] for i in range(max(len(folded) - 1, 1))}
        elif folded not in _COMMON:
            found.add(_stem(folded))
    return frozenset(found)


def _stem(word: str) -> str:
    """A word without its ending: of words that share most of their letters the beginning is the same."""
    return word if not word.isalpha() or len(word) <= MIN_STEM else word[: max(MIN_STEM, len(word) - 3)]


@lru_cache(maxsize=2_048)
def numbers_in(text: str) -> frozenset[Fraction]:
    """All numbers of a text, by value: in digits of any script, with magnitudes ("100 million"), in English words."""
    text = simplified(text)
    found: set[Fraction] = set()
    end = 0
    for match in _NUMBER.finditer(text):
        if match.start() < end or len(found) >= MAX_NUMBERS:
            continue
        numeral = read_numeral(text, match.start())
        if numeral is None:
            continue
        found |= {numeral.value, abs(numeral.value), *numeral.others}
        end = numeral.end
    words = (value_of_words(match.group().strip(" -,.;:!?")) for match in NUMBER_WORD.finditer(text))
    return frozenset(found | {Fraction(value) for value in words if value is not None})
