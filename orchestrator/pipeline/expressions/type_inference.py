"""Which type an expression gives, found before anything runs.

Every mistake is told with its place; what is not known is let pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from orchestrator.pipeline.expressions.functions import FUNCTIONS
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
from orchestrator.pipeline.expressions.types import ANY, BOOL, LIST, NUMBER, TEXT, ValueType, joined, list_of, type_of

Report = Callable[[SyntaxNode, str, str, str], None]
"""(where, code, message, hint)"""


class Unknown(Exception):
    """A name that cannot be used here: raised by a scope's look-up, with a code, a message and a hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def infer(node: SyntaxNode, look_up: Callable[[str], ValueType], report: Report) -> ValueType:
    """`look_up` gives the type of a name, or raises `Unknown`."""
    return _Inference(look_up, report).of(node)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or what there is."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there is: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""


def names_in(node: SyntaxNode) -> set[str]:
    """The names that an expression begins its look-ups with."""
    if isinstance(node, Name):
        return {node.name}
    found: set[str] = set()
    for child in children(node):
        found |= names_in(child)
    return found


def guarded(node: SyntaxNode) -> set[str]:
    """The paths (`a`, `a.b`) that are certainly not null where this condition holds."""
    if isinstance(node, Binary) and node.sign == "and":
        return guarded(node.left) | guarded(node.right)
    if isinstance(node, Binary) and node.sign == "!=":
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(other, Literal) and other.value is None and (path := path_of(one)):
                return {path}
    return set()


