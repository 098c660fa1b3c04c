"""Expressions compiled to closures: parsed and checked once, run often.

A value is JSON (null, true/false, numbers, texts, lists, objects).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonValue
from orchestrator.pipeline.expressions.functions import FUNCTIONS, MAX_TEXT
from orchestrator.pipeline.expressions.grammar import (
    Binary,
    Call,
    Each,
    Field,
    Item,
    Listed,
    Literal,
    Name,
    SyntaxNode,
    Unary,
)

Values = Mapping[str, Any]
Compute = Callable[[Values], Any]
MAX_BITS = 1_024
MAX_ITEMS = 1_000_000
MAX_CHARS = 20_000_000


class ExpressionFailed(OrchestratorError):
    """An expression met a value that it cannot compute with."""

    code = "expression"


class Absent(ExpressionFailed):
    """What an expression asks for is not there; `??` gives something else then."""


def compiled(node: SyntaxNode) -> Compute:
    """A function from the values of names to the expression's value. It raises `ExpressionFailed`."""
    match node:
        case Literal(value=value):
            return lambda values: value
        case Name(name=name):
            return _name(name)
        case Field():
            return _field(node)
        case Item():
            return _item(compiled(node.of), compiled(node.index))
        case Each():
            return _items(compiled(node.of))
        case Listed():
            parts = [compiled(item) for item in node.items]
            return lambda values: [part(values) for part in parts]
        case Unary():
            return _unary(node)
        case Binary():
            return _binary(node)
        case Call():
            return _call(node)
    raise TypeError(f"no such node: {node!r}")


def _name(name: str) -> Compute:
    def compute(values: Values) -> Any:
        try:
            return values[name]
        except KeyError:
            raise Absent(f"{name} has no value yet") from None

    return compute


def _field(node: Field) -> Compute:
    of, name = compiled(node.of), node.name

    def taken(base: Any) -> Any:
        if isinstance(base, dict):
            if name in base:
                return base[name]
            raise Absent(f"there is no field '{name}' (there is: {', '.join(map(str, base))})"[:300])
        if base is None:
            raise Absent(f"there is no '{name}' of null")
        raise ExpressionFailed(f"'{name}' is asked of a {_kind(base)}")

    if _spreads(node.of):
        return lambda values: [taken(base) for base in _listed(of(values))]
    return lambda values: taken(of(values))


def _spreads(node: SyntaxNode) -> bool:
    return isinstance(node, Each) or (isinstance(node, Field) and _spreads(node.of))


def _item(of: Compute, index: Compute) -> Compute:
    def compute(values: Values) -> Any:
        base, key = of(values), index(values)
        if base is None:
            raise Absent("there are no items of null")
        if isinstance(base, dict) and isinstance(key, str):
            if key in base:
                return base[key]
            raise Absent(f"there is no field {key!r}")
        if (
            isinstance(base, list | str)
            and isinstance(key, int | float)
            and not isinstance(key, bool)
            and key == int(key)
        ):
            if -len(base) <= key < len(base):
                return base[int(key)]
            raise Absent(f"there is no item {int(key)}: there are {len(base)}")
        raise ExpressionFailed(f"a {_kind(base)} has no item {key!r}")

    return compute


def _items(of: Compute) -> Compute:
    return lambda values: _listed(of(values))


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise (Absent if value is None else ExpressionFailed)(f"[*] is for lists, and this is a {_kind(value)}")
    return value


def _unary(node: Unary) -> Compute:
    of = compiled(node.of)
    if node.sign == "not":
        return lambda values: not _truth(of(values))
    return lambda values: -_number(of(values))


