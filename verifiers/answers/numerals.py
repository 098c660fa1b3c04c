"""Reading numbers as people and models write them.

Separators of many countries, fractions, powers of ten, magnitudes, other digits.

A separator that two countries read in two ways (`1.234` in a German text) gives a number with two possible values:
whoever compares it says so. The conventions are those of Unicode CLDR (number symbols and grouping by locale).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction

from orchestrator.verifiers.answers.pattern import Pattern

MAX_DIGITS = 400
MAX_EXPONENT = 400
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "\u3000": " "})
_MINUS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "﹣": "-",
        "－": "-",
        "＋": "+",
        "，": ",",
        "．": ".",
        "٬": ",",
        "٫": ".",
        "％": "%",
        "٪": "%",
        "／": "/",
    }
)
_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_FROM_SUPERSCRIPT = str.maketrans(_SUPERSCRIPT, "0123456789+-")
_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒"

_GROUPED = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}(?!\d)(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+(?!\d)"
_APART = (
    r"\d{1,3}(?: \d{3})+(?![\d/])(?:[.,]\d+)?|\d{1,3}(?:['’]\d{3})+(?!\d)(?:[.,]\d+)?|\d{1,2}(?:,\d{2})+,"
    r"\d{3}(?!\d)(?:\.\d+)?"
)
_PLAIN = r"\d+(?:\.\d+)?(?:,\d+)?|\.\d+"
_CORE = Pattern(rf"(?P<sign>[-+])?(?P<core>0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|{_APART}|{_GROUPED}|{_PLAIN})")
_FRACTION = Pattern(r"\s?/\s?(\d+)(?![\d.,/]*\d)")
_MIXED = Pattern(rf"[ ]?([{_VULGAR}])|[ ](\d+)\s?/\s?(\d+)(?![\d.,/]*\d)")
_EXPONENT = Pattern(
    rf"[eE](?P<e>[-+]?\d{{1,4}})(?!\w|\.\d)|\s?[x×*·✕]\s?10\s?(?:(?:\^|\*\*)\s?[{{(]?(?P<p>[-+]?\d{{1,4}})[)}}]?"
    rf"|(?P<s>[{_SUPERSCRIPT}]{{1,5}}))"
)
_POWER_OF_TEN = Pattern(
    rf"(?P<sign>[-+])?10(?:(?:\^|\*\*)[{{(]?(?P<p>[-+]?\d{{1,4}})[)}}]?|(?P<s>[{_SUPERSCRIPT}]{{1,5}}))"
)
_MAGNITUDES: dict[str, int] = {}
for _power, _words in {
    3: "thousand thousands tausend mil mille тысяч тысячи тысяча тыс ألف آلاف हज़ार हजार 千",
    6: "million millions mn mio millionen millones millón milhões milhão миллион миллиона миллионов млн مليون ملايين "
    "दसलाख",
    9: "billion billions bn milliard milliards milliarde milliarden mrd миллиард миллиарда миллиардов млрд مليار "
    "مليارات bilhão bilhões अरब",
    12: "trillion trillions trn trilhão trilhões billionen billón billones триллион триллиона триллионов трлн",
    5: "lakh lakhs lac लाख",
    7: "crore crores करोड़ करोड",
    4: "万 萬 万円",
    8: "亿 億",
    2: "hundred hundreds",
}.items():
    _MAGNITUDES |= dict.fromkeys(_words.split(), _power)
_MAGNITUDE = Pattern(
    rf"\s?(?P<word>{'|'.join(sorted(map(re.escape, _MAGNITUDES), key=len, reverse=True))})(?![^\W\d_])\.?",
    re.IGNORECASE,
)
_CJK_MAGNITUDE = Pattern(r"[千万萬亿億]")
_ATTACHED = Pattern(r"(k|K|M|B|bn|mn|tn)(?![\w°²³])")
_ATTACHED_POWER = {"k": 3, "K": 3, "M": 6, "B": 9, "bn": 9, "mn": 6, "tn": 12}


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number in a text, from `start` to `end`.

    `step` is the value of its last stated place (0 for integers and fractions, which are exact): 3.14 stands for what
    lies within half of
    0.01. `others` are further values that the same signs may have where the reader's country is not known;
    `is_doubtful` that they may be no number at all (3,5 may be two). `is_padded` says that it is written with leading
    zeros, as codes are.
    """

    value: Fraction
    start: int
    end: int
    step: Fraction = Fraction(0)
    others: tuple[Fraction, ...] = ()
    is_doubtful: bool = False
    is_padded: bool = False

    @property
    def significant_digits(self) -> int | None:
        """How many digits are stated, leading zeros aside; `None` for exact numbers."""
        return None if not self.step else len(str(abs(int(self.value / self.step)))) if self.value else 1


def simplified(text: str) -> str:
    """The text with ASCII digits, signs and separators in place of those of other scripts, character by character."""
    if text.isascii():
        return text
    text = text.translate(_SPACES).translate(_MINUS)
    return "".join(_ascii_digit(c) if c > "\x7f" and c.isdecimal() else c for c in text)


