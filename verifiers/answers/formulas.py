"""Formulas: read into a tree, and compared by their values.

Two rational expressions that agree at random points of a large field are the same but for a chance below 1e-15
(Schwartz 1980, Zippel
1979); here they are evaluated exactly, in fractions, at points drawn from a fixed seed. Expressions with roots, powers
of e or angles are compared in floating point, and equal only to within rounding: what lies between is said to be
unknown.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from orchestrator.verifiers.answers.pattern import Pattern

Number = Fraction | complex
Node = tuple[Any, ...]  # ("number", Fraction) | ("name", str) | (operator, Node, ...)
MAX_CHARS, MAX_TOKENS, MAX_DEPTH = 1_000, 300, 60
MAX_BITS, MAX_FACTORIAL = 100_000, 3_000
POINTS = 4
SAME_AT, DIFFERENT_AT = 1e-10, 1e-7
_TOKEN = Pattern(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<name>[A-Za-zα-ωΑ-Ωπ∞]+(?:_(?:\{\w+\}|\w))?)|(?P<sign>\*\*"
    r"|[-+*/^(){}\[\],!·×÷|√²³°'_]|[⁰¹²³⁴-⁹⁻]+))"
)
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "ln": cmath.log, "log": cmath.log10, "exp": cmath.exp,
    "sqrt": cmath.sqrt,
    "asin": cmath.asin, "acos": cmath.acos, "atan": cmath.atan, "arcsin": cmath.asin, "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh, "abs": lambda z: complex(abs(z)),
    "cot": lambda z: 1 / cmath.tan(z), "sec": lambda z: 1 / cmath.cos(z), "csc": lambda z: 1 / cmath.sin(z),
}  # fmt: skip
_CONSTANTS: dict[str, complex] = {"pi": complex(math.pi), "π": complex(math.pi), "e": complex(math.e), "i": 1j}
_NO_PRODUCTS = frozenset("sum prod int lim max min gcd lcm mod det and for all inf sup arg dim ker deg sgn not".split())
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_NAMES = sorted([*_FUNCTIONS, "pi", "root", "binom"], key=len, reverse=True)


class Unreadable(ValueError):
    """The text is no formula that this reader knows, or its value cannot be had."""


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression: its tree, its variables, and the value where it has none (`None` where there are some)."""

    tree: Node
    names: frozenset[str]


