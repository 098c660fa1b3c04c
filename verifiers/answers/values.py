"""Typed values: what a stated answer says, as a number with its unit, a date, an interval, a set, a formula, a yes, or words.

`read_value` reads what stands at the beginning of a statement; what follows a value ("42. I checked it in 2 ways", "72, not 73") is not
part of it, and what continues it (`42x`, `5 million`) is.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from verifiers.answers.formulas import Formula, Unreadable, number_of, read_formula
from verifiers.answers.latex import plain_of_latex
from verifiers.answers.moments import Moment, read_date, read_time, read_year_with_era
from verifiers.answers.numerals import Numeral, read_numeral, simplified
from verifiers.answers.pattern import Pattern
from verifiers.answers.units import Unit, find_currency, find_unit

MAX_VALUE_CHARS, MAX_ITEMS, MAX_DEPTH = 4_000, 500, 8
MAX_WORDS = 12
_APPROXIMATELY = Pattern(
    r"(?:(?:about|approximately|approx\.?|around|roughly|nearly|almost|exactly|only|just|precisely|circa|ca\.|etwa"
    r"|ungefähr|rund|circa|genau|aproximadamente|cerca de|alrededor de|unos|environ|"
    r"à peu près|exactement|exactamente|около|примерно|ровно|大约|大約|约|約|लगभग|حوالي|تقريبا)\s?|[~≈≃∼]\s?)",
    re.IGNORECASE,
)
_LEAD = Pattern(
    r"(?:(?:it|that|this|[a-zA-Z]|there|they|he|she|we|which|so|thus|therefore|the (?:total|number|amount|cost|price"
    r"|value|sum|result|answer|difference|distance|area))\s+)?"
    r"(?:(?:is|are|was|were|has|have|had|equals?|costs?|takes?|makes?|will be|would be|comes to|amounts to|="
    r"|:)\s+)(?:a total of\s+|equal to\s+)?",
    re.IGNORECASE,
)
_SENTENCE_FINAL = Pattern(r"(?:です|でした|である|だ|\s(?:है|हैं|था|थी|थे))(?=[。।.\s]|\Z)")  # "is" at the end of the sentence
_ENDS = Pattern(
    r"\s{0,3}(?:\Z|[.!?。！？।]+(?:\s|\Z|[\"'”*`)\]])|[,;:，；：、](?:\s|\Z|(?=\D))|[)\]}\"'”*`»」|]|[–—-]{1,2}\s|\s?\(|\s?\["
    r"|\s→|\n|$)"
)
_CLAUSE = Pattern(
    r"\s+(?:because|since|as|not|rather|which|where|when|in|on|at|for|with|by|from|of|to|rounded|after|before|each"
    r"|per|total|altogether|overall|more|less|left|so|and|or|if|but|is|are|was|were|und|weil|da|nicht|porque|no|car"
    r"|parce|pas|não|потому|а|не|is|respectively|according|due|based|given|assuming|than)\b|(?:个|個|名|本|只|人|件|頭|匹|冊|枚"
    r"|つ)"
)
_NOUN = Pattern(r"\s+(?P<noun>[^\W\d_][^\W\d_'’-]+(?:[\s-]+[^\W\d_][^\W\d_'’-]+){0,5})")
_CONTINUES = Pattern(
    r"\s*(?:[*×·÷^²³√!+<>≤≥≠=±|]|\*\*|(?<=\d)[A-Za-z(π]|/\s*[A-Za-z(\d]|\s-\s?[\dA-Za-z(]|-(?=[A-Za-z(]\b)|\s(?:pi|π"
    r"|i|e|[xyznkabct])(?:\b|(?=[\^²³]))(?!\s[a-z]{2,}))"
)
_YES_NO = Pattern(
    r"(?:(?P<yes>yes|yeah|yep|true|correct|ja|sí|si|oui|sim|да|是的|是|对|對|はい|हाँ|हां|نعم)|(?P<no>no|nope|false"
    r"|incorrect|nein|non|não|нет|不是|否|不|いいえ|नहीं|لا))"
    r"(?:\Z|[,.!;:，。！；：、।…]|\s*[–—-]\s|\s+(?:because|since|as|it|they|he|she|there|this|that|the|weil|porque|parce"
    r"|car|потому|thats|i|you|we)\b|\s*\()",
    re.IGNORECASE,
)
_SENTENCE_END = Pattern(
    r"(?<![\d.])\.(?=\s|\Z)|(?<=\d)\.(?=\s+[^\W\d]|\Z)|[!?](?=\s|\Z)|[;。！？।\n]|\s[–—]\s|,?\s(?:because|since|which"
    r"|where|whereas|so that|weil|porque|parce que|car|потому что|ponieważ)\s|,\s?(?:not|nicht|no|pas|não|не|as|so"
    r"|but|and not)\s|\s(?:not|instead of|rather than)\s(?=[\d$(])|\s\((?=[a-z])"
)
_BY_NAME = Pattern(r"(?P<name>[A-Za-zα-ω](?:_\w+|'|_\{\w+\})?(?:\([a-z]\))?|[A-Za-z]{2,20})\s*(?:=|≈|:=)\s*(?=\S)")
_SPLIT_ITEMS = Pattern(
    r"\s*(?:,\s*(?:and|or|und|oder|y|o|et|ou|e|и|или)\s+|,|;|、|，|\s(?:and|or|und|oder|y|et|ou|и|или)\s|和|与|或|と)\s*"
)
_INEQUALITY = Pattern(
    r"(?P<left>[^<>≤≥=]+?)\s*(?P<op><=|>=|=<|=>|≤|≥|<|>|≠|!=)\s*(?P<middle>[^<>≤≥=]+?)(?:\s*(?P<op2><=|>=|≤|≥|<"
    r"|>)\s*(?P<right>[^<>≤≥=]+))?"
)
_RANGE = Pattern(r"(?P<low>[-+]?[\d.,]+)\s?(?:[-–—]|to|bis|a|à|до|〜|～)\s?(?P<high>[-+]?[\d.,]+)(?=[\s%.,;)]|\Z|[A-Za-z])")
_GOES_ON = Pattern(
    r"\s?(?:,|;|、)\s*(?:and |or |und |y |et |e )?(?=[-+]?[\d$€£√π∞.…(]|[a-z]\b|\.\.\.)|\s(?:and|or|und|oder|y|et|ou|и"
    r"|или)\s(?=[-+]?[\d$€£√π])"
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
_DOTS = Pattern(r"…|\.\.\.")
_OPEN, _CLOSE = "([{⟨", ")]}⟩"
_ONES = {
    w: n
    for n, w in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {w: 10 * n for n, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_WORD_POWERS = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NUMBER_WORDS = "|".join([*_ONES, *_TENS, *_WORD_POWERS, "a hundred", "a thousand", "a dozen", "dozen"])
_NUMBER_WORD = Pattern(
    rf"(?:minus |negative )?(?:(?:{_NUMBER_WORDS})\b(?:[\s-]+(?:and[\s-]+)?|$|(?=\W)))+",
    re.IGNORECASE,
)
_NUMBER_BEGINS = Pattern(r"(?:(?<![\w.])[-+]?\s?[$€£¥₹₽]?\s?|(?<![\w.,/^_]))(?=[-+]?\.?\d)")
_ROMAN = Pattern(r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?![\w])")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its `unit` (`None` without) or the `noun` that it counts. `text_form` is how a formula that gave it was written."""

    number: Numeral
    unit: Unit | None = None
    noun: str = ""

    @property
    def base(self) -> Fraction:
        """The value in base units."""
        return self.number.value if self.unit is None else self.unit.in_base(self.number.value)


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula with variables or irrational parts; `name` is what it is said to be (`y` of y = 2x)."""

    formula: Formula
    source: str
    name: str = ""
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """A union of intervals: (low, high, low is in it, high is in it), `None` for infinity; `name` is the variable of an inequality.

    `may_be_pair` says that (1, 2) was written, which may be two coordinates as well.
    """

    parts: tuple[tuple[Any, Any, bool, bool], ...]
    name: str = ""
    items: tuple[Value, ...] = ()
    may_be_pair: bool = False
    excludes: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """Several values: a set, a tuple (order counts), a list in brackets, or a row without brackets (it is not said whether order
    counts).
    """

    form: Literal["set", "tuple", "list", "row"]
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class YesNo:
    is_yes: bool


@dataclass(frozen=True, slots=True)
class Data:
    """A JSON or Python value."""

    value: Any = field(compare=False)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Text: `text` as written, `folded` for comparing; `is_exact` where case and signs count."""

    text: str
    folded: str
    is_exact: bool = False
    is_mathematics: bool = False