def read_numeral(text: str, start: int = 0, *, decimal_comma: bool = False) -> Numeral | None:
    """The number that `text` (which is `simplified`) has at `start`, or `None`.

    With `decimal_comma` the text is of a country that writes 3,5.

    Numbers of more than 400 digits or with exponents beyond 400 are not read.
    """
    if text[start : start + 1] in _VULGAR and text[start : start + 1]:
        return Numeral(_vulgar(text[start]), start, start + 1)
    if power := _POWER_OF_TEN.match(text, start):
        return _scaled(Numeral(Fraction(-1 if power["sign"] == "-" else 1), start, power.end()), _exponent(power))
    found = _CORE.match(text, start)
    if found is None or found.end() - found.start() > MAX_DIGITS:
        return None
    number = _of_core(found["core"], start, found.end(), decimal_comma)
    if found["sign"] == "-":
        number = replace(number, value=-number.value, others=tuple(-v for v in number.others))
    number = _with_fraction(text, number)
    if exponent := _EXPONENT.match(text, number.end):
        return _scaled(number, _exponent(exponent), exponent.end())
    return _with_magnitude(text, number)


def _of_core(core: str, start: int, end: int, decimal_comma: bool) -> Numeral:
    if core[:1] == "0" and core[1:2] in "xXbBoO" and len(core) > 2:
        return Numeral(Fraction(int(core, 0)), start, end)
    if " " in core or "'" in core or "’" in core:
        return _decimal(re.sub(r"[ '’]", "", core).replace(",", "."), start, end)
    points, commas = core.count("."), core.count(",")
    if not points and not commas:
        return _decimal(core, start, end)
    if points and commas:  # the last one is the decimal sign
        is_comma_decimal = core.rfind(",") > core.rfind(".")
        plain = core.replace(".", "").replace(",", ".") if is_comma_decimal else core.replace(",", "")
        return _decimal(plain, start, end)
    sign = "," if commas else "."
    if points + commas > 1:
        return _decimal(core.replace(sign, ""), start, end)
    before, after = core.split(sign)
    may_be_group = len(after) == 3 and 1 <= len(before) <= 3 and not before.startswith("0")
    as_decimal, as_group = _decimal(f"{before}.{after}", start, end), before + after
    if not may_be_group:
        return replace(as_decimal, is_doubtful=sign == "," and not decimal_comma)
    if sign == ",":
        return Numeral(Fraction(as_group), start, end, others=(as_decimal.value,) if decimal_comma else ())
    return Numeral(as_decimal.value, start, end, as_decimal.step, (Fraction(as_group),) if decimal_comma else ())


def _decimal(digits: str, start: int, end: int) -> Numeral:
    decimals = len(digits.partition(".")[2])
    padded = len(digits) > 1 and digits[0] == "0" and digits[1] != "."
    return Numeral(
        Fraction(digits), start, end, Fraction(1, 10**decimals) if decimals else Fraction(0), is_padded=padded
    )


def _with_fraction(text: str, number: Numeral) -> Numeral:
    """3/4, 2 1/2 and 2½: exact, whatever stands before."""
    if number.step:
        return number
    if (mixed := _MIXED.match(text, number.end)) and number.value.denominator == 1:
        denominator = 1 if mixed[1] else int(mixed[3])
        if denominator:
            part = _vulgar(mixed[1]) if mixed[1] else Fraction(int(mixed[2]), denominator)
            is_negative = number.value < 0 or text[number.start] == "-"
            return Numeral(number.value - part if is_negative else number.value + part, number.start, mixed.end())
    over = _FRACTION.match(text, number.end)
    if over and len(over[1]) < MAX_DIGITS and int(over[1]):
        return Numeral(number.value / int(over[1]), number.start, over.end())
    return number


def _with_magnitude(text: str, number: Numeral) -> Numeral | None:
    if number.end >= len(text):
        return number
    if attached := _ATTACHED.match(text, number.end):
        return _scaled(number, _ATTACHED_POWER[attached[1]], attached.end())
    following = text[number.end : number.end + 2].lstrip()[:1]
    if not following.isalpha():
        return number
    if (cjk := _CJK_MAGNITUDE.match(text, number.end)) is not None:
        return _scaled(number, _MAGNITUDES[cjk[0]], cjk.end())
    if found := _MAGNITUDE.match(text, number.end):
        return _scaled(number, _MAGNITUDES[found["word"].casefold()], found.end())
    return number


def _scaled(number: Numeral, power: int | None, end: int | None = None) -> Numeral | None:
    if power is None or abs(power) > MAX_EXPONENT:
        return None
    by = Fraction(10) ** power
    others = tuple(v * by for v in number.others)
    return replace(
        number,
        is_doubtful=False,
        value=number.value * by,
        end=number.end if end is None else end,
        step=number.step * by,
        others=others,
    )


def _exponent(found: re.Match[str]) -> int | None:
    groups = found.groupdict()
    written = groups.get("e") or groups.get("p") or (groups.get("s") or "").translate(_FROM_SUPERSCRIPT)
    try:
        return int(written)
    except ValueError:  # signs alone: 10⁺
        return None


def _vulgar(sign: str) -> Fraction:
    return Fraction(unicodedata.numeric(sign)).limit_denominator(10)


def _ascii_digit(character: str) -> str:
    return str(unicodedata.decimal(character))
