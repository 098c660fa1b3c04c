"""The kinds of fields that steps have.

What they take as it stands in the file, what an expression in them must give, and their JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, WrapValidator

from orchestrator.config.exact import Seconds as Seconds
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.expressions.templates import OPEN, segment
from orchestrator.pipeline.expressions.types import ANY, BOOL, LIST, NUMBER, OBJECT, TEXT, ValueType

EXPRESSION = {"type": "string", "pattern": r"^\$\{", "description": "an expression: ${...}"}


@dataclass(frozen=True, slots=True)
class ExpressionType:
    """Marks a field whose value may hold expressions.

    Which type it wants, and what is done to values that are put into its text.
    """

    type: ValueType
    escape: Callable[[str], str] | None = None


REFERS = "refers-to"


def refers_to(name: str) -> WithJsonSchema:
    """In the schema for editors: see the definition of this name."""
    return WithJsonSchema({REFERS: name})


def is_expression(value: object) -> bool:
    """Whether a value is one expression, and nothing else."""
    return isinstance(value, str) and value.startswith(OPEN)


def _or_expression(value: Any, handler: Callable[[Any], Any]) -> Any:
    return value if is_expression(value) else handler(value)


def _any_of(schema: JsonObject) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, EXPRESSION]})


def share_of(value: object) -> object:
    """A share: `30%`, or a number in (0, 1]."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())):
        return float(found[1]) / 100
    return value


def count_of(value: object) -> object:
    """A count: a whole number, or a text like `40k`, `40_000` or `2M`."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)([kM]?)", value.strip())):
        return round(float(found[1].replace("_", "")) * {"": 1, "k": 1_000, "M": 1_000_000}[found[2]])
    return value


TextField = Annotated[str, ExpressionType(TEXT)]
ScopeField = Annotated[str, ExpressionType(TEXT, escape=segment)]
NumberField = Annotated[float, WrapValidator(_or_expression), _any_of({"type": "number"}), ExpressionType(NUMBER)]
ConditionField = Annotated[bool, WrapValidator(_or_expression), _any_of({"type": "boolean"}), ExpressionType(BOOL)]
ListField = Annotated[list[Any], WrapValidator(_or_expression), _any_of({"type": "array"}), ExpressionType(LIST)]
ObjectField = Annotated[
    dict[str, Any], WrapValidator(_or_expression), _any_of({"type": "object"}), ExpressionType(OBJECT)
]
ValueField = Annotated[Any, ExpressionType(ANY)]

Count = Annotated[int, BeforeValidator(count_of), WithJsonSchema({"type": ["integer", "string"]})]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[
    float,
    BeforeValidator(share_of),
    Field(gt=0, le=1, allow_inf_nan=False),
    WithJsonSchema({"type": ["number", "string"]}),
]
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
