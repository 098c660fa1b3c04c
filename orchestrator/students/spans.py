"""Fields of a record as spans of a text: where a value stands, and what a span says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from orchestrator.jsontypes import JsonValue
from orchestrator.students.tokens import MAX_CHARS

FieldType = Literal["text", "number", "integer", "email"]
MAX_DIGITS, MOST = 40, 1e40
TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,:/-]\d+)*|\S")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a sign, and where it stands."""

    text: str
    start: int
    end: int


def split(text: str) -> list[Token]:
    """The tokens of the first 20,000 characters, in order."""
    text = text[:MAX_CHARS]
    return [Token(match.group(), match.start(), match.end()) for match in TOKEN.finditer(text)]


def find_span(value: JsonValue, text: str, tokens: list[Token]) -> tuple[int, int] | None:
    """The first run of whole tokens, [first, last], that says the value; `None` where the text does not hold it."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    for at, token in enumerate(tokens):
        if isinstance(value, int | float):
            if abs(value) < MOST and number_in(token.text) == float(value):
                return at, at
            continue
        wanted = value.strip()
        if wanted and text[token.start : token.start + len(wanted)].casefold() == wanted.casefold():
            end = token.start + len(wanted)
            for last in range(at, len(tokens)):
                if tokens[last].end == end:
                    return at, last
                if tokens[last].end > end:
                    break
    return None


def number_in(span: str) -> float | None:
    """The number that a span is, or `None`; a comma before groups of three digits divides thousands."""
    span = span.strip()
    if len(span) > MAX_DIGITS:
        return None
    if not _NUMBER.fullmatch(span):
        return None
    if _THOUSANDS.fullmatch(span):
        return float(span.replace(",", ""))
    try:
        return float(span.replace(",", ".")) if span.count(",") + span.count(".") <= 1 else None
    except ValueError:
        return None


def read_value(span: str, kind: FieldType) -> JsonValue:
    """What a span says as a value of this type; `None` if it is none."""
    if kind == "text":
        return span.strip() or None
    if kind == "email":
        return span if _EMAIL.fullmatch(span) else None
    number = number_in(span)
    if number is None or (kind == "integer" and number != int(number)):
        return None
    return int(number) if kind == "integer" else number


def type_of(values: list[JsonValue]) -> FieldType:
    """The narrowest type of these values."""
    found = [value for value in values if value is not None]
    if found and all(isinstance(value, int) for value in found):
        return "integer"
    if found and all(isinstance(value, int | float) for value in found):
        return "number"
    if found and all(isinstance(value, str) and _EMAIL.fullmatch(value) for value in found):
        return "email"
    return "text"