Value = Quantity | Expression | Pieces | Collection | YesNo | Data | Words | Moment


@dataclass(frozen=True, slots=True)
class Hints:
    """What a question lets expect of its answer."""

    is_numeric: bool = False
    is_roman: bool = False
    is_code: bool = False
    units: frozenset[Unit] = frozenset()
    decimal_comma: bool = False


def read_value(statement: str, hints: Hints, depth: int = 0) -> tuple[Value, int]:
    """The value that a statement (which is `prepared`) begins with, and how many of its characters it takes. Never fails: the rest is
    words.
    """
    text = statement
    if depth > MAX_DEPTH or len(text) > MAX_VALUE_CHARS:
        return words(text), len(text)
    lead = _APPROXIMATELY.match(text)
    start = lead.end() if lead else 0
    for reader in _READERS:
        found = reader(text, start, hints, depth)
        if found is not None:
            return found
    end = _SENTENCE_END.search(text, start)
    said = text[start : end.start() if end else len(text)]
    return words(said), end.start() if end else len(text)


def prepared(statement: str) -> str:
    """A statement without LaTeX, stars, quotes around it and foreign digits: what `read_value` reads."""
    text = plain_of_latex(statement.strip())
    text = simplified(text).strip()
    for _ in range(4):
        stripped = text.strip(" \t\n*_`:")
        if len(stripped) > 1 and stripped[0] in "\"'“‘«「" and stripped[-1] in "\"'”’»」.":
            stripped = stripped.rstrip(".").strip("\"'“”‘’«»「」")
        if stripped == text:
            break
        text = stripped
    return re.sub(r"\*\*(?=\W|$)|(?<=\s)\*\*|^\*\*|``?", "", text) if "**" in text or "`" in text else text