def path_of(node: SyntaxNode) -> str:
    """The dotted path that an expression names; empty if it is none."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Field):
        before = path_of(node.of)
        return f"{before}.{node.name}" if before else ""
    return ""


def children(node: SyntaxNode) -> tuple[SyntaxNode, ...]:
    """The parts that an expression is made of."""
    match node:
        case Field() | Each() | Unary():
            return (node.of,)
        case Item():
            return (node.of, node.index)
        case Binary():
            return (node.left, node.right)
        case Listed():
            return node.items
        case Call():
            return node.arguments
    return ()


class _Inference:
    def __init__(self, look_up: Callable[[str], ValueType], report: Report) -> None:
        self._look_up = look_up
        self._report = report
        self._sure: set[str] = set()
        self._may_be_missing = 0

    def of(self, node: SyntaxNode) -> ValueType:
        match node:
            case Literal():
                return type_of(node.value)
            case Name():
                return self._name(node)
            case Field():
                return self._field(node)
            case Item():
                return self._item(node)
            case Each():
                return self._spread(self._there(node.of), node)
            case Listed():
                return list_of(joined(map(self.of, node.items)) if node.items else ANY)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
        return ANY

    def _name(self, node: Name) -> ValueType:
        try:
            found = self._look_up(node.name)
        except Unknown as unknown:
            self._report(node, unknown.code, unknown.message, unknown.hint)
            return ANY
        return found.surely() if node.name in self._sure else found

    def _there(self, node: SyntaxNode) -> ValueType:
        """The type of what something is taken from: it must be there."""
        found = self.of(node)
        if found.missing and not self._may_be_missing:
            name = path_of(node) or "this"
            self._report(
                node,
                "E205",
                f"{name} may be null: {found.missing}",
                f"write ({name} ... ?? a default), or when: ${{{name} != null}}",
            )
        return found

    def _field(self, node: Field) -> ValueType:
        base = self._there(node.of)
        found = self._field_of(base, node)
        if path_of(node) in self._sure:
            return found.surely()
        if base.missing and self._may_be_missing:
            return found.maybe(base.missing)
        return found

    def _field_of(self, base: ValueType, node: Field) -> ValueType:
        if base.kind == "list" and _is_spread(node.of):
            return list_of(self._field_of(base.item or ANY, node))
        if base.kind == "any":
            return ANY
        if base.kind != "object":
            what = path_of(node.of) or "this"
            hint = f"write {what}[*].{node.name} for that of every item" if base.kind == "list" else ""
            self._report(node, "E203", f"{what} is a {base}: it has no field '{node.name}'", hint)
            return ANY
        if base.fields is None:
            return ANY
        if node.name not in base.fields:
            of = path_of(node.of) or "this object"
            self._report(_end_of(node), "E203", f"{of} has no field '{node.name}'", suggestion(node.name, base.fields))
            return ANY
        return base.fields[node.name]

    def _item(self, node: Item) -> ValueType:
        base, index = self._there(node.of), self.of(node.index)
        if base.kind == "any":
            return ANY
        if base.kind == "object":
            if isinstance(node.index, Literal) and isinstance(node.index.value, str) and base.fields is not None:
                return self._field_of(base, Field(node.start, node.end, node.of, node.index.value))
            self._wants(node.index, index, TEXT)
            return ANY
        if base.kind not in ("list", "text"):
            self._report(node.of, "E204", f"a {base} has no items", "")
            return ANY
        self._wants(node.index, index, NUMBER)
        return TEXT if base.kind == "text" else base.item or ANY

    def _spread(self, base: ValueType, node: Each) -> ValueType:
        if base.kind not in ("list", "any"):
            self._report(node.of, "E204", f"[*] is for lists, and this is a {base}", "")
        return base if base.kind == "list" else LIST

    def _unary(self, node: Unary) -> ValueType:
        wanted = BOOL if node.sign == "not" else NUMBER
        found = self._there(node.of)
        self._wants(node.of, found, wanted)
        return wanted

    def _membership(self, node: Binary, left: ValueType, right: ValueType) -> ValueType:
        if right.kind not in ("list", "text", "object", "any"):
            told = f"'{node.sign}' looks into a list, an object or a text, not a {right}"
            self._report(node.right, "E204", told, "")
        elif right.kind in ("text", "object"):
            self._wants(node.left, left, TEXT)
        return BOOL

    def _binary(self, node: Binary) -> ValueType:
        if node.sign == "??":
            return self._otherwise(node)
        if node.sign in ("and", "or"):
            return self._logical(node)
        if node.sign in ("==", "!="):
            left, right = self.of(node.left), self.of(node.right)
            if left.kind != right.kind and not {"any", "null"} & {left.kind, right.kind}:
                self._report(node, "E204", f"a {left} never equals a {right}", "")
            return BOOL
        left, right = self._there(node.left), self._there(node.right)
        if node.sign in ("in", "not in"):
            return self._membership(node, left, right)
        if node.sign in ("<", "<=", ">", ">="):
            self._alike(node, left, right, ("number", "text"))
            return BOOL
        if node.sign == "+":
            self._alike(node, left, right, ("number", "text", "list"))
            return (left if left.kind != "any" else right).surely()
        self._wants(node.left, left, NUMBER)
        self._wants(node.right, right, NUMBER)
        return NUMBER

    def _otherwise(self, node: Binary) -> ValueType:
        self._may_be_missing += 1
        left = self.of(node.left)
        self._may_be_missing -= 1
        right = self.of(node.right)
        both = joined([left.surely(), right])
        return replace(both, missing=right.missing)

    def _logical(self, node: Binary) -> ValueType:
        left = self._there(node.left)
        self._wants(node.left, left, BOOL)
        before = set(self._sure)
        if node.sign == "and":
            self._sure |= guarded(node.left)
        right = self._there(node.right)
        self._sure = before
        self._wants(node.right, right, BOOL)
        return BOOL

    def _call(self, node: Call) -> ValueType:
        arguments = [self._there(each) for each in node.arguments]
        function = FUNCTIONS.get(node.function)
        if function is None:
            self._report(node, "E208", f"there is no function '{node.function}'", suggestion(node.function, FUNCTIONS))
            return ANY
        if not function.least <= len(arguments) <= function.most:
            wants = f"{function.least}" if function.least == function.most else f"{function.least} to {function.most}"
            self._report(
                node,
                "E208",
                f"{node.function} takes {wants} values, not {len(arguments)}",
                f"for example {function.example}",
            )
            return ANY
        for each, found in zip(node.arguments, arguments, strict=True):
            if found.kind != "any" and not any(found.fits(wanted) for wanted in function.takes):
                wants = " or a ".join(map(str, function.takes))
                self._report(
                    each,
                    "E204",
                    f"{node.function} takes a {wants}, and this is a {found}",
                    f"for example {function.example}",
                )
                return function.gives
        gives = function.gives
        if function.gives_items:  # of a list its items, of several values one of them
            gives = (arguments[0].item or ANY) if len(arguments) == 1 else joined(arguments)
        return gives

    def _alike(self, node: Binary, left: ValueType, right: ValueType, kinds: tuple[str, ...]) -> None:
        for each, found in ((node.left, left), (node.right, right)):
            if found.kind not in (*kinds, "any"):
                self._report(each, "E204", f"'{node.sign}' is for {' or '.join(kinds)}s, and this is a {found}", "")
                return
        if left.kind != right.kind and "any" not in (left.kind, right.kind):
            hint = "text(x) makes a text of a number" if "text" in (left.kind, right.kind) else ""
            self._report(node, "E204", f"'{node.sign}' does not go between a {left} and a {right}", hint)

    def _wants(self, node: SyntaxNode, found: ValueType, wanted: ValueType) -> None:
        if not found.fits(wanted):
            self._report(node, "E204", f"a {wanted} is expected here, and this is a {found}", "")


def mentions(node: SyntaxNode, name: str, fields: frozenset[str]) -> bool:
    """Whether an expression takes one of these fields of a name, or the name as a whole, or a field that is known only
    when it runs.
    """
    if isinstance(node, Name):
        return node.name == name
    if isinstance(node, Field) and isinstance(node.of, Name) and node.of.name == name:
        return node.name in fields
    return any(mentions(child, name, fields) for child in children(node))


def _is_spread(node: SyntaxNode) -> bool:
    """Whether `[*]` stands in the path: what follows is of every item."""
    return isinstance(node, Each) or (isinstance(node, Field) and _is_spread(node.of))


def _end_of(node: Field) -> Field:
    """Where the name of a field stands."""
    return replace(node, start=node.end - len(node.name))


def assumed(types: Mapping[str, ValueType], sure: set[str]) -> dict[str, ValueType]:
    """The types of names where a condition is known to hold that guards the paths `sure`."""
    found = dict(types)
    for path in sorted(sure):
        first, *rest = path.split(".")
        if first in found:
            found[first] = _assured(found[first], rest)
    return found


def _assured(of: ValueType, path: list[str]) -> ValueType:
    of = of.surely()
    if not path or of.fields is None or path[0] not in of.fields:
        return of
    return replace(of, fields={**of.fields, path[0]: _assured(of.fields[path[0]], path[1:])})
