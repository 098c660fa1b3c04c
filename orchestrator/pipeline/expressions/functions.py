"""The functions of expressions: what they take, what they give, and how they compute it.

All are total on what they take, and bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.pipeline.expressions.types import ANY, BOOL, LIST, NUMBER, OBJECT, TEXT, ValueType, list_of
from orchestrator.types.format import as_text

MAX_TEXT = 2_000_000


@dataclass(frozen=True, slots=True)
class Function:
    """Takes `least` to `most` values, each of one of the types `takes`.

    `gives_items`: what it gives is one of the values, or of the list's items.
    """

    compute: Callable[..., Any]
    takes: tuple[ValueType, ...]
    gives: ValueType
    example: str
    least: int = 1
    most: int = 1
    gives_items: bool = False


def _number(value: object) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("this is no number")
    if isinstance(value, str):
        if len(value) > 300:
            raise ValueError("this is no number")
        try:
            found: float = int(value)
        except ValueError:
            found = float(value.replace(",", ""))
        if not math.isfinite(found):  # "nan" and "1e999": no JSON, and no comparison of theirs means anything
            raise ValueError("this is no number")
        return found
    return value


def _least(*values: Any) -> Any:
    return min(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _most(*values: Any) -> Any:
    return max(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _round(value: float, digits: float = 0) -> float:
    return round(value, int(digits)) if digits else round(value)


def _joined(values: list[Any], between: str = ", ") -> str:
    return between.join(map(as_text, values))


def _truths(values: list[Any]) -> list[bool]:
    if not all(isinstance(value, bool) for value in values):
        raise ValueError("any and all take lists of true and false")
    return values


FUNCTIONS: dict[str, Function] = {
    "len": Function(len, (LIST, TEXT, OBJECT), NUMBER, "len(facts.items)"),
    "min": Function(_least, (LIST, NUMBER, TEXT), ANY, "min(a, b)", 1, 8, gives_items=True),
    "max": Function(_most, (LIST, NUMBER, TEXT), ANY, "max(a, b)", 1, 8, gives_items=True),
    "sum": Function(lambda values: math.fsum(map(_number, values)), (list_of(NUMBER),), NUMBER, "sum(lines[*].amount)"),
    "any": Function(lambda values: any(_truths(values)), (list_of(BOOL),), BOOL, "any(checks[*].passed)"),
    "all": Function(lambda values: all(_truths(values)), (list_of(BOOL),), BOOL, "all(checks[*].passed)"),
    "abs": Function(abs, (NUMBER,), NUMBER, "abs(a - b)"),
    "round": Function(_round, (NUMBER,), NUMBER, "round(total, 2)", 1, 2),
    "text": Function(as_text, (ANY,), TEXT, "text(count)"),
    "number": Function(_number, (TEXT, NUMBER), NUMBER, "number(reply.text)"),
    "lower": Function(str.lower, (TEXT,), TEXT, "lower(label)"),
    "join": Function(_joined, (LIST, TEXT), TEXT, 'join(names, ", ")', 1, 2),
    "json": Function(
        lambda value: json.dumps(value, ensure_ascii=False, default=str), (ANY,), TEXT, "json(invoice.value)"
    ),
}
