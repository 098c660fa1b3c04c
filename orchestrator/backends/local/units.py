"""Unit conversion with exact factors (SI Brochure 2019; international yard and pound of 1959; NIST SP 811)."""

from __future__ import annotations

import re
from fractions import Fraction

from orchestrator.verifiers.answers.arithmetic import format_value

_F = Fraction
# name -> (dimension, factor to the base unit); aliases share a row.
_TABLE: tuple[tuple[str, str, Fraction], ...] = (
    ("length", "m meter meters metre metres", _F(1)),
    ("length", "km kilometer kilometers kilometre kilometres", _F(1000)),
    ("length", "cm centimeter centimeters centimetre centimetres", _F(1, 100)),
    ("length", "mm millimeter millimeters millimetre millimetres", _F(1, 1000)),
    ("length", "mi mile miles", _F(1609344, 1000)),
    ("length", "yd yard yards", _F(9144, 10000)),
    ("length", "ft foot feet", _F(3048, 10000)),
    ("length", "in inch inches", _F(254, 10000)),
    ("length", "nmi nautical-mile nautical-miles", _F(1852)),
    ("mass", "kg kilogram kilograms kilo kilos", _F(1)),
    ("mass", "g gram grams gramme grammes", _F(1, 1000)),
    ("mass", "mg milligram milligrams", _F(1, 10**6)),
    ("mass", "t tonne tonnes", _F(1000)),
    ("mass", "lb lbs pound pounds", _F(45359237, 10**8)),
    ("mass", "oz ounce ounces", _F(45359237, 16 * 10**8)),
    ("mass", "st stone stones", _F(14 * 45359237, 10**8)),
    ("time", "s sec second seconds", _F(1)),
    ("time", "min mins minute minutes", _F(60)),
    ("time", "h hr hrs hour hours", _F(3600)),
    ("time", "d day days", _F(86400)),
    ("time", "week weeks", _F(7 * 86400)),
    ("volume", "l liter liters litre litres", _F(1)),
    ("volume", "ml milliliter milliliters millilitre millilitres", _F(1, 1000)),
    ("volume", "gal gallon gallons", _F(3785411784, 10**9)),
    ("volume", "pint pints", _F(473176473, 10**9)),
    ("volume", "cup cups", _F(2365882365, 10**10)),
    ("data", "b byte bytes", _F(1)),
    ("data", "kb kilobyte kilobytes", _F(10**3)),
    ("data", "mb megabyte megabytes", _F(10**6)),
    ("data", "gb gigabyte gigabytes", _F(10**9)),
    ("data", "tb terabyte terabytes", _F(10**12)),
    ("data", "kib kibibyte kibibytes", _F(2**10)),
    ("data", "mib mebibyte mebibytes", _F(2**20)),
    ("data", "gib gibibyte gibibytes", _F(2**30)),
    ("speed", "m/s", _F(1)),
    ("speed", "km/h kph kmh", _F(1000, 3600)),
    ("speed", "mph", _F(1609344, 3600 * 1000)),
    ("speed", "kn knot knots", _F(1852, 3600)),
    ("area", "m2 m²", _F(1)),
    ("area", "hectare hectares ha", _F(10**4)),
    ("area", "acre acres", _F(40468564224, 10**7)),
    ("area", "km2 km²", _F(10**6)),
)
_UNITS = {name: (dimension, factor) for dimension, names, factor in _TABLE for name in names.split()}
_TEMPERATURE = {
    **dict.fromkeys(("c", "°c", "celsius"), "c"),
    **dict.fromkeys(("f", "°f", "fahrenheit"), "f"),
    **dict.fromkeys(("k", "kelvin"), "k"),
}
_NUMBER = r"(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?)"
_UNIT = r"([a-z°²/\-]+[2²]?)"
_LEAD = r"^\s*(?:please\s+)?(?:what(?:'s|’s| is)\s+|convert\s+|how (?:much|many .{1,20}?) (?:is|are)\s+)?"
_FORWARD = re.compile(
    rf"{_LEAD}{_NUMBER}\s*(?:degrees\s+)?{_UNIT}\s+(?:in|to|into|as)\s+(?:degrees\s+)?{_UNIT}\s*[?.!]*\s*$",
    re.IGNORECASE,
)
_BACKWARD = re.compile(
    rf"^\s*how many\s+{_UNIT}\s+(?:are there in|are in|is|are|in|make|does it take to "
    rf"make)\s+(?:a\s+)?{_NUMBER}\s*{_UNIT}\s*[?.!]*\s*$",
    re.IGNORECASE,
)


def answer_conversion(question: str) -> str | None:
    """`5 km in miles`, `How many grams are in 3 pounds?` -> the converted value with its unit.

    `None` if it is not such a question.
    """
    if match := _FORWARD.match(question):
        number, source, target = match.groups()
    elif match := _BACKWARD.match(question):
        target, number, source = match.groups()
    else:
        return None
    value = convert(Fraction(number.replace(",", "")), source.lower(), target.lower())
    return None if value is None else f"{format_value(value)} {target}"


def convert(value: Fraction, source: str, target: str) -> Fraction | None:
    """Exact conversion, or `None` when a unit is unknown or the two measure different things."""
    if source in _TEMPERATURE and target in _TEMPERATURE:
        return _temperature(value, _TEMPERATURE[source], _TEMPERATURE[target])
    if source not in _UNITS or target not in _UNITS or _UNITS[source][0] != _UNITS[target][0]:
        return None
    return value * _UNITS[source][1] / _UNITS[target][1]


def _temperature(value: Fraction, source: str, target: str) -> Fraction:
    celsius = {"c": value, "f": (value - 32) * _F(5, 9), "k": value - _F(27315, 100)}[source]
    return {"c": celsius, "f": celsius * _F(9, 5) + 32, "k": celsius + _F(27315, 100)}[target]
