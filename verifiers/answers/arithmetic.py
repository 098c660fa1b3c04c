"""Exact arithmetic in plain English.

A precedence-climbing parser over fractions, which refuses whatever it does not wholly understand.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_BITS = 4_000
MAX_EXPONENT = 512
_LEAD = re.compile(
    r"^\s*(?:please\s+)?(?:(?:what(?:'s|’s| is| are)|how much (?:is|are|does)|calculate"
    r"|compute|work out|evaluate|solve|find|tell me|give me)\s+)*(?:the\s+)?"
    r"(?:(?:value|result|answer)\s+(?:of|to)\s+)?",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s*(?:=\s*\??|\?|\.|(?<![\d)])!|equal(?:s)?(?: to)?|please|make)*\s*$", re.IGNORECASE)
_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:square root of|sqrt of|sqrt|root of)\b|√", " sqrt "),
    (r"\b(?:to the power of|raised to the power of|raised to)\b", " ^ "),
    (r"\bsquared\b", " ^ 2 "),
    (r"\bcubed\b", " ^ 3 "),
    (r"\b(?:multiplied by|times)\b|[×·]", " * "),
    (r"(?<=[\d)])\s*x\s*(?=[\d(])", " * "),
    (r"\b(?:divided by|over)\b|÷", " / "),
    (r"\b(?:modulo|mod)\b", " mod "),
    (r"\bplus\b", " + "),
    (r"\bminus\b|−|–", " - "),
    (r"\bper ?cent\b", " % "),
    (r"\b(?:half of)\b", " 0.5 * "),
    (r"\b(?:a third of)\b", " (1/3) * "),
    (r"\b(?:a quarter of)\b", " 0.25 * "),
    (r"\bof\b", " of "),
    (r"\*\*", " ^ "),
)
_TOKEN = re.compile(r"\s*(?:(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)|(sqrt|mod|of)\b|([-+*/^%()!]))")


class NotArithmetic(Exception):
    """The text is not wholly arithmetic, or its result is too large to be useful."""


def evaluate(question: str) -> Fraction:
    """The exact value of an arithmetic question.

    Raises `NotArithmetic` on anything else, a division by zero or an enormous result.

    `20 % of 50` is 10; `80 + 15 %` is 92 (a percentage after + or - is of what stands before it, as people mean it).
    """
    text = _TAIL.sub("", _LEAD.sub("", question, count=1)).replace("$", " ").replace("€", " ")
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    tokens = _tokenise(text)
    operators = [t for t in tokens if isinstance(t, str) and t not in "()"]
    if not operators or not any(isinstance(t, Fraction) for t in tokens):
        raise NotArithmetic("a bare number is not a question")
    parser = _ArithmeticParser(tokens)
    value, is_percent = parser.sum()
    if parser.position != len(tokens):
        raise NotArithmetic("something is left over")
    return value / 100 if is_percent else value


def format_value(value: Fraction) -> str:
    """Exact when it is short (integers, terminating decimals), else rounded to 10 significant digits."""
    if value.denominator == 1:
        return str(value.numerator)
    twos_and_fives = value.denominator
    for prime in (2, 5):
        while twos_and_fives % prime == 0:
            twos_and_fives //= prime
    if twos_and_fives == 1 and value.denominator < 10**10:
        places = next(n for n in range(1, 60) if (value * 10**n).denominator == 1)
        scaled = abs(value * 10**places).numerator
        digits = str(scaled).rjust(places + 1, "0")
        return ("-" if value < 0 else "") + digits[:-places] + "." + digits[-places:]
    return f"{float(value):.10g}"


def _tokenise(text: str) -> list[Fraction | str]:
    tokens: list[Fraction | str] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotArithmetic(f"not arithmetic: {text[position : position + 20]!r}")
        number, word, symbol = match.groups()
        tokens.append(Fraction(number.replace(",", "")) if number else (word or symbol).lower())
        position = match.end()
    return tokens


class _ArithmeticParser:
    """sum := product ((+|-) product)*; product := power ((*|/|mod|of) power)*; power := unary (^ power)?.

    Postfix % and !.
    """

    def __init__(self, tokens: list[Fraction | str]) -> None:
        self._tokens = tokens
        self.position = 0
        self._depth = 0

    def sum(self) -> tuple[Fraction, bool]:
        value, percent = self._product()
        while (operator := self._take("+", "-")) is not None:
            right, right_percent = self._product()
            if right_percent and not percent:
                right = value * right / 100
            elif percent != right_percent:
                raise NotArithmetic("a percentage and a number do not add up")
            value = _bounded(value + right if operator == "+" else value - right)
        return value, percent

    def _product(self) -> tuple[Fraction, bool]:
        value, percent = self._power()
        while (operator := self._take("*", "/", "mod", "of")) is not None:
            right, right_percent = self._power()
            if percent:
                value, percent = value / 100, False
            if right_percent:
                right = right / 100
            if operator in ("/", "mod") and right == 0:
                raise NotArithmetic("division by zero")
            value = _bounded(
                value * right if operator in ("*", "of") else value / right if operator == "/" else value % right
            )
        return value, percent

    def _power(self) -> tuple[Fraction, bool]:
        value, percent = self._unary()
        if self._take("^") is not None:
            exponent, _ = self._power()
            if percent or exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or (value == 0 and exponent < 0):
                raise NotArithmetic("this power has no exact value of reasonable size")
            if abs(exponent) * max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
                raise NotArithmetic("this power is enormous")
            value = value ** int(exponent)
        return value, percent

    def _unary(self) -> tuple[Fraction, bool]:
        self._depth += 1
        if self._depth > 50:
            raise NotArithmetic("nested too deeply")
        try:
            if self._take("-") is not None:
                value, percent = self._power()
                return -value, percent
            if self._take("+") is not None:
                return self._power()
            if self._take("sqrt") is not None:
                return _root(self._unary()[0]), False
            return self._postfix()
        finally:
            self._depth -= 1

    def _postfix(self) -> tuple[Fraction, bool]:
        if self._take("(") is not None:
            value, percent = self.sum()
            if self._take(")") is None:
                raise NotArithmetic("a bracket is not closed")
        else:
            token = self._tokens[self.position] if self.position < len(self._tokens) else None
            if not isinstance(token, Fraction):
                raise NotArithmetic("a number is missing")
            self.position += 1
            value, percent = token, False
        if self._take("!") is not None:
            if value.denominator != 1 or not 0 <= value <= 300:
                raise NotArithmetic("this factorial has no reasonable size")
            value = Fraction(math.factorial(int(value)))
        if self._take("%") is not None:
            percent = True
        return value, percent

    def _take(self, *symbols: str) -> str | None:
        token = self._tokens[self.position] if self.position < len(self._tokens) else None
        if isinstance(token, str) and token in symbols:
            self.position += 1
            return token
        return None


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise NotArithmetic("the result is enormous")
    return value


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise NotArithmetic("the square root of a negative number is not real")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    return Fraction(math.sqrt(value))
