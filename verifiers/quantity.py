"""Numbers with units: 0.54 km is 540 m (units by pint, extra `math`)."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from verifiers.answers.final_answer import final_answer_text
from verifiers.verdict import Verdict

_NUMBER = r"[-+−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+−]?\d{1,30}(?:\.\d{1,30})?"
_FACTOR = r"[A-Za-zµμ°Ω%_]{1,30}(?:(?:\^|\*\*)-?\d{1,2}(?![\d^*])|[²³])?"
_UNIT = rf"{_FACTOR}(?:(?:\s?[*/·]\s?|\s){_FACTOR}){{0,5}}"
_QUANTITY = re.compile(rf"({_NUMBER})(?:\s?[x×]\s?10\^?\{{?(-?\d{{1,3}})\}}?|[eE]([-+]?\d{{1,3}}))?\s?({_UNIT})")
MAX_CHARS, MAX_EXPONENT = 5_000, 200
MAX_WORDS = 4  # of a unit, beginning with the first word behind a number


class QuantityVerifier:
    """Passes answers whose last quantity equals `expected` ("540 m") in whatever unit of the same dimension, up to `relative_tolerance`. Decisive.

    Fails an answer in a unit of another dimension, and one with a number but no unit; abstains without any number, or without pint. Raises
    `ValueError` on an expected quantity that is none.
    """

    name = "quantity"

    def __init__(self, expected: str, *, relative_tolerance: float = 1e-3) -> None:
        if _QUANTITY.search(expected) is None:
            raise ValueError(f"not a number with a unit: {expected!r}")
        self._expected, self._tolerance = expected, relative_tolerance

    async def verify(self, query: str, candidate: str) -> Verdict:
        if find_spec("pint") is None:
            return Verdict.abstain(self.name, "pint is not installed: pip install 'compound-orchestrator[math]'")
        return await asyncio.to_thread(self._judged, candidate)

    def _judged(self, candidate: str) -> Verdict:
        expected = find_quantity(self._expected)
        if expected is None:
            return Verdict.abstain(self.name, f"the unit of {self._expected!r} is not known")
        marked = final_answer_text(candidate)
        text = (marked if marked is not None else candidate)[-MAX_CHARS:]
        found = find_quantity(text)
        if found is None:
            if re.search(r"\d", text) is None:
                return Verdict.abstain(self.name, "the answer holds no number")
            return Verdict(self.name, 0.0, False, "the answer gives no unit that is known", decisive=True)
        if not found.is_compatible_with(expected):
            return Verdict(self.name, 0.0, False, f"{found:~} is not of the dimension that is asked for", (f"{found:~}",), decisive=True)
        value, wanted = found.to(expected.units).magnitude, expected.magnitude
        passed = abs(value - wanted) <= self._tolerance * max(abs(value), abs(wanted))
        return Verdict(self.name, float(passed), passed, "" if passed else f"it is not {found:~}", (f"{found:~}",), decisive=True)


def find_quantity(text: str) -> Any | None:
    """The last number with a known unit in a text, as a pint quantity, or `None`. Reads `5.4e2 m`, `5.4 x 10^2 m` and `9.81 m/s^2`."""
    for match in reversed(list(_QUANTITY.finditer(text))):
        exponent = int(match[2] or match[3] or 0)
        unit = _unit(match[4])
        if unit is not None and abs(exponent) < MAX_EXPONENT:
            return _registry().Quantity(float(match[1].replace(",", "").replace("−", "-")) * 10.0**exponent, unit)
    return None


def _unit(text: str) -> Any | None:
    """The unit that a text begins with: the longest beginning that is one ("meters per second in all" is meters per second)."""
    words = re.sub(r"\s?\bper\s", "/", text).split()[:MAX_WORDS]
    for end in range(len(words), 0, -1):
        written = " ".join(words[:end]).replace("°", "deg").replace("²", "**2").replace("³", "**3").replace("·", "*").replace("^", "**")
        try:
            unit = _registry().parse_units(written)
        except Exception:  # pint raises of every kind on text that is no unit
            continue
        if not unit.dimensionless or written in ("%", "percent"):
            return unit
    return None


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)
