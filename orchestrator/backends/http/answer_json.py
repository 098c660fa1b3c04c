"""JSON as models' servers write it, which is not always what RFC 8259 and UTF-8 allow.

JavaScript and Java cut texts between the two halves of a surrogate pair; Python writes `-Infinity` for the logarithm of
nothing. Both are read, and what is passed on is JSON again.
"""

from __future__ import annotations

import json
import math

import orjson

from orchestrator.jsontypes import JsonValue
from orchestrator.jsontypes.texts import whole_text as whole_text
from orchestrator.jsontypes.texts import with_whole_texts as with_whole_texts

NO_CHANCE = -9999.0  # what OpenAI writes for the logarithm of a probability that is too small to be told
_HIGH, _LOW = (0xD800, 0xDC00), (0xDC00, 0xE000)
_CONSTANTS = {"-Infinity": NO_CHANCE, "Infinity": -NO_CHANCE, "NaN": None}


def parse_answer(content: bytes | str) -> JsonValue:
    """A value; halves of surrogate pairs stand in its texts as they came. Raises `ValueError` on what is no JSON."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        return json.loads(text, parse_constant=_CONSTANTS.get, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse_whole_answer(content: bytes | str) -> JsonValue:
    """As `parse_answer`, with whole texts: a half of a surrogate pair that nothing completes is U+FFFD."""
    return with_whole_texts(parse_answer(content))


def write_answer(value: JsonValue) -> bytes:
    """A value as JSON; halves of surrogate pairs are escaped, as they came."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def ends_in_half(text: str) -> bool:
    """Whether a text ends with the first half of a pair."""
    return bool(text) and _HIGH[0] <= ord(text[-1]) < _HIGH[1]


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
