"""The sandbox of prompts: no operator and no filter makes a value much larger than a prompt may be.

What is printed is counted as it comes; `{{ x * n }}` has made its value before anything is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TypeGuard

from jinja2 import Undefined, nodes
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from orchestrator.pipeline.expressions.evaluation import MAX_BITS
from orchestrator.pipeline.expressions.functions import MAX_TEXT

MAX_MADE = 20_000_000  # of what a filter may make, before its result is looked at
# `format` and `attr` are the doors through which sandboxes of templates were left (CVE-2016-10745, CVE-2025-27516).
MISSING = ("attr", "format", "map", "xmlattr", "pprint", "random", "urlize")
GROWING = ("batch", "center", "indent", "replace", "slice", "tojson", "wordwrap")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Refuses with `TemplateRuntimeError` what would grow too large."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, **options: bool | type[Undefined]) -> None:
        super().__init__(**options)
        self.filters = {name: _bounded(name, each) for name, each in self.filters.items() if name not in MISSING}

    def bounded(self, tree: nodes.Template) -> nodes.Template:
        """The same template with each `a ~ b` as the filter `join`, which is bounded; `~` is no operator to jinja2."""
        changed: nodes.Template = _Concatenation().visit(tree)
        changed.set_environment(self)
        return changed

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """The result of an operator."""
        if operator == "%" and isinstance(left, str | bytes):
            raise TemplateRuntimeError("texts are put together with ~, not with %")
        if operator == "*" and not (_is_number(left) and _is_number(right)):
            _check(_size(left) * _size(right), MAX_TEXT)
        if operator == "**":
            _check(_bits(left) * _size(right), MAX_BITS)
        return _within(super().call_binop(context, operator, left, right))


class _Concatenation(NodeTransformer):
    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """The filter that stands for `a ~ b`; jinja2 finds this method by the name of the node."""
        self.generic_visit(node)
        joined = nodes.Filter(nodes.List(node.nodes), "join", [nodes.Const("")], [], None, None)
        return joined.set_lineno(node.lineno, override=True)


def _bounded(name: str, make: Callable[..., object]) -> Callable[..., object]:
    passed = 1 if hasattr(make, "jinja_pass_arg") else 0  # the environment or the context comes first

    @wraps(make)
    def bounded(*given: object, **named: object) -> object:
        value, *rest = given[passed:]
        if name in GROWING:
            much = _size(str(value) if name == "tojson" else value)
            _check(much * max((_size(each) for each in (*rest, *named.values())), default=1), MAX_MADE)
        if name == "join" and isinstance(value, Iterable):
            value = list(value)
            between = len(str(rest[0])) if rest else 0
            _check(sum(len(str(each)) + between for each in value), MAX_TEXT)
        return _within(make(*given[:passed], value, *rest, **named))

    return bounded


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float)


def _size(value: object) -> int:
    """How often it repeats something, or how much there is of it to be repeated."""
    if _is_number(value):
        return max(1, int(min(abs(value), MAX_MADE + 1))) if value == value else 1
    return max(1, len(value)) if hasattr(value, "__len__") else 1


def _bits(number: object) -> int:
    return number.bit_length() if isinstance(number, int) else 1


def _within(value: object) -> object:
    if isinstance(value, int):
        _check(value.bit_length(), MAX_BITS)
    elif isinstance(value, str | bytes | list | tuple | dict):
        _check(len(value), MAX_TEXT)
    return value


def _check(size: float, most: int) -> None:
    if size > most:
        raise TemplateRuntimeError("a value grows too large")
