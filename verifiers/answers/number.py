"""Numbers in answers: finding the final one, reading it exactly, and comparing it with a known value."""

from __future__ import annotations

from fractions import Fraction

from orchestrator.verifiers.answers.quantities import compare_quantities
from orchestrator.verifiers.answers.reading import hints_of, read_number
from orchestrator.verifiers.answers.value_types import Hints, Quantity
from orchestrator.verifiers.answers.values import prepared, quantities_in, read_value
from orchestrator.verifiers.verdict import Verdict

TAIL_CHARS = 20_000


def parse_number(text: str) -> Fraction | None:
    """The exact value of a text that is one number, or `None` if it is anything else.

    Reads separators of many countries, currency signs, a percent sign (kept at face value: `25%` is 25, as graders do),
    powers of ten, magnitudes (`5 million`), simple, mixed and LaTeX fractions and a trailing unit (`540 meters`).
    Numbers of over 400 digits are not read.
    """
    quantity = parse_quantity(text)
    return None if quantity is None else quantity.number.value


def parse_quantity(text: str) -> Quantity | None:
    """The number with its unit that a text is as a whole, or `None`."""
    said = prepared(text)
    value, end = read_value(said, Hints(is_numeric=True))
    rest = said[end:].strip(" .!*")
    if not isinstance(value, Quantity) or (rest and not (value.noun and rest.lower() == value.noun)):
        return None
    return value


def find_number(text: str) -> Fraction | None:
    """The last number in a text (where worked solutions put their result), or `None`."""
    found = quantities_in(prepared(text[-TAIL_CHARS:]), Hints())
    return found[-1][0].number.value if found else None


def numbers_equal(a: Fraction, b: Fraction, *, relative_tolerance: float = 1e-6) -> bool:
    """Equal up to rounding: |a - b| <= tolerance x max(|a|, |b|)."""
    return abs(a - b) <= Fraction(relative_tolerance) * max(abs(a), abs(b))


class NumericVerifier:
    """Passes a candidate whose final number equals a known value, which may have a unit ("3.5 km").

    Units are converted.

    Decisive. Abstains where no number is stated for sure (several are, or what is stated is a formula), and where a
    unit stands beside a bare number that the question does not explain.
    """

    name = "numeric"

    def __init__(self, expected: str | int | float, *, relative_tolerance: float = 1e-6) -> None:
        value = parse_quantity(str(expected))
        if value is None:
            raise ValueError(f"expected value {expected!r} is not a number")
        self._expected = value
        self._tolerance = relative_tolerance

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares the number that the answer states with the expected one."""
        found = read_number(candidate, query)
        if found is None:
            return Verdict.abstain(
                self.name,
                "no number is stated for sure" if any(map(str.isdigit, candidate)) else "the answer holds no number",
            )
        same = compare_quantities(found, self._expected, hints_of(query))
        is_close = found.unit == self._expected.unit and _is_close(
            found.number.value, self._expected.number.value, self._tolerance
        )
        if same.verdict == "unknown" and not is_close:
            return Verdict.abstain(self.name, f"{_show(found.number.value)} may be it: {same.reason}")
        passed = bool(same) or is_close
        feedback = (
            ""
            if passed
            else f"the final number is {_show(found.number.value)}, not {_show(self._expected.number.value)}"
        )
        return Verdict(self.name, float(passed), passed, feedback, (_show(found.number.value),), decisive=True)


def _is_close(a: Fraction, b: Fraction, tolerance: float) -> bool:
    """Equal up to rounding; integers are not rounded."""
    return a == b or (not a.denominator == b.denominator == 1 and numbers_equal(a, b, relative_tolerance=tolerance))


def _show(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