def words(text: str) -> Words:
    said = text.strip().strip("*_`").strip()
    if not said.isascii():
        said = _SENTENCE_FINAL.sub("", said.rstrip("。।."))
    return Words(said, folded(said))


def folded(text: str) -> str:
    """Case, width, punctuation at the ends and blanks folded; letters, digits and signs within kept."""
    text = unicodedata.normalize("NFKC", text).casefold() if not text.isascii() else text.lower()
    return " ".join(text.strip(" \t\n.,;:!?。，；：！？\"'“”‘’«»「」*_`").split())


def _read_data(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if text[start : start + 1] not in ("{", "[") or not re.match(r"\{\s*[\"']|\[[\[\s]*[{\"']|\{\}|\[\]", text[start : start + 200]):
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
        if found is not None and _ends_at(text, found[1]):
            return found
    return None


def _read_inequality(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if not re.search(r"[<>≤≥≠]|!=|∪|∈", text[start : start + 200]):
        return None
    end = _end_of_sentence(text, start)
    said = text[start:end]
    if "∪" in said and (union := _union(said, hints, depth)) is not None:
        return union, end
    if (member := re.match(r"([a-zA-Z])\s*∈\s*(.+)", said)) is not None:
        value, _ = read_value(member[2].strip(), hints, depth + 1)
        return (replace(value, name=member[1]) if isinstance(value, Pieces) else value), end
    parts = re.split(r"\s+(?:or|oder|o|ou|или)\s+|\s*∨\s*", said)
    if len(parts) > 1 and all(re.search(r"[<>≤≥]", part) for part in parts):
        pieces = [_inequality(part, hints, depth) for part in parts]
        if all(piece is not None and not piece.excludes for piece in pieces):
            joined = [part for piece in pieces if piece is not None for part in piece.parts]
            return Pieces(tuple(sorted(joined, key=_low_of)), pieces[0].name if pieces[0] else ""), end
    single = _inequality(said, hints, depth)
    return (single, end) if single is not None else None


def _read_bracketed(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    opening = text[start : start + 1]
    if not opening or (opening not in _OPEN and opening not in "]"):
        return None
    close = _closing(text, start)
    if close is None or not _ends_at(text, close + 1):
        return None
    inner = text[start + 1 : close]
    if opening == "{" and (not inner.strip() or inner.strip() == "∅"):
        return Collection("set", ()), close + 1
    items = _items(inner, hints, depth)
    if items is None:
        return None
    if len(items) == 1 and opening == "(":
        return (items[0], close + 1) if _is_alone(text, close + 1) and not isinstance(items[0], Words) else None
    mixed = opening + text[close]
    if len(items) == 2 and mixed in ("()", "(]", "[)", "[]", "]["):
        ends = [_bound(item) for item in items]
        if all(end is not _NO_BOUND for end in ends):
            closed = (mixed[0] == "[", mixed[1] == "]")
            infinite = any(end is None for end in ends)
            if mixed in ("(]", "[)", "][") or infinite:
                return Pieces(((ends[0], ends[1], closed[0] and ends[0] is not None, closed[1] and ends[1] is not None),)), close + 1
            return Pieces(((ends[0], ends[1], *closed),), items=items, may_be_pair=True), close + 1
    form: Literal["set", "tuple", "list"] = "set" if opening == "{" else "list" if opening == "[" else "tuple"
    return Collection(form, items), close + 1


def _read_range(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    found = _RANGE.match(text, start)
    if found is None or re.match(r"\d+-\d+-\d|\d{3}-\d{4}", found[0]):
        return None
    low, high = read_numeral(found["low"]), read_numeral(found["high"])
    if low is None or high is None or low.end != len(found["low"]) or high.end != len(found["high"]) or low.value >= high.value:
        return None
    if low.is_padded or high.is_padded:
        return None
    return Pieces(((low.value, high.value, True, True),), name="range"), found.end()


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
        return row if row is not None or is_open else (quantity, end)  # "42, 2 of them red" is 42, "5 or 7, who knows" is neither
    return (quantity, end) if _ends_at(text, end) else None


def _one_quantity(text: str, start: int, hints: Hints) -> tuple[Quantity, int] | None:
    sign = re.match(r"[-+]\s?(?=[$€£¥₹₽])", text[start : start + 4])
    currency = find_currency(text, start + (sign.end() if sign else 0))
    at = currency[1] if currency else start
    number = read_numeral(text, at, decimal_comma=hints.decimal_comma)
    if number is None:
        return None
    if sign and sign[0][0] == "-":
        number = replace(number, value=-number.value)
    if text[number.end : number.end + 1] in ("!", "^", "²", "³") or re.match(r"(?:\.\d)+", text[number.end : number.end + 4]):
        return None
    if currency:
        return Quantity(number, currency[0]), number.end
    if (dozen := _DOZEN.match(text, number.end)) is not None:
        number = replace(number, value=number.value * 12, end=dozen.end())
    unit = find_unit(text, number.end)
    if unit is not None and (_ends_at(text, unit[1]) or _NEXT_PART.match(text, unit[1])):
        return Quantity(replace(number, is_doubtful=False), unit[0]), unit[1]
    return Quantity(number, noun=_noun(text, number.end)), number.end


def _read_named(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    """`x = 5`, `20 + 6 + 8 = 34`: what is on the right; `x = 2 or x = 3` is a set."""
    if "=" not in text[start : start + 400]:
        return None
    end = _end_of_sentence(text, start)
    said = text[start:end]
    if re.search(r"[<>≤≥≠!]=?", said) and "=" not in re.sub(r"[<>!]=", "", said):
        return None
    alternatives = re.split(r"\s*(?:,|;|\bor\b|\band\b|\boder\b|\bund\b|\bet\b|\bou\b|\by\b)\s*(?=[A-Za-z]\s*=)", said)
    if len(alternatives) > 1:
        read = [_BY_NAME.match(part) for part in alternatives]
        if all(read):
            values = tuple(
                read_value(part[found.end() :].strip(" ,;"), hints, depth + 1)[0]
                for part, found in zip(alternatives, read, strict=True)
                if found
            )
            names = {found["name"] for found in read if found}
            return Collection("set" if len(names) == 1 else "row", values), end
    if "=" not in said:
        return None
    right = said.rsplit("=", 1)[1].lstrip("> ").strip()
    left = said[: said.rindex("=")].strip()
    if not right or len(left) > 300 or re.search(r"[^\W\d_]{3,}\s[^\W\d_]{3,}\s[^\W\d_]{3,}", left):
        return None
    value, _ = read_value(right, hints, depth + 1)
    if isinstance(value, Words) and not value.is_mathematics:
        return None
    named = _BY_NAME.match(said)
    if isinstance(value, Expression) and named:
        value = replace(value, name=named["name"])
    return value, end


def _read_plus_minus(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    if "±" not in text[start : start + 200]:
        return None
    end = _end_of_sentence(text, start)
    said = text[start:end]
    both = [
        read_value(said.replace("±", sign, 1).replace("∓", other, 1).lstrip("+ "), hints, depth + 1)[0]
        for sign, other in (("+", "-"), ("-", "+"))
    ]
    return None if any(isinstance(value, Words) for value in both) else (Collection("set", tuple(both)), end)


def _read_expression(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    end = _end_of_sentence(text, start)
    said = text[start:end].strip().rstrip(".,")
    if not _looks_mathematical(said):
        return None
    unit: Unit | None = None
    try:
        formula = read_formula(said)
    except Unreadable:
        trailing = re.search(r"(?<=[\d)}π])\s(?=[^\W\d]|[%$€£°])", said)
        found = find_unit(said, trailing.end()) if trailing else None
        if trailing is None or found is None or found[1] != len(said):
            return None
        try:
            formula, unit = read_formula(said[: trailing.start()]), found[0]
        except Unreadable:
            return None
    value = number_of(formula)
    if isinstance(value, Fraction):
        return Quantity(Numeral(value, start, end), unit), end
    return Expression(formula, said, unit=unit), end


def _read_row(text: str, start: int, hints: Hints, depth: int) -> tuple[Value, int] | None:
    """`2, 3 and 5` without brackets: several values, if all are numbers or formulas."""
    end = _end_of_sentence(text, start)
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
    if hints.is_roman and (roman := _ROMAN.match(text, start)) and roman[0]:
        return Quantity(Numeral(Fraction(_of_roman(roman[0])), start, roman.end())), roman.end()
    if not text[start : start + 1].isalpha():
        return None
    found = _NUMBER_WORD.match(text, start)
    if found is None:
        return None
    end = start + len(found[0].rstrip(" -"))
    value = _of_words(found[0])
    if value is None:
        return None
    unit = find_unit(text, end)
    number = Numeral(Fraction(value), start, end)
    if unit is not None and _ends_at(text, unit[1]):
        return Quantity(number, unit[0]), unit[1]
    return (Quantity(number, noun=_noun(text, end)), end) if _ends_at(text, end) else None


_READERS: tuple[Callable[[str, int, Hints, int], tuple[Value, int] | None], ...] = (
    _read_data, _read_yes_no, _read_moment, _read_plus_minus, _read_inequality, _read_bracketed, _read_named, _read_range, _read_quantity, _read_row,
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


def is_continued(text: str, end: int) -> bool:
    """Whether what stands behind a number makes something else of it: an operator, a letter, a power."""
    return bool(_CONTINUES.match(text, end))


def without_lead(text: str) -> str:
    """`it is 5`, `x costs $5` without the words in front of the value."""
    found = _LEAD.match(text)
    return text[found.end() :] if found and found.end() else text


def _ends_at(text: str, end: int) -> bool:
    """Whether a value may end here: a sentence or clause ends, or plain words follow."""
    if end >= len(text):
        return True
    if _CONTINUES.match(text, end):
        return False
    return any(pattern.match(text, end) for pattern in (_ENDS, _CLAUSE, _NOUN, _SENTENCE_FINAL)) or text[end : end + 1] in "个個名只人本件"


def _is_alone(text: str, end: int) -> bool:
    return not text[end:].strip(" .,;:!?*\"'`")


def _noun(text: str, end: int) -> str:
    clause = _CLAUSE.match(text, end)
    found = None if clause else _NOUN.match(text, end)
    return found["noun"].lower() if found else ""


def _end_of_sentence(text: str, start: int) -> int:
    found = _SENTENCE_END.search(text, start)
    return found.start() if found else len(text)


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


_NO_BOUND = object()


def _bound(value: Value) -> Any:
    """An end of an interval: a number, `None` for infinity, a key for an irrational number, `_NO_BOUND` for anything else."""
    if isinstance(value, Quantity):
        return value.base
    if isinstance(value, Words):
        return None if value.folded.strip("+- ") in ("∞", "inf", "infinity", "oo") else _NO_BOUND
    if isinstance(value, Expression):
        if value.formula.names == {"∞"}:
            return None
        number = number_of(value.formula)
        return _NO_BOUND if number is None or isinstance(number, Fraction) or abs(number.imag) > 1e-12 else round(number.real, 9)
    return _NO_BOUND


def _inequality(said: str, hints: Hints, depth: int) -> Pieces | None:
    found = _INEQUALITY.fullmatch(said.strip().rstrip("."))
    if found is None:
        if (unequal := re.fullmatch(r"\s*(?:([a-zA-Z])\s*)?(?:≠|!=)\s*(.+)", said)) is not None:
            value, _ = read_value(unequal[2].strip(), hints, depth + 1)
            bound = _bound(value)
            return None if bound is _NO_BOUND else Pieces(((bound, bound, True, True),), name=unequal[1] or "", excludes=True)
        if re.fullmatch(r"\s*(?:<=|>=|≤|≥|<|>)\s*.+", said):
            return _inequality(f"x {said.strip()}", hints, depth)
        return None
    sides = [found["left"].strip(), found["middle"].strip(), *([found["right"].strip()] if found["right"] else [])]
    ops = [found["op"], *([found["op2"]] if found["op2"] else [])]
    if ops[0] in ("≠", "!="):
        bound = _bound(read_value(sides[1], hints, depth + 1)[0])
        return None if bound is _NO_BOUND or len(sides) > 2 else Pieces(((bound, bound, True, True),), name=sides[0], excludes=True)
    if len(sides) == 3:
        if not re.fullmatch(r"[A-Za-zα-ω](?:_\w+)?", sides[1]) or (ops[0][0] in "<≤") != (ops[1][0] in "<≤"):
            return None
        low, high = (_bound(read_value(side, hints, depth + 1)[0]) for side in (sides[0], sides[2]))
        closed = ["=" in op or op in "≤≥" for op in ops]
        if ops[0][0] in ">≥":
            low, high, closed = high, low, closed[::-1]
        return None if low is _NO_BOUND or high is _NO_BOUND else Pieces(((low, high, closed[0], closed[1]),), name=sides[1])
    is_variable = [bool(re.fullmatch(r"[A-Za-zα-ω](?:_\w+)?", side)) for side in sides]
    if is_variable[0] == is_variable[1]:
        return None
    bound = _bound(read_value(sides[1] if is_variable[0] else sides[0], hints, depth + 1)[0])
    if bound is _NO_BOUND:
        return None
    is_below = (ops[0][0] in "<≤") == is_variable[0]
    is_closed = "=" in ops[0] or ops[0] in "≤≥"
    part = (None, bound, False, is_closed) if is_below else (bound, None, is_closed, False)
    return Pieces((part,), name=sides[0] if is_variable[0] else sides[1])


def _union(said: str, hints: Hints, depth: int) -> Pieces | None:
    parts: list[tuple[Any, Any, bool, bool]] = []
    name = ""
    if (member := re.match(r"\s*([a-zA-Z])\s*∈\s*", said)) is not None:
        name, said = member[1], said[member.end() :]
    for piece in said.split("∪"):
        value, _ = read_value(piece.strip(), hints, depth + 1)
        if not isinstance(value, Pieces):
            return None
        parts.extend(value.parts)
    return Pieces(tuple(sorted(parts, key=_low_of)), name)


def _low_of(part: tuple[Any, Any, bool, bool]) -> float:
    return float("-inf") if part[0] is None else float(part[0])


def _of_words(text: str) -> int | None:
    total = current = 0
    seen = False
    lowered = text.lower().replace("-", " ").split()
    is_negative = lowered[:1] in (["minus"], ["negative"])
    for word in lowered[is_negative:]:
        if word in ("and", "a"):
            continue
        seen = True
        if word == "dozen":
            current = max(current, 1) * 12
        elif word in _ONES:
            current += _ONES[word]
        elif word in _TENS:
            current += _TENS[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _WORD_POWERS:
            total += max(current, 1) * _WORD_POWERS[word]
            current = 0
        else:
            return None
    return (-(total + current) if is_negative else total + current) if seen else None


@lru_cache(maxsize=256)
def _of_roman(text: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1_000}[c] for c in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))
