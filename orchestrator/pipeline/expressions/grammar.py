"""The grammar of `${...}`: comparisons, and/or/not, arithmetic, a few functions, fields and items.

Nothing else can be written.

Precedence climbing (Richards 1979) over a handful of token kinds. There are no assignments, calls of methods,
comprehensions or attributes of Python objects, so there is nothing to escape from: an expression reads values that a
pipeline holds, and computes with them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

MAX_CHARS = 2_000
MAX_DEPTH = 40
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:_\d+)*(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[^\W\d]\w*)
      | (?P<sign>\[\*\]|\?\?|==|!=|<=|>=|[-+*/%<>()\[\].,{}])
    )""",
    re.VERBOSE,
)
_BINDING = {
    "??": 1, "or": 2, "and": 3,
    "==": 5, "!=": 5, "<": 5, "<=": 5, ">": 5, ">=": 5, "in": 5, "not in": 5,
    "+": 6, "-": 6, "*": 7, "/": 7, "%": 7,
}  # fmt: skip
_NOT_BINDING, _SIGN_BINDING = 4, 8
_CONSTANTS = {"true": True, "false": False, "null": None}
_INSTEAD = {"&&": "and", "||": "or", "!": "not", "=": "==", "===": "==", "|": "a function, like len(x)"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class SyntaxProblem(Exception):
    """`start` and `end` are offsets in the text."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.hint = message, start, end, hint


@dataclass(frozen=True, slots=True)
class SyntaxNode:
    """`start` and `end` are offsets in the text that was parsed."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Literal(SyntaxNode):
    """A constant."""

    value: object


@dataclass(frozen=True, slots=True)
class Name(SyntaxNode):
    """A name of the scope."""

    name: str


@dataclass(frozen=True, slots=True)
class Field(SyntaxNode):
    """A field of a value: `of.name`."""

    of: SyntaxNode
    name: str


@dataclass(frozen=True, slots=True)
class Item(SyntaxNode):
    """An item of a list or object: `of[index]`."""

    of: SyntaxNode
    index: SyntaxNode


@dataclass(frozen=True, slots=True)
class Each(SyntaxNode):
    """`of[*]`: what follows is taken from every item."""

    of: SyntaxNode


@dataclass(frozen=True, slots=True)
class Listed(SyntaxNode):
    """A list."""

    items: tuple[SyntaxNode, ...]


@dataclass(frozen=True, slots=True)
class Unary(SyntaxNode):
    """An operator before its operand."""

    sign: str
    of: SyntaxNode


@dataclass(frozen=True, slots=True)
class Binary(SyntaxNode):
    """An operator between two operands."""

    sign: str
    left: SyntaxNode
    right: SyntaxNode


@dataclass(frozen=True, slots=True)
class Call(SyntaxNode):
    """A call of a function."""

    function: str
    arguments: tuple[SyntaxNode, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse_expression(text: str, start: int = 0) -> tuple[SyntaxNode, int]:
    """The expression that begins at `start` and ends before a `}`, and the offset of that brace.

    Raises `SyntaxProblem`.
    """
    if text.startswith("{", start):
        raise SyntaxProblem("an expression has one pair of braces", start - 2, start + 1, "write ${...}, not ${{...}}")
    return _Parser(text, start).parsed()


class _Parser:
    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._begin = start
        self._at = start
        self._token = self._next()
        self._depth = 0

    def parsed(self) -> tuple[SyntaxNode, int]:
        if self._token.text == "}":
            raise SyntaxProblem(
                "there is nothing between the braces", self._begin, self._token.end, "write ${a_step.field}"
            )
        node = self._expression(0)
        if self._token.kind == "end":
            raise SyntaxProblem("this expression is not closed", max(self._begin - 2, 0), self._begin, "add }")
        if self._token.text != "}":
            raise SyntaxProblem(f"{self._token.text!r} is not expected here", self._token.start, self._token.end)
        return node, self._token.start

    def _next(self) -> _Token:
        if self._at - self._begin > MAX_CHARS:
            raise SyntaxProblem(f"an expression has at most {MAX_CHARS:,} characters", self._begin, self._begin + 2)
        found = _TOKEN.match(self._text, self._at)
        if found is not None:
            kind = str(found.lastgroup)
            self._at = found.end()
            return _Token(kind, found.group(kind), found.start(kind), found.end(kind))
        rest = self._text[self._at :]
        start = self._at + len(rest) - len(rest.lstrip())
        if start == len(self._text):
            return _Token("end", "", start, start)
        if self._text[start] in "\"'":
            raise SyntaxProblem("this text has no closing quotation mark", start, len(self._text))
        wrong = next((sign for sign in ("===", "&&", "||") if self._text.startswith(sign, start)), self._text[start])
        hint = f"write {_INSTEAD[wrong]}" if wrong in _INSTEAD else ""
        raise SyntaxProblem(f"{wrong!r} means nothing in an expression", start, start + len(wrong), hint)

    def _take(self) -> _Token:
        token, self._token = self._token, self._next()
        return token

    def _expect(self, sign: str) -> _Token:
        if self._token.text != sign or self._token.kind != "sign":
            told = repr(self._token.text) if self._token.text else "the end"
            raise SyntaxProblem(
                f"{sign!r} is expected here, not {told}", self._token.start, max(self._token.end, self._token.start + 1)
            )
        return self._take()

    def _expression(self, binding: int) -> SyntaxNode:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SyntaxProblem(f"an expression is nested at most {MAX_DEPTH} deep", self._token.start, self._token.end)
        left = self._prefix()
        while True:
            sign = self._infix()
            power = _BINDING.get(sign, 0)
            if not sign or power <= binding:
                break
            token = self._take()
            if sign == "not in":
                self._take()
            right = self._expression(power)
            if power == _BINDING["=="] and self._infix() in _BINDING and _BINDING[self._infix()] == power:
                raise SyntaxProblem(
                    "comparisons cannot be chained",
                    self._token.start,
                    self._token.end,
                    f"write a {token.text} b and b ... c",
                )
            left = Binary(left.start, right.end, sign, left, right)
        self._depth -= 1
        return left

    def _infix(self) -> str:
        if self._token.kind == "sign" and self._token.text in _BINDING:
            return self._token.text
        if self._token.kind == "name":
            if self._token.text in ("and", "or", "in"):
                return self._token.text
            if self._token.text == "not":
                return "not in" if re.compile(r"\s+in\b").match(self._text, self._token.end) else ""
        return ""

    def _prefix(self) -> SyntaxNode:
        token = self._take()
        if token.kind == "name" and token.text == "not":
            of = self._expression(_NOT_BINDING)
            return Unary(token.start, of.end, "not", of)
        if token.kind == "sign" and token.text == "-":
            of = self._expression(_SIGN_BINDING)
            return Unary(token.start, of.end, "-", of)
        return self._followed(self._atom(token))

    def _atom(self, token: _Token) -> SyntaxNode:
        if token.kind == "number":
            digits = token.text.replace("_", "")
            number = int(digits) if digits.isdigit() and len(digits) < 300 else float(digits)
            if not math.isfinite(number):
                raise SyntaxProblem("this number is too large", token.start, token.end)
            return Literal(token.start, token.end, number)
        if token.kind == "text":
            text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), token.text[1:-1], flags=re.DOTALL)
            return Literal(token.start, token.end, text)
        if token.kind == "name" and token.text in _CONSTANTS:
            return Literal(token.start, token.end, _CONSTANTS[token.text])
        if token.kind == "name" and token.text not in ("and", "or", "in"):
            if self._token.text == "(" and self._token.kind == "sign":
                arguments, end = self._listed(")")
                return Call(token.start, end, token.text, arguments)
            return Name(token.start, token.end, token.text)
        if token.text == "(":
            inner = self._expression(0)
            end = self._expect(")").end
            return _placed(inner, token.start, end)
        if token.text == "[":
            items, end = self._items("]")
            return Listed(token.start, end, items)
        told = repr(token.text) if token.text else "the end"
        raise SyntaxProblem(f"a value is expected here, not {told}", token.start, max(token.end, token.start + 1))

    def _followed(self, node: SyntaxNode) -> SyntaxNode:
        while self._token.kind == "sign":
            if self._token.text == ".":
                self._take()
                if self._token.kind != "name":
                    message = "a field name is expected after '.'"
                    raise SyntaxProblem(message, self._token.start, max(self._token.end, self._token.start + 1))
                name = self._take()
                node = Field(node.start, name.end, node, name.text)
            elif self._token.text == "[*]":
                node = Each(node.start, self._take().end, node)
            elif self._token.text == "[":
                self._take()
                index = self._expression(0)
                node = Item(node.start, self._expect("]").end, node, index)
            elif self._token.text == "(":
                message = "there are no methods in expressions"
                raise SyntaxProblem(message, self._token.start, self._token.end, "use a function, like len(x)")
            else:
                break
        return node

    def _listed(self, close: str) -> tuple[tuple[SyntaxNode, ...], int]:
        self._take()
        return self._items(close)

    def _items(self, close: str) -> tuple[tuple[SyntaxNode, ...], int]:
        items: list[SyntaxNode] = []
        while self._token.text != close or self._token.kind != "sign":
            items.append(self._expression(0))
            if self._token.text != ",":
                break
            self._take()
        return tuple(items), self._expect(close).end


def _placed(node: SyntaxNode, start: int, end: int) -> SyntaxNode:
    return replace(node, start=start, end=end)
