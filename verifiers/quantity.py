"""Numbers with units: 0.54 km is 540 m. Rare units are those of pint (extra `math`)."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from orchestrator.verifiers.answers.final_answer import final_answer_text
from orchestrator.verifiers.answers.number import numbers_equal, parse_quantity
from orchestrator.verifiers.answers.quantities import compare_quantities
from orchestrator.verifiers.answers.reading import hints_of, read_number
from orchestrator.verifiers.answers.value_types import Quantity
from orchestrator.verifiers.verdict import Verdict

_NUMBER = r"[-+−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+−]?\d{1,30}(?:\.\d{1,30})?"
_FACTOR = r"[A-Za-zµμ°Ω%_]{1,30}(?:(?:\^|\*\*)-?\d{1,2}(?![\d^*])|[²³])?"
_UNIT = rf"{_FACTOR}(?:(?:\s?[*/·]\s?|\s){_FACTOR}){{0,5}}"
_QUANTITY = re.compile(rf"({_NUMBER})(?:\s?[x×]\s?10\^?\{{?(-?\d{{1,3}})\}}?|[eE]([-+]?\d{{1,3}}))?\s?({_UNIT})")
MAX_CHARS, MAX_EXPONENT = 5_000, 200
MAX_WORDS = 4  # of a unit, beginning with the first word behind a number


class QuantityVerifier:
    """Passes answers whose final quantity equals `expected` ("540 m") in whatever unit of the same dimension, up to
    `relative_tolerance`.

    Decisive. Fails another value and a unit of another dimension. Abstains where no number is stated for sure, where a
    number has no unit and the question names none, and where a unit is known neither here nor to pint (extra `math`).
    Raises `ValueError` on an expected quantity that is none.
    """

    name = "quantity"

    def __init__(self, expected: str, *, relative_tolerance: float = 1e-3) -> None:
        self._own = parse_quantity(expected)
        if (self._own is None or self._own.unit is None) and _QUANTITY.search(expected) is None:
            raise ValueError(f"not a number with a unit: {expected!r}")
        self._expected, self._tolerance = expected, relative_tolerance

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares the quantity that the answer states with the expected one, in any unit."""
        if (
            self._own is not None
            and self._own.unit is not None
            and (found := read_number(candidate, query)) is not None
        ):
            return self._compared(found, self._own, query)
        if not any(map(str.isdigit, candidate)):
            return Verdict.abstain(self.name, "the answer holds no number")
        if self._own is not None and self._own.unit is not None:
            return Verdict.abstain(self.name, "no quantity is stated for sure")
        if find_spec("pint") is None:
            return Verdict.abstain(
                self.name, "its unit is not known; pint knows more: pip install 'compound-orchestrator[math]'"
            )
        return await asyncio.to_thread(self._judged_by_pint, candidate)

    def _compared(self, found: Quantity, expected: Quantity, query: str) -> Verdict:
        same = compare_quantities(found, expected, hints_of(query))
        is_close = (
            found.unit is not None
            and expected.unit is not None
            and found.unit.dimension == expected.unit.dimension
            and numbers_equal(found.base, expected.base, relative_tolerance=self._tolerance)
        )
        if same.verdict == "unknown" and not is_close:
            return Verdict.abstain(self.name, f"it may be {self._expected}: {same.reason}")
        passed = bool(same) or is_close
        return Verdict(
            self.name,
            float(passed),
            passed,
            "" if passed else f"it is not {self._expected}: {same.reason}",
            decisive=True,
        )

    def _judged_by_pint(self, candidate: str) -> Verdict:
        expected = find_quantity(self._expected)
        if expected is None:
            return Verdict.abstain(self.name, f"the unit of {self._expected!r} is not known")
        marked = final_answer_text(candidate)
        text = (marked if marked is not None else candidate)[-MAX_CHARS:]
        found = find_quantity(text)
        if found is None:
            return Verdict.abstain(self.name, "the answer gives no unit that is known")
        if not found.is_compatible_with(expected):
            return Verdict(
                self.name,
                0.0,
                False,
                f"{found:~} is not of the dimension that is asked for",
                (f"{found:~}",),
                decisive=True,
            )
        value, wanted = found.to(expected.units).magnitude, expected.magnitude
        passed = abs(value - wanted) <= self._tolerance * max(abs(value), abs(wanted))
        return Verdict(
            self.name, float(passed), passed, "" if passed else f"it is not {found:~}", (f"{found:~}",), decisive=True
        )


def find_quantity(text: str) -> Any | None:
    """The last number with a known unit in a text, as a pint quantity, or `None`.

    Reads `5.4e2 m`, `5.4 x 10^2 m` and `9.81 m/s^2`.
    """
    for match in reversed(list(_QUANTITY.finditer(text))):
        exponent = int(match[2] or match[3] or 0)
        unit = _unit(match[4])
        if unit is not None and abs(exponent) < MAX_EXPONENT:
            return _registry().Quantity(float(match[1].replace(",", "").replace("−", "-")) * 10.0**exponent, unit)
    return None


def _unit(text: str) -> Any | None:
    """The unit that a text begins with.

    The longest beginning that is one ("meters per second in all" is meters per second).
    """
    words = re.sub(r"\s?\bper\s", "/", text).split()[:MAX_WORDS]
    for end in range(len(words), 0, -1):
        written = (
            " ".join(words[:end])
            .replace("°", "deg")
            .replace("²", "**2")
            .replace("³", "**3")
            .replace("·", "*")
            .replace("^", "**")
        )
        try:
            unit = _registry().parse_units(written)
        except Exception:  # pint raises of every kind on text that is no unit
            continue
        if not unit.dimensionless or written in ("%", "percent"):
            return unit
    return None


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # optional: extra `math`

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)