def _binary(node: Binary) -> Compute:
    left, right, sign = compiled(node.left), compiled(node.right), node.sign
    if sign == "??":
        return _otherwise(left, right)
    if sign == "and":
        return lambda values: _truth(left(values)) and _truth(right(values))
    if sign == "or":
        return lambda values: _truth(left(values)) or _truth(right(values))
    if sign == "==":
        return lambda values: _equal(left(values), right(values))
    if sign == "!=":
        return lambda values: not _equal(left(values), right(values))
    if sign in ("in", "not in"):
        wanted = sign == "in"
        return lambda values: _holds(right(values), left(values)) is wanted
    if sign in _ORDERS:
        order = _ORDERS[sign]
        return lambda values: order(*_comparable(left(values), right(values)))
    if sign == "+":
        return lambda values: _sum(left(values), right(values))
    compute = _ARITHMETIC[sign]
    return lambda values: _bounded(compute(_number(left(values)), _number(right(values))))


def _otherwise(left: Compute, right: Compute) -> Compute:
    def compute(values: Values) -> Any:
        try:
            found = left(values)
        except Absent:
            found = None
        return right(values) if found is None else found

    return compute


def _call(node: Call) -> Compute:
    function, arguments = FUNCTIONS[node.function], [compiled(each) for each in node.arguments]

    def compute(values: Values) -> Any:
        given = [argument(values) for argument in arguments]
        try:
            found = function.compute(*given)
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            shown = ", ".join(_kind(each) for each in given)
            raise ExpressionFailed(f"{node.function} cannot take {shown}: {error}") from None
        return _within(found)

    return compute


def _divided(a: float, b: float) -> float:
    if b == 0:
        raise ExpressionFailed("a division by zero")
    return a / b


def _remainder(a: float, b: float) -> float:
    if b == 0:
        raise ExpressionFailed("a division by zero")
    return a % b


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], float]] = {
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "%": _remainder,
}


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise (Absent if value is None else ExpressionFailed)(f"true or false is expected, not a {_kind(value)}")


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise (Absent if value is None else ExpressionFailed)(f"a number is expected, not a {_kind(value)}")


def _equal(a: Any, b: Any) -> bool:
    """As JSON: `true` is not 1."""
    return bool(a == b) and (isinstance(a, bool) == isinstance(b, bool))


def _holds(many: Any, one: Any) -> bool:
    if isinstance(many, list):
        return any(_equal(each, one) for each in many)
    if isinstance(many, str | dict) and isinstance(one, str):
        return one in many
    raise (Absent if many is None else ExpressionFailed)(f"a {_kind(one)} cannot be looked for in a {_kind(many)}")


def _comparable(a: Any, b: Any) -> tuple[Any, Any]:
    if isinstance(a, str) and isinstance(b, str):
        return a, b
    return _number(a), _number(b)


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, str) and isinstance(b, str):
        return _within(a + b)
    if isinstance(a, list) and isinstance(b, list):
        return _within([*a, *b])
    return _bounded(_number(a) + _number(b))


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise ExpressionFailed("the number grows too large")
    if isinstance(number, float) and not math.isfinite(number):
        raise ExpressionFailed("the number grows too large")
    return number


def _within(value: Any) -> Any:
    if (isinstance(value, str) and len(value) > MAX_TEXT) or (isinstance(value, list) and len(value) > MAX_ITEMS):
        raise ExpressionFailed("the value grows too large")
    return value


def within_bounds(value: JsonValue) -> JsonValue:
    """The same value.

    Raises `ExpressionFailed` where it is too large to be kept: a value that holds another twice doubles with every
    round.
    """
    nodes = chars = 0
    stack = [value]
    while stack:
        each = stack.pop()
        nodes += 1
        if isinstance(each, str):
            chars += len(each)
        elif isinstance(each, Mapping):
            stack.extend(each.values())
        elif isinstance(each, list | tuple):
            stack.extend(each)
        if nodes > MAX_ITEMS or chars > MAX_CHARS:
            raise ExpressionFailed(
                "the value grows too large",
                remedy=f"A value has at most {MAX_ITEMS:,} parts and {MAX_CHARS:,} characters",
            )
    return value


def _kind(value: Any) -> str:
    return {type(None): "null", bool: "bool", str: "text", list: "list", dict: "object"}.get(type(value), "number")
