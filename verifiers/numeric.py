"""Numbers in answers: finding the final one, reading it exactly, and comparing two of them."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.verdict import Verdict

_NUMBER = re.compile(
    r"""(?<![\w.])[-+−]?\s?(?:[$€£¥]\s?)?
        (?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)   # 1,234.5 | 12.5 | .5
        (?:[eE][-+]?\d{1,3})?
        (?:\s?/\s?\d+(?![\d.,/]*\d))?                           # 3/4
        (?!\w*\d)""",
    re.VERBOSE,
)
_LATEX_FRACTION = re.compile(r"(-?)\\d?frac\{(-?\d+)\}\{(\d+)\}")
MAX_DIGITS = 400


def parse_number(text: str) -> Fraction | None:
    """The exact value of a text that is one number, or `None` if it is anything else.

    Reads thousands separators, a currency sign, a percent sign (kept at face value: `25%` is 25, as graders do), scientific
    notation, simple and LaTeX fractions and a trailing unit word (`540 meters`). Numbers of over 400 digits are not read.
    """
    cleaned = _LATEX_FRACTION.sub(r"\1\2/\3", text.strip().strip("*`'\"$ ")).replace("\\%", "%").replace("\\$", "$")
    cleaned = cleaned.strip().rstrip(".")
    match = _NUMBER.match(cleaned)
    if match is None or len(match.group()) > MAX_DIGITS:
        return None
    rest = cleaned[match.end() :].strip()
    if rest and not re.fullmatch(r"%|°?[A-Za-zµ°²³/$€£¥ .%-]{1,40}", rest):
        return None
    return _value(match.group())


def find_number(text: str) -> Fraction | None:
    """The last number in a text (where worked solutions put their result), or `None`."""
    for match in reversed(list(_NUMBER.finditer(_LATEX_FRACTION.sub(r"\1\2/\3", text[-20_000:])))):
        if len(match.group()) <= MAX_DIGITS and (value := _value(match.group())) is not None:
            return value
    return None


def numbers_equal(a: Fraction, b: Fraction, *, relative_tolerance: float = 1e-6) -> bool:
    """Equal up to rounding: |a - b| <= tolerance x max(|a|, |b|)."""
    return abs(a - b) <= Fraction(relative_tolerance) * max(abs(a), abs(b))


def _value(token: str) -> Fraction | None:
    digits = re.sub(r"[\s,$€£¥]", "", token).replace("−", "-")
    try:
        if "/" in digits:
            numerator, denominator = digits.split("/")
            return Fraction(numerator) / Fraction(denominator)
        return Fraction(digits)
    except (ValueError, ZeroDivisionError):
        return None


class NumericVerifier:
    """Passes a candidate whose final number equals a known value; abstains when the candidate holds no number."""

    name = "numeric"

    def __init__(self, expected: str | int | float, *, relative_tolerance: float = 1e-6) -> None:
        value = parse_number(str(expected))
        if value is None:
            raise ValueError(f"expected value {expected!r} is not a number")
        self._expected = value
        self._tolerance = relative_tolerance

    async def verify(self, query: str, candidate: str) -> Verdict:
        from verifiers.equivalence import final_answer_text

        final = final_answer_text(candidate)
        found = parse_number(final) if final is not None else None
        if found is None:
            found = find_number(final if final is not None else candidate)
        if found is None:
            return Verdict.abstain(self.name, "the answer holds no number")
        passed = numbers_equal(found, self._expected, relative_tolerance=self._tolerance)
        feedback = "" if passed else f"the final number is {_show(found)}, not {_show(self._expected)}"
        return Verdict(self.name, float(passed), passed, feedback, (_show(found),), decisive=True)


def _show(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
