"""Values between the process of a program and the process that judges it.

By value and as JSON, so that nothing of the program comes along.

Exact built-in types, and a few of the standard library's; of subclasses the built-in value that they are. Whatever else
there is stays where it was made, and only its number is passed on. Runs inside the sandbox: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def packed(value: Any, keep: Callable[[Any], int]) -> Any:
    """As JSON.

    `keep` puts an object that has no plain value away and gives its number. Raises `RecursionError` on what holds
    itself.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if issubclass(kind, str):
        return str.__str__(value)
    for base, tag, made in _BASES:
        if issubclass(kind, base):
            return [tag, made(value, keep)]
    name = f"{kind.__module__}.{kind.__qualname__}"
    return ["x", name, _LIBRARY[name](value, keep)] if name in _LIBRARY else ["o", keep(value)]


def unpacked(told: Any, kept: Callable[[int], Any]) -> Any:
    """The value of what `packed` gave; `kept` finds, or stands for, an object by its number.

    Raises `ValueError` on anything else.
    """
    if told is None or isinstance(told, bool | str):
        return told
    if not isinstance(told, list) or len(told) < 2:
        raise ValueError("not a value")
    tag, given = told[0], told[1]
    if tag == "i":
        return int(given, 16)
    if tag == "f":
        return float.fromhex(given)
    if tag == "c":
        return complex(float.fromhex(given[0]), float.fromhex(given[1]))
    if tag == "b":
        return bytes.fromhex(given)
    if tag == "y":
        return bytearray.fromhex(given)
    if tag in _CONTAINERS:
        return _CONTAINERS[tag](unpacked(each, kept) for each in given)
    if tag == "d":
        return {unpacked(key, kept): unpacked(value, kept) for key, value in given}
    if tag == "r":
        return range(*given)
    if tag == "x":
        return _from_library(given, told[2], kept)
    if tag == "o":
        return kept(int(given))
    raise ValueError("not a value")


def _each(values: Any, keep: Callable[[Any], int]) -> list[Any]:
    return [packed(value, keep) for value in values]


_BASES: tuple[tuple[type, str, Callable[[Any, Any], Any]], ...] = (
    (int, "i", lambda v, _: hex(int.__int__(v))),
    (float, "f", lambda v, _: float.hex(float.__float__(v))),
    (complex, "c", lambda v, _: [float.hex(complex.__complex__(v).real), float.hex(complex.__complex__(v).imag)]),
    (bytes, "b", lambda v, _: bytes.hex(v)),
    (bytearray, "y", lambda v, _: bytearray.hex(v)),
    (list, "l", lambda v, keep: _each(list.__iter__(v), keep)),
    (tuple, "t", lambda v, keep: _each(tuple.__iter__(v), keep)),
    (frozenset, "z", lambda v, keep: _each(frozenset.__iter__(v), keep)),
    (set, "s", lambda v, keep: _each(set.__iter__(v), keep)),
    (dict, "d", lambda v, keep: [[packed(key, keep), packed(value, keep)] for key, value in dict.items(v)]),
    (range, "r", lambda v, _: [v.start, v.stop, v.step]),
    (type({}.keys()), "s", lambda v, keep: _each(v, keep)),
    (type({}.values()), "l", lambda v, keep: _each(v, keep)),
    (type({}.items()), "l", lambda v, keep: _each(v, keep)),
)
_CONTAINERS: dict[str, Callable[[Any], Any]] = {"l": list, "t": tuple, "s": set, "z": frozenset}
_LIBRARY: dict[str, Callable[[Any, Any], Any]] = {
    "fractions.Fraction": lambda v, _: [hex(v.numerator), hex(v.denominator)],
    "decimal.Decimal": lambda v, _: str(v),
    "datetime.date": lambda v, _: v.isoformat(),
    "datetime.datetime": lambda v, _: v.isoformat(),
    "datetime.time": lambda v, _: v.isoformat(),
    "datetime.timedelta": lambda v, _: [v.days, v.seconds, v.microseconds],
    "collections.deque": _each,
}


def _from_library(name: str, given: Any, kept: Callable[[int], Any]) -> Any:
    import collections
    import datetime
    import decimal
    import fractions

    if name == "fractions.Fraction":
        return fractions.Fraction(int(given[0], 16), int(given[1], 16))
    if name == "decimal.Decimal":
        return decimal.Decimal(given)
    if name == "datetime.timedelta":
        return datetime.timedelta(*given)
    if name == "collections.deque":
        return collections.deque(unpacked(each, kept) for each in given)
    if name in ("datetime.date", "datetime.datetime", "datetime.time"):
        return getattr(datetime, name.rpartition(".")[2]).fromisoformat(given)
    raise ValueError("not a value")


MAX_SHOWN = 300


def shown(value: Any) -> str:
    """A value as text, the same for equal values.

    Members of sets and keys of dictionaries in order, what is long by its beginning and a digest.
    """
    import hashlib

    text = _ordered(value)
    return (
        text
        if len(text) <= MAX_SHOWN
        else f"{text[: MAX_SHOWN - 70]}... {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"
    )


def _ordered(value: Any) -> str:
    kind = type(value)
    if kind is set or kind is frozenset:
        inner = ", ".join(sorted(map(_ordered, value)))
        plain = f"{{{inner}}}" if inner else "set()"
        return plain if kind is set else f"frozenset({plain if inner else ''})"
    if kind is dict:
        return "{" + ", ".join(sorted(f"{_ordered(key)}: {_ordered(each)}" for key, each in value.items())) + "}"
    if kind is list:
        return "[" + ", ".join(map(_ordered, value)) + "]"
    if kind is tuple:
        return "(" + ", ".join(map(_ordered, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)
