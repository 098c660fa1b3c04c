"""Numbers in English words (forty-two) and Roman numerals."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from orchestrator.verifiers.answers.pattern import Pattern

_ONES = {
    w: n
    for n, w in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}


_TENS = {w: 10 * n for n, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}


_WORD_POWERS = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12}


_NUMBER_WORDS = "|".join([*_ONES, *_TENS, *_WORD_POWERS, "a hundred", "a thousand", "a dozen", "dozen"])


NUMBER_WORD = Pattern(
    rf"(?:minus |negative )?(?:(?:{_NUMBER_WORDS})\b(?:[\s-]+(?:and[\s-]+)?|$|(?=\W)))+",
    re.IGNORECASE,
)


ROMAN = Pattern(r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?![\w])")


FRACTION_WORD = Pattern(
    r"(?P<top>a|an|one|two|three|four|five|six|seven|eight|nine)?[\s-]*(?P<bottom>half|halves|thirds?|quarters?"
    r"|fourths?|fifths?|sixths?|eighths?|tenths?)\b(?:\s+an?\b|\s+of\s+an?\b)?",
    re.IGNORECASE,
)
_PARTS = {"hal": 2, "thi": 3, "qua": 4, "fou": 4, "fif": 5, "six": 6, "eig": 8, "ten": 10}


def value_of_fraction(found: re.Match[str]) -> Fraction | None:
    """Two thirds, half, three quarters; `None` for an ordinal (the third)."""
    top, bottom = (found["top"] or "").lower(), found["bottom"].lower()
    if not top and bottom not in ("half", "quarter"):
        return None
    return Fraction(_ONES.get(top, 1), _PARTS[bottom[:3]])


def value_of_words(text: str) -> int | None:
    """One hundred and five, forty-two, three dozen: the integer; `None` for other words."""
    total = current = 0
    seen = False
    lowered = text.lower().replace("-", " ").split()
    is_negative = lowered[:1] in (["minus"], ["negative"])
    for word in lowered[is_negative:]:
        if word in ("and", "a"):
            continue
        seen = True
        if word == "dozen":
            current = max(current, 1) * 12
        elif word in _ONES:
            current += _ONES[word]
        elif word in _TENS:
            current += _TENS[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _WORD_POWERS:
            total += max(current, 1) * _WORD_POWERS[word]
            current = 0
        else:
            return None
    return (-(total + current) if is_negative else total + current) if seen else None


@lru_cache(maxsize=256)
def value_of_roman(text: str) -> int:
    """The integer of a Roman numeral in capitals."""
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1_000}[c] for c in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))
