"""Texts without halves of characters, which no encoder of UTF-8 takes."""

from __future__ import annotations

import re

from orchestrator.jsontypes import JsonValue

_HALF = re.compile("[\ud800-\udfff]")


def whole_text(text: str) -> str:
    """The text with its surrogate pairs put together, and U+FFFD for what stays a half."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if _HALF.search(text) else text


def with_whole_texts(value: JsonValue) -> JsonValue:
    """A value whose texts, names of fields too, hold no halves of characters."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {whole_text(name): with_whole_texts(each) for name, each in value.items()}
    return [with_whole_texts(each) for each in value] if isinstance(value, list) else value