def read_formula(text: str) -> Formula:
    """Reads sums, products (also implied: 2x), powers, roots, factorials and the usual functions of single letters.

    Raises `Unreadable`.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable("too long")
    parser = _FormulaParser(_tokens(text))
    tree = parser.sum(0)
    if parser.left:
        raise Unreadable(f"left over: {parser.left[0]}")
    return Formula(tree, frozenset(_names_in(tree)))


def value_of(formula: Formula) -> Fraction | None:
    """The exact value of an expression without variables and irrational parts; `None` for any other."""
    if formula.names:
        return None
    try:
        value = _evaluated(formula.tree, {})
    except (Unreadable, ArithmeticError, ValueError, OverflowError):
        return None
    return value if isinstance(value, Fraction) else None


def number_of(formula: Formula) -> Number | None:
    """The value of an expression without variables, exact where it can be; `None` if it has variables or no value."""
    if formula.names:
        return None
    try:
        return _evaluated(formula.tree, {})
    except (Unreadable, ArithmeticError, ValueError, OverflowError):
        return None


def compared(a: Formula, b: Formula) -> Literal["same", "different", "unknown"]:
    """Whether two expressions have the same value, whatever their variables stand for."""
    if _has_bare_log(a.tree) != _has_bare_log(b.tree):  # some write log for ln
        natural = [Formula(_with_natural_logs(each.tree), each.names) for each in (a, b)]
        return "different" if compared(*natural) == "different" else "unknown"
    if a.names != b.names and len(a.names) == len(b.names):  # the same under other names, perhaps
        return "unknown"
    names = sorted(a.names | b.names)
    rng = random.Random(20_240_229)
    seen, is_exact = 0, True
    of_integers = _counts(a.tree) or _counts(b.tree)
    for _ in range(POINTS * 3):
        at = {name: _drawn(rng, of_integers) for name in names}
        try:
            x, y = _evaluated(a.tree, at), _evaluated(b.tree, at)
        except (Unreadable, ArithmeticError, ValueError, OverflowError):
            continue
        seen += 1
        if isinstance(x, Fraction) and isinstance(y, Fraction):
            if x != y:
                return "different"
        else:
            is_exact = False
            try:
                found = _compared_floats(complex(x), complex(y))
            except OverflowError:
                return "unknown"
            if found != "same":
                return found
        if seen >= POINTS or not names:
            break
    if not seen or (names and seen < 2):
        return "unknown"
    return "same" if is_exact or seen >= POINTS or not names else "unknown"


def _compared_floats(x: complex, y: complex) -> Literal["same", "different", "unknown"]:
    scale = max(abs(x), abs(y))
    if not math.isfinite(scale):
        return "unknown"
    if scale < 1e-100:
        return "same" if x == y else "unknown"
    error = abs(x - y) / scale
    return "same" if error <= SAME_AT else "different" if error >= DIFFERENT_AT else "unknown"


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None or len(found) > MAX_TOKENS:
            raise Unreadable(f"not a formula: {text[at : at + 20]!r}")
        at = token.end()
        if token["name"] is None:
            found.append(("number", token["number"]) if token["number"] else ("sign", token["sign"]))
        else:
            found.extend(
                ("sign" if part == "_" else "number" if part.isdigit() else "name", part)
                for part in _names(token["name"])
            )
    return found


def _names(word: str) -> list[str]:
    """The names that letters in a row stand for: sin, x y as a product; words are no formula."""
    function, _, base = word.partition("_")
    if base and function in _FUNCTIONS:
        return [function, "_", base.strip("{}")]
    if base or len(word) == 1:
        return [word]
    if word.casefold() in _FUNCTIONS or word.casefold() in ("pi", "root", "binom"):
        return [word.casefold()]
    if word.casefold() in _NO_PRODUCTS:
        raise Unreadable(f"not read: {word}")
    parts, at = [], 0
    while at < len(word):
        name = next((n for n in _NAMES if word.startswith(n, at)), word[at])
        parts.append(name)
        at += len(name)
    if sum(len(part) == 1 for part in parts) > 3:
        raise Unreadable(f"a word: {word}")
    return parts


class _FormulaParser:
    """Precedence climbing over sums, products (implied ones bind like written ones), signs, powers and what stands
    behind: !, °.
    """

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.left = tokens[::-1]

    def peek(self) -> str:
        return self.left[-1][1] if self.left else ""

    def take(self) -> tuple[str, str]:
        if not self.left:
            raise Unreadable("it breaks off")
        return self.left.pop()

    def expect(self, sign: str) -> None:
        if self.take()[1] != sign:
            raise Unreadable(f"{sign} is missing")

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Unreadable("too deep")
        node = self.product(depth + 1)
        while self.peek() in ("+", "-") and self.left[-1][0] == "sign":
            operator = self.take()[1]
            node = (operator, node, self.product(depth + 1))
        return node

    def product(self, depth: int) -> Node:
        node = self.signed(depth + 1)
        while self.left:
            kind, sign = self.left[-1]
            if kind == "sign" and sign in ("*", "·", "×", "/", "÷"):
                self.take()
                node = ("/" if sign in ("/", "÷") else "*", node, self.signed(depth + 1))
            elif kind in ("name", "number") or sign in ("(", "{", "√", "["):
                if kind == "number" and node[0] == "number":
                    raise Unreadable("two numbers in a row")
                node = ("*", node, self.power(depth + 1))
            else:
                break
        return node

    def signed(self, depth: int) -> Node:
        if self.peek() in ("-", "+") and self.left[-1][0] == "sign":
            sign = self.take()[1]
            inner = self.signed(depth + 1) if depth < MAX_DEPTH else self.power(depth)
            return ("neg", inner) if sign == "-" else inner
        return self.power(depth)

    def power(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Unreadable("too deep")
        node = self.behind(self.atom(depth + 1))
        if self.peek() in ("^", "**"):
            self.take()
            return ("^", node, self.signed(depth + 1))
        if self.left and self.peek()[:1] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻":
            exponent = self.take()[1].translate(_SUPERSCRIPTS)
            try:
                return self.behind(("^", node, ("number", Fraction(int(exponent)))))
            except ValueError:
                raise Unreadable("a sign without a number") from None
        return node

    def behind(self, node: Node) -> Node:
        while self.peek() in ("!", "°"):
            node = (
                ("!", node) if self.take()[1] == "!" else ("*", node, ("/", ("name", "pi"), ("number", Fraction(180))))
            )
        return node

    def atom(self, depth: int) -> Node:
        kind, sign = self.take()
        if kind == "number":
            return ("number", Fraction(sign))
        if kind == "name":
            return self.named(sign, depth)
        if sign in ("(", "{", "["):
            node = self.sum(depth + 1)
            self.expect({"(": ")", "{": "}", "[": "]"}[sign])
            return node
        if sign == "√":
            return ("sqrt", self.power(depth + 1))
        if sign == "|":
            node = self.sum(depth + 1)
            self.expect("|")
            return ("abs", node)
        raise Unreadable(f"not expected: {sign}")

    def named(self, name: str, depth: int) -> Node:
        if name in ("root", "binom"):
            self.expect("(")
            first = self.sum(depth + 1)
            self.expect(",")
            second = self.sum(depth + 1)
            self.expect(")")
            return (name, first, second)
        if name in _FUNCTIONS:
            return self.applied(name, depth)
        return ("name", name)

    def applied(self, name: str, depth: int) -> Node:
        base = None
        power = None
        if self.peek() == "_":
            self.take()
            base = self.atom(depth + 1)
        if self.peek() in ("^", "**"):
            self.take()
            power = self.atom(depth + 1)
        elif self.left and self.peek()[:1] in "²³":
            power = ("number", Fraction(int(self.take()[1].translate(_SUPERSCRIPTS))))
        inner = self.power(depth + 1) if self.peek() in ("(", "{", "[") else self.product(depth + 1)
        if power in (("neg", ("number", Fraction(1))), ("number", Fraction(-1))) and f"arc{name}" in _FUNCTIONS:
            return (f"arc{name}", inner)  # sin^{-1} is the inverse
        node: Node = (name, inner)
        if base is not None:
            node = ("/", ("ln", inner), ("ln", base))
        return ("^", node, power) if power is not None else node


def _names_in(tree: Node) -> set[str]:
    if tree[0] == "name":
        return set() if tree[1] in _CONSTANTS else {tree[1]}
    return set().union(*(_names_in(part) for part in tree[1:] if isinstance(part, tuple)), set())


def _drawn(rng: random.Random, of_integers: bool) -> Fraction:
    return (
        Fraction(rng.randint(2, 40)) if of_integers else Fraction(rng.randint(10**6, 10**7), rng.randint(10**5, 10**6))
    )


def _counts(tree: Node) -> bool:
    """Whether a formula holds factorials or binomials, which have values at integers alone."""
    return tree[0] in ("!", "binom") or any(_counts(part) for part in tree[1:] if isinstance(part, tuple))


def _has_bare_log(tree: Node) -> bool:
    return tree[0] == "log" or any(_has_bare_log(part) for part in tree[1:] if isinstance(part, tuple))


def _with_natural_logs(tree: Node) -> Node:
    return (
        "ln" if tree[0] == "log" else tree[0],
        *(_with_natural_logs(part) if isinstance(part, tuple) else part for part in tree[1:]),
    )


def _evaluated(tree: Node, at: dict[str, Fraction]) -> Number:
    kind = tree[0]
    if kind == "number":
        return Fraction(tree[1])
    if kind == "name":
        return at[tree[1]] if tree[1] in at else _CONSTANTS[tree[1]]
    parts = [_evaluated(part, at) for part in tree[1:]]
    if kind == "neg":
        return -parts[0]
    if kind in ("+", "-", "*", "/"):
        return _calculated(kind, *parts)
    if kind == "^":
        return _raised(*parts)
    if kind == "!":
        return Fraction(math.factorial(_small_integer(parts[0], MAX_FACTORIAL)))
    if kind == "binom":
        return Fraction(math.comb(_small_integer(parts[0], MAX_FACTORIAL), _small_integer(parts[1], MAX_FACTORIAL)))
    if kind == "sqrt":
        return _rooted(parts[0], 2)
    if kind == "root":
        return _rooted(parts[1], _small_integer(parts[0], 100))
    if kind == "abs" and isinstance(parts[0], Fraction):
        return abs(parts[0])
    return _FUNCTIONS[kind](complex(parts[0]))


def _calculated(kind: str, x: Number, y: Number) -> Number:
    if not (isinstance(x, Fraction) and isinstance(y, Fraction)):
        x, y = complex(x), complex(y)
        return x + y if kind == "+" else x - y if kind == "-" else x * y if kind == "*" else x / y
    if max(map(_bits, (x, y))) > MAX_BITS:
        raise Unreadable("too large")
    return x + y if kind == "+" else x - y if kind == "-" else x * y if kind == "*" else x / y


def _raised(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            if abs(exponent.numerator) * max(_bits(base), 1) > MAX_BITS:
                raise Unreadable("too large")
            return base**exponent.numerator
        if base >= 0 and exponent.denominator <= 100:
            root = _rooted(base, exponent.denominator)
            return (
                _raised(root, Fraction(exponent.numerator))
                if isinstance(root, Fraction)
                else complex(float(base) ** float(exponent))
            )
    return complex(base) ** complex(exponent)


def _rooted(value: Number, degree: int) -> Number:
    if degree < 1:
        raise Unreadable("no such root")
    if isinstance(value, Fraction):
        if value < 0 and degree % 2:
            inner = _rooted(-value, degree)
            return -inner
        if value >= 0:
            top, bottom = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
            if top is not None and bottom is not None:
                return Fraction(top, bottom)
    return complex(value) ** (1 / degree)


def _integer_root(value: int, degree: int) -> int | None:
    if value.bit_length() > 2_000:
        return None
    root = math.isqrt(value) if degree == 2 else round(value ** (1 / degree)) if value.bit_length() < 1_000 else 0
    return next((r for r in (root - 1, root, root + 1) if r >= 0 and r**degree == value), None)


def _small_integer(value: Number, most: int) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= most:
        raise Unreadable("not a small integer")
    return value.numerator


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()
