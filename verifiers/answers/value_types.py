"""The types of value that an answer may state."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from orchestrator.verifiers.answers.formulas import Formula
from orchestrator.verifiers.answers.moments import Moment
from orchestrator.verifiers.answers.numerals import Numeral
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.units import Unit

SENTENCE_FINAL = Pattern(
    r"(?:です|でした|である|だ|\s(?:है|हैं|था|थी|थे))(?=[。।.\s]|\Z)"
)  # "is" at the end of the sentence


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its `unit` (`None` without) or the `noun` that it counts."""

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
class Intervals:
    """A union of intervals: (low, high, low is in it, high is in it), `None` for infinity.

    `name` is the variable of an inequality.

    Ends are exact fractions, or floats where they are irrational. `may_be_pair` says that (1, 2) was written, which may
    be two coordinates as well: these are `items`. With `excludes`, everything else is meant (x ≠ 3).
    """

    parts: tuple[tuple[Any, Any, bool, bool], ...]
    name: str = ""
    items: tuple[Value, ...] = ()
    may_be_pair: bool = False
    excludes: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """Several values.

    A set, a tuple (order counts), a list in brackets, or a row without brackets (it is not said whether order counts).
    """

    form: Literal["set", "tuple", "list", "row"]
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class YesNo:
    """An answer to a question for yes or no, in whatever language."""

    is_yes: bool


@dataclass(frozen=True, slots=True)
class Data:
    """A JSON value, or a block of code as text; `key` is equal for equal ones (keys of objects sorted)."""

    value: Any = field(compare=False)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Text: `text` as written, `folded` (case, width and blanks) for comparing; `is_exact` where case and signs count.

    `is_mathematics` for what looks like a formula and could not be read.
    """

    text: str
    folded: str
    is_exact: bool = False
    is_mathematics: bool = False


Value = Quantity | Expression | Intervals | Collection | YesNo | Data | Words | Moment


@dataclass(frozen=True, slots=True)
class Hints:
    """What a question lets expect of its answer: a number, a Roman numeral, a literal of code, a date.

    The `units` that it names.

    `decimal_comma` says that the answer is in a language whose countries write 3,5 for three and a half.
    """

    is_numeric: bool = False
    is_roman: bool = False
    is_code: bool = False
    units: frozenset[Unit] = frozenset()
    is_date: bool = False
    decimal_comma: bool = False


def words(text: str) -> Words:
    """A text as words, without what only ends a sentence in Japanese and Hindi."""
    said = text.strip().strip("*_`").strip()
    if not said.isascii():
        said = SENTENCE_FINAL.sub("", said.rstrip("。।."))
    return Words(said, folded(said))


def folded(text: str) -> str:
    """Case, width, punctuation at the ends and blanks folded; letters, digits and signs within kept."""
    text = unicodedata.normalize("NFKC", text).casefold() if not text.isascii() else text.lower()
    return " ".join(text.strip(" \t\n.,;:!?。，；：！？\"'“”‘’«»「」*_`").split())
