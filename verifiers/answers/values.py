"""Typed values.

What a stated answer says, as a number with its unit, a date, an interval, a set, a formula, a yes, or words.

`read_value` reads what stands at the beginning of a statement; what follows a value ("42. I checked it in 2 ways", "72,
not 73") is not part of it, and what continues it (`42x`, `5 million`) is.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from orchestrator.verifiers.answers.formulas import Unreadable, number_of, read_formula
from orchestrator.verifiers.answers.intervals import NO_BOUND, bound_of, read_inequality
from orchestrator.verifiers.answers.latex import plain_of_latex
from orchestrator.verifiers.answers.moments import read_date, read_time, read_year_with_era
from orchestrator.verifiers.answers.number_words import (
    FRACTION_WORD,
    NUMBER_WORD,
    ROMAN,
    value_of_fraction,
    value_of_roman,
    value_of_words,
)
from orchestrator.verifiers.answers.numerals import Numeral, read_numeral, simplified
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.sentences import (
    APPROXIMATELY,
    SENTENCE_END,
    end_of_sentence,
    ends_at,
    is_alone,
    noun_behind,
)
from orchestrator.verifiers.answers.units import Unit, find_currency, find_unit
from orchestrator.verifiers.answers.value_types import (
    Collection,
    Data,
    Expression,
    Hints,
    Intervals,
    Quantity,
    Value,
    Words,
    YesNo,
    folded,
    words,
)

MAX_STATEMENT_CHARS = 6_000
MAX_VALUE_CHARS, MAX_ITEMS, MAX_DEPTH = 4_000, 500, 8
MAX_WORDS = 12
_YES_NO = Pattern(
    r"(?:(?P<yes>yes|yeah|yep|true|correct|ja|sí|si|oui|sim|да|是的|是|对|對|はい|हाँ|हां|نعم)|(?P<no>no|nope|false"
    r"|incorrect|nein|non|não|нет|不是|否|不|いいえ|नहीं|لا))"
    r"(?:\Z|[,.!;:，。！；：、।…]|\s*[–—-]\s|\s+(?:because|since|as|it|they|he|she|there|this|that|the|weil|porque|parce"
    r"|car|потому|thats|i|you|we)\b|\s*\()",
    re.IGNORECASE,
)
_BY_NAME = Pattern(
    r"(?P<name>[A-Za-zα-ω](?:_\w+|'|_\{\w+\}|[₀-₉])?(?:\([a-z]\))?|[A-Za-z]{2,20})\s*(?:=|≈|:=)\s*(?=\S)"
)
_SPLIT_ITEMS = Pattern(
    r"\s*(?:,\s*(?:and|or|und|oder|y|o|et|ou|e|и|или)\s+|,|;|、|，|\s+(?:and|or|und|oder|y|et|ou|и|или)\s+|和|与|或|と)\s*"
)
_RANGE = Pattern(
    r"(?P<low>[-+]?[\d.,]+)\s?(?:[-–—]|to|bis|a|à|до|〜|～)\s?(?P<high>[-+]?[\d.,]+)(?=[\s%.,;)]|\Z|[A-Za-z])"
)
_GOES_ON = Pattern(
    r"\s?(?:,|;|、)\s*(?:and |or |und |y |et |e )?(?=[-+]?[\d$€£√π∞.…(]|[a-z]\b|\.\.\.)"
    r"|\s+(?:and|or|und|oder|y|et|ou|и|или)\s+(?=[-+]?[\d$€£√π])"
)
_NEXT_PART = Pattern(r"\s*(?:,|and\b|und\b|y\b|et\b|e\b|и\b)?\s*(?=\d)")
_DOZEN = Pattern(r"\s?dozens?\b", re.IGNORECASE)
_LETTERS = Pattern(r"[^\W\d_]{4,}")
_SHORT_WORDS = Pattern(
    r"\b(?:is|are|was|it|in|of|the|to|and|or|so|we|he|she|by|at|on|if|as|an|its|for|has|had|us|my|no|ist|es|est|et|le"
    r"|la|el|un|um|de)\b"
)
_FUNCTION_NAMES = Pattern(r"sqrt|root|binom|arcsin|arccos|arctan|sinh|cosh|tanh")
_PRODUCT = Pattern(r"\d+[a-zA-Zπ]{1,3}|π|pi|\d+[²³]|[a-z]{1,2}[²³]?\d?(?<=[²³])")
_OPERATORS = Pattern(
    r"\d\s?[A-Za-zπ√(]|[*×·÷^²³√π!∞⁰¹-⁹]|[A-Za-z)\d]\s?[+/-]\s?[A-Za-z(\d]|\b(?:pi|sqrt|sin|cos|tan|log|ln|exp|binom"
    r"|root)\b|\)\(|[A-Za-z]\(|-[a-zA-Z]\b"
)
_NAME = Pattern(r"[A-Za-zα-ω](?:_\w+|_\{\w+\}|')?(?:\([a-z]\))?|[A-Za-z][A-Za-z ]*")
_UNIT_BEHIND = Pattern(r"(?<=[\d)}π])\s+(?=[^\W\d]{2}|[%$€£°]|m\b)")
_SIGN_APART = Pattern(r"^([-+])\s+(?=[\d\\.])")
_SIGN_WORD = Pattern(
    r"(?:^|(?<=\bis )|(?<=\bwas )|(?<== )|(?<=\bto ))(?:minus|negative)\s+(?=[\d$€£])",
    re.IGNORECASE,
)
_FEET = Pattern(r"(\d{1,3})\s?['’′]\s?(\d{1,2})\s?(?:\"|”|″|''|in\b|(?=\s|$|[.,]))")
_FOOT = find_unit("ft", 0)
_DOTS = Pattern(r"…|\.\.\.")
_OPEN, _CLOSE = "([{⟨", ")]}⟩"
_NUMBER_BEGINS = Pattern(r"(?:(?<![\w.])[-+]?\s?[$€£¥₹₽]?\s?|(?<![\w.,/^_]))(?=[-+]?\.?\d)")


def read_value(statement: str, hints: Hints, depth: int = 0) -> tuple[Value, int]:
    """The value that a statement (which is `prepared`) begins with, and how many of its characters it takes.

    Never fails: the rest is words.
    """
    text = statement
    if depth > MAX_DEPTH or len(text) > MAX_VALUE_CHARS:
        return words(text), len(text)
    lead = APPROXIMATELY.match(text)
    start = lead.end() if lead else 0
    for reader in _READERS:
        found = reader(text, start, hints, depth)
        if found is not None:
            return found
    end = SENTENCE_END.search(text, start)
    said = text[start : end.start() if end else len(text)]
    return words(said), end.start() if end else len(text)


def prepared(statement: str) -> str:
    """A statement without LaTeX, stars, quotes around it and foreign digits: what `read_value` reads."""
    text = plain_of_latex(statement.strip()[:MAX_STATEMENT_CHARS])
    text = _SIGN_WORD.sub("-", simplified(text).strip())
    for _ in range(4):
        stripped = text.strip(" \t\n*_`:")
        if len(stripped) > 1 and stripped[0] in "\"'“‘«「" and stripped[-1] in "\"'”’»」.":
            stripped = stripped.rstrip(".").strip("\"'“”‘’«»「」")
        if stripped == text:
            break
        text = stripped
    return re.sub(r"\*\*(?=\W|$)|(?<=\s)\*\*|^\*\*|``?", "", text) if "**" in text or "`" in text else text


def _read_data(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if text[start : start + 1] not in ("{", "[") or not re.match(
        r"\{\s*[\"']|\[[\[\s]*[{\"']|\{\}|\[\]", text[start : start + 200]
    ):
        return None
    try:
        value, length = json.JSONDecoder(strict=False).raw_decode(text[start:])
    except (ValueError, RecursionError):
        return None
    return Data(value, json.dumps(value, sort_keys=True, ensure_ascii=False)), start + length


def _read_yes_no(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    found = _YES_NO.match(text, start)
    if found is None or hints.is_numeric:
        return None
    end = found.end("yes") if found["yes"] else found.end("no")
    if re.match(r"\.\s?\d", text[end : end + 3]):  # "No. 5"
        return None
    return YesNo(found["yes"] is not None), end


def _read_moment(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    for read in (read_date, read_year_with_era, read_time):
        found = read(text, start)
        if found is not None and (ends_at(text, found[1]) or found[0].zone):
            return found
    return None


def _read_inequality(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    return read_inequality(text, start, hints, depth, read_value)


def _read_bracketed(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    opening = text[start : start + 1]
    close = _closing(text, start) if opening and (opening in _OPEN or opening == "]") else None
    if close is None or not ends_at(text, close + 1):
        return None
    inner = text[start + 1 : close]
    if opening == "{" and (not inner.strip() or inner.strip() == "∅"):
        return Collection("set", ()), close + 1
    items = _items(inner, hints, depth)
    if items is None:
        return None
    if len(items) == 1 and opening == "(":
        return (items[0], close + 1) if is_alone(text, close + 1) and not isinstance(items[0], Words) else None
    mixed = opening + text[close]
    if len(items) == 2 and mixed in ("()", "(]", "[)", "[]", "]["):
        ends = [bound_of(item) for item in items]
        if all(end is not NO_BOUND for end in ends):
            closed = (mixed[0] == "[", mixed[1] == "]")
            infinite = any(end is None for end in ends)
            if mixed in ("(]", "[)", "][") or infinite:
                is_closed = (closed[0] and ends[0] is not None, closed[1] and ends[1] is not None)
                return Intervals(((ends[0], ends[1], *is_closed),)), close + 1
            return Intervals(((ends[0], ends[1], *closed),), items=items, may_be_pair=True), close + 1
    form: Literal["set", "tuple", "list"] = "set" if opening == "{" else "list" if opening == "[" else "tuple"
    return Collection(form, items), close + 1


def _read_range(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    found = _RANGE.match(text, start)
    if found is None or re.match(r"\d+-\d+-\d|\d{3}-\d{4}", found[0]):
        return None
    low, high = read_numeral(found["low"]), read_numeral(found["high"])
    if (
        low is None
        or high is None
        or low.end != len(found["low"])
        or high.end != len(found["high"])
        or low.value >= high.value
    ):
        return None
    if low.is_padded or high.is_padded:
        return None
    return Intervals(((low.value, high.value, True, True),), name="range"), found.end()


def _read_quantity(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    first = _one_quantity(text, start, hints)
    if first is None:
        return None
    quantity, end = first
    while quantity.unit is not None:  # 5 ft 3 in, 2 hours and 30 minutes
        joint = _NEXT_PART.match(text, end)
        more = _one_quantity(text, joint.end(), hints) if joint else None
        if (
            more is None
            or more[0].unit is None
            or more[0].unit.dimension != quantity.unit.dimension
            or more[0].unit.factor >= quantity.unit.factor
        ):
            break
        total = (quantity.base + more[0].base) / quantity.unit.factor - quantity.unit.offset
        step = more[0].number.step * more[0].unit.factor / quantity.unit.factor
        quantity, end = Quantity(replace(quantity.number, value=total, step=step), quantity.unit), more[1]
    if _GOES_ON.match(text, end):  # 1, 2, 3
        row = _read_row(text, start, hints, depth)
        is_open = _DOTS.search(text, end, end + 100) or not text[end:].lstrip().startswith((",", ";", "、"))
        return (
            row if row is not None or is_open else (quantity, end)
        )  # "42, 2 of them red" is 42, "5 or 7, who knows" is neither
    return (quantity, end) if ends_at(text, end) else None


def _one_quantity(text: str, start: int, hints: Hints) -> tuple[Quantity, int] | None:
    if (feet := _FEET.match(text, start)) is not None:  # 5'11"
        total = Fraction(int(feet[1])) + Fraction(int(feet[2] or 0), 12)
        return Quantity(Numeral(total, start, feet.end()), _FOOT[0] if _FOOT else None), feet.end()
    sign = re.match(r"[-+]\s?(?=[$€£¥₹₽])", text[start : start + 4])
    currency = find_currency(text, start + (sign.end() if sign else 0))
    at = currency[1] if currency else start
    number = read_numeral(text, at, decimal_comma=hints.decimal_comma)
    if number is None:
        return None
    if sign and sign[0][0] == "-":
        number = replace(number, value=-number.value)
    if text[number.end : number.end + 1] in ("!", "^", "²", "³") or re.match(
        r"(?:\.\d)+", text[number.end : number.end + 4]
    ):
        return None
    if currency:
        return Quantity(number, currency[0]), number.end
    if (dozen := _DOZEN.match(text, number.end)) is not None:
        number = replace(number, value=number.value * 12, end=dozen.end())
    unit = find_unit(text, number.end)
    if unit is not None and (ends_at(text, unit[1]) or _NEXT_PART.match(text, unit[1])):
        return Quantity(replace(number, is_doubtful=False), unit[0]), unit[1]
    return Quantity(number, noun=noun_behind(text, number.end)), number.end


def _read_named(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    """`x = 5`, `20 + 6 + 8 = 34`: what is on the right; `x = 2 or x = 3` is a set."""
    if "=" not in text[start : start + 400]:
        return None
    end = end_of_sentence(text, start)
    said = text[start:end]
    if re.search(r"[<>≤≥≠!]=?", said) and "=" not in re.sub(r"[<>!]=", "", said):
        return None
    alternatives = re.split(
        r"\s*(?:,|;|\bor\b|\band\b|\boder\b|\bund\b|\bet\b|\bou\b|\by\b)\s*(?=[A-Za-z](?:_\{?\w\}?|[₀-₉])?\s*=)", said
    )
    if len(alternatives) > 1:
        read = [_BY_NAME.match(part) for part in alternatives]
        if all(read):
            values = tuple(
                read_value(part[found.end() :].strip(" ,;"), hints, depth + 1)[0]
                for part, found in zip(alternatives, read, strict=True)
                if found
            )
            names = {re.sub(r"[_{}\d₀-₉]", "", found["name"]) for found in read if found}
            return Collection("set" if len(names) == 1 else "row", values), end
    if "=" not in said:
        return None
    right = _SIGN_APART.sub(r"\1", said.rsplit("=", 1)[1].lstrip("> ").strip())
    left = said[: said.rindex("=")].strip()
    if any(left.count(opening) != left.count(closing) for opening, closing in ("()", "{}", "[]")):
        return None  # the sign is within a bracket
    if _is_equation(left):
        return Words(said, folded(said), is_mathematics=True), end
    if not right or len(left) > 300 or re.search(r"[^\W\d_]{3,}\s[^\W\d_]{3,}\s[^\W\d_]{3,}", left):
        return None
    value, _ = read_value(right, hints, depth + 1)
    if isinstance(value, Words) and not value.is_mathematics:
        return None
    named = _BY_NAME.match(said)
    if isinstance(value, Expression) and named:
        value = replace(value, name=named["name"])
    return value, end


def _is_equation(left: str) -> bool:
    """Whether variables stand on the left that are more than the name of what is on the right: 2x - y + 3 = 0."""
    if _NAME.fullmatch(left) or "=" in left:
        return False
    try:
        return bool(read_formula(left).names) and not _LETTERS.search(left)
    except Unreadable:
        return False


def _read_plus_minus(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if "±" not in text[start : start + 200]:
        return None
    end = end_of_sentence(text, start)
    said = re.sub(r"([±∓])\s+", r"\1", text[start:end])
    both = tuple(
        read_value(said.replace("±", sign, 1).replace("∓", other, 1).lstrip("+ "), hints, depth + 1)[0]
        for sign, other in (("+", "-"), ("-", "+"))
    )
    return None if any(isinstance(value, Words) for value in both) else (Collection("set", both), end)


def _read_expression(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    end = end_of_sentence(text, start)
    said = text[start:end].strip().rstrip(".,")
    if not _looks_mathematical(said):
        return None
    unit: Unit | None = None
    try:
        trailing = next(iter(deque(_UNIT_BEHIND.finditer(said), maxlen=1)), None)
        found = find_unit(said, trailing.end()) if trailing else None
        if trailing is not None and found is not None and found[1] == len(said):
            formula, unit = read_formula(said[: trailing.start()]), found[0]
        else:
            formula = read_formula(said)
    except Unreadable:
        return None
    value = number_of(formula)
    if isinstance(value, Fraction):
        return Quantity(Numeral(value, start, end), unit), end
    return Expression(formula, said, unit=unit), end


def _read_row(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    """`2, 3 and 5` without brackets: several values, if all are numbers or formulas."""
    end = end_of_sentence(text, start)
    said = text[start:end].strip().rstrip(".")
    if (
        not re.match(r"[-+(\d$€£√]|[a-zπ](?![a-z])", said, re.IGNORECASE)
        or len(parts := _SPLIT_ITEMS.split(said)) < 2
        or len(parts) > MAX_ITEMS
    ):
        return None
    read = [(part.strip(), *read_value(part.strip(), hints, depth + 1)) for part in parts if part.strip()]
    if len(read) < 2 or any(
        isinstance(value, Words | YesNo) or length < len(part) - _length_of_noun(value) for part, value, length in read
    ):
        return None
    return Collection("row", tuple(value for _, value, _ in read)), end


def _length_of_noun(value: Value) -> int:
    return len(value.noun) + 1 if isinstance(value, Quantity) and value.noun else 0


def _read_number_words(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if hints.is_roman and (roman := ROMAN.match(text, start)) and roman[0]:
        return Quantity(Numeral(Fraction(value_of_roman(roman[0])), start, roman.end())), roman.end()
    if not text[start : start + 1].isalpha():
        return None
    part = FRACTION_WORD.match(text, start)
    if part is not None and (value := value_of_fraction(part)) is not None:
        unit = find_unit(text, part.end())
        end = unit[1] if unit is not None and ends_at(text, unit[1]) else part.end()
        number = Numeral(value, start, part.end())
        return (Quantity(number, unit[0] if unit and end == unit[1] else None), end) if ends_at(text, end) else None
    found = NUMBER_WORD.match(text, start)
    if found is None:
        return None
    end = start + len(found[0].rstrip(" -"))
    counted = value_of_words(found[0])
    if counted is None:
        return None
    unit = find_unit(text, end)
    number = Numeral(Fraction(counted), start, end)
    if unit is not None and ends_at(text, unit[1]):
        return Quantity(number, unit[0]), unit[1]
    return (Quantity(number, noun=noun_behind(text, end)), end) if ends_at(text, end) else None


_READERS: tuple[Callable[[str, int, Hints, int], tuple[Value, int] | None], ...] = (
    _read_data, _read_yes_no, _read_moment, _read_plus_minus, _read_inequality, _read_bracketed, _read_named,
    _read_range, _read_quantity, _read_row,
    _read_expression, _read_number_words,
)  # fmt: skip


def quantities_in(text: str, hints: Hints) -> list[tuple[Quantity, int, int]]:
    """Every number of a text with its unit, and where it stands."""
    found: list[tuple[Quantity, int, int]] = []
    at = 0
    while len(found) < 200 and (digit := _NUMBER_BEGINS.search(text, at)):
        read = _one_quantity(text, digit.start(), hints) or _one_quantity(text, digit.end(), hints)
        if read is None:
            at = digit.end() + 1
            continue
        found.append((read[0], digit.start(), read[1]))
        at = max(read[1], digit.end() + 1)
    return found


def _looks_mathematical(said: str) -> bool:
    """Whether a text is worth reading as a formula: it has operators or numbers beside letters, and no words."""
    if len(said) > 400 or not said or _LETTERS.search(_FUNCTION_NAMES.sub("", said)) or _SHORT_WORDS.search(said):
        return False
    if said.isalnum():  # x and aB3x are names, 2x and π are not
        return bool(_PRODUCT.fullmatch(said))
    return bool(_OPERATORS.search(said))


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for position in range(start, min(len(text), start + MAX_VALUE_CHARS)):
        if text[position] in _OPEN or (position == start and text[position] == "]"):
            depth += 1
        elif text[position] in _CLOSE or (text[position] == "[" and position > start and text[start] == "]"):
            depth -= 1
            if depth == 0:
                return position
    return None


def _items(inner: str, hints: Hints, depth: int) -> tuple[Value, ...] | None:
    """The values of a list, split at the commas of its own level."""
    parts, level, begin = [], 0, 0
    for position, character in enumerate(inner):
        if character in _OPEN:
            level += 1
        elif character in _CLOSE:
            level -= 1
        elif (
            character in ",;"
            and level == 0
            and not (
                character == ","
                and re.match(r"\d{3}(?!\d)", inner[position + 1 : position + 5])
                and inner[position - 1 : position].isdigit()
                and ", " in inner
            )
        ):
            parts.append(inner[begin:position])
            begin = position + 1
    parts.append(inner[begin:])
    if len(parts) > MAX_ITEMS or not any(part.strip() for part in parts):
        return None
    return tuple(read_value(prepared(part), hints, depth + 1)[0] for part in parts if part.strip())
