"""What "yesterday" meant.

Time expressions resolved against the moment when they were said, so that nobody who reads the record need compute.

Days become dates, weeks the Monday they begin with, months and years themselves. What is not understood stays
as it is. Relative times are read in eight languages (`relative_days`), absolute ones in English and as 2025-03-04.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from orchestrator.memory.text.relative_days import shifts_in

MAX_CHARS = 4_000
MAX_SPANS = 8
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_MONTHS = "january february march april may june july august september october november december".split()
_MONTH_NUMBERS = {name: n for n, name in enumerate(_MONTHS, start=1)} | {
    name[:3]: n for n, name in enumerate(_MONTHS, start=1)
}
_NUMBERS = {
    word: n for n, word in enumerate("a one two three four five six seven eight nine ten eleven twelve".split())
} | {
    "a": 1,
    "an": 1,
}
_UNITS = r"(day|week|month|year)s?"
_COUNT = rf"(\d{{1,3}}|{'|'.join([*_NUMBERS, 'an', 'a couple of', 'a few'])})"
_RELATIVE = re.compile(
    r"\b(?:(?P<fixed>(?:the )?day before yesterday|(?:the )?day after tomorrow|yesterday|last night|today|tonight|this "
    r"morning|tomorrow)"
    rf"|(?P<which>last|next|this) (?P<unit>week|weekend|month|year|{'|'.join(_WEEKDAYS)})"
    rf"|(?P<ago>{_COUNT} {_UNITS} ago)|(?P<ahead>in {_COUNT} {_UNITS}))\b",
    re.IGNORECASE,
)
_FIXED = {"day before yesterday": -2, "yesterday": -1, "last night": -1, "today": 0, "tonight": 0, "this morning": 0,
"tomorrow": 1,
          "day after tomorrow": 2}  # fmt: skip
_MONTH = rf"(?:{'|'.join(_MONTHS)}|(?:{'|'.join(m[:3] for m in _MONTHS if m != 'may')})\b\.?)"
_ABSOLUTE = re.compile(
    r"\b(?:(?P<iso>\d{4}-\d{2}(?:-\d{2})?)"
    rf"|(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{_MONTH})(?:,? (?P<year>\d{{4}}))?"
    rf"|(?P<month2>{_MONTH}) (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,? (?P<year2>\d{{4}}))?"
    rf"|(?P<month3>{_MONTH}),? (?:of )?(?P<year3>\d{{4}})"
    rf"|(?:in|since|during|until|by|last|next|this|of|early|late|mid) (?P<month4>{_MONTH})"
    r"|(?:in|since|during|until|by|of|before|after|year) (?P<year5>(?:19|20)\d\d))\b",
    re.IGNORECASE,
)


# Every relative expression holds one of these.
_TELLTALES = (
    "yesterday",
    "today",
    "tonight",
    "tomorrow",
    "morning",
    "last ",
    "next ",
    "this ",
    " ago",
    "day",
    "week",
    "month",
    "year",
)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From the day `first` to the day `last`, both included."""

    first: date
    last: date
    label: str

    @classmethod
    def of_days(cls, first: date, n: int = 1) -> TimeSpan:
        """So many days from a first one."""
        return cls(first, first + timedelta(days=n - 1), str(first))

    @classmethod
    def of_week(cls, day: date) -> TimeSpan:
        """The week of a day, from Monday."""
        monday = day - timedelta(days=day.weekday())
        return cls(monday, monday + timedelta(days=6), f"week of {monday}")

    @classmethod
    def of_month(cls, year: int, month: int) -> TimeSpan:
        """A month."""
        first = date(year, month, 1)
        return cls(first, date(year, month, calendar.monthrange(year, month)[1]), f"{first:%Y-%m}")

    @classmethod
    def of_year(cls, year: int) -> TimeSpan:
        """A year."""
        return cls(date(year, 1, 1), date(year, 12, 31), f"{date(year, 1, 1):%Y}")


def with_dates(text: str, said: datetime | None) -> str:
    """The text with what each relative expression meant behind it: `yesterday [2023-05-07]`.

    Only the first 4,000 characters are read.
    """
    if said is None:
        return text
    for end, span in sorted(_relative_in(text[:MAX_CHARS], said.date()), key=lambda found: -found[0]):
        text = f"{text[:end]} [{span.label}]{text[end:]}"
    return text


def relative_spans(text: str, said: datetime | None) -> list[TimeSpan]:
    """What the relative expressions of a text meant when it was said, at most eight."""
    return [] if said is None else [span for _, span in _relative_in(text[:MAX_CHARS], said.date())][:MAX_SPANS]


def speaks_of_its_day(text: str) -> bool:
    """Whether what a text says depends on the day on which it is said: "I ran 5 km today"."""
    return bool(relative_spans(text, datetime(2000, 1, 1)))  # any day will do


def spans_in(text: str, said: datetime) -> list[TimeSpan]:
    """All times that a text speaks of, relative and absolute, at most eight.

    A month without a year is the last one that had begun.
    """
    found = (_absolute(match, said.date()) for match in _ABSOLUTE.finditer(text[:MAX_CHARS]))
    return (relative_spans(text, said) + [span for span in found if span is not None])[:MAX_SPANS]


def times_in(text: str) -> list[str]:
    """The times that a text speaks of, as they are written, in English."""
    return [match[0] for pattern in (_ABSOLUTE, _RELATIVE) for match in pattern.finditer(text)]


def without_times(text: str) -> str:
    """The text without the times that it speaks of, in English."""
    return _ABSOLUTE.sub(" ", _RELATIVE.sub(" ", text))


def _relative_in(text: str, day: date) -> list[tuple[int, TimeSpan]]:
    """Where each relative expression ends, and what it meant on a day."""
    lowered, found = text.lower(), list[tuple[int, TimeSpan]]()
    if any(telltale in lowered for telltale in _TELLTALES):
        meant = ((match.end(), _meant(match, day)) for match in _RELATIVE.finditer(text))
        found = [(end, span) for end, span in meant if span is not None]
    for shift in shifts_in(text):
        if all(abs(shift.end - end) > 1 for end, _ in found) and (span := _moved(day, shift.number, shift.unit)):
            found.append((shift.end, span))
    return found


def _moved(day: date, number: int, unit: str) -> TimeSpan | None:
    try:
        return _shifted(day, number, unit)
    except (OverflowError, ValueError):  # a day before the year 1, or after 9999
        return None


def _meant(match: re.Match[str], day: date) -> TimeSpan | None:
    try:
        if match["fixed"]:
            return TimeSpan.of_days(day + timedelta(days=_FIXED[match["fixed"].lower().removeprefix("the ")]))
        if match["which"]:
            return _relative(match["which"].lower(), match["unit"].lower(), day)
        words = (match["ago"] or match["ahead"]).lower().removesuffix(" ago").removeprefix("in ")
        count, _, unit = words.rpartition(" ")
        number = int(count) if count.isdecimal() else _NUMBERS.get(count)
        return None if number is None else _shifted(day, number if match["ahead"] else -number, unit.removesuffix("s"))
    except (OverflowError, ValueError):  # a day before the year 1, or after 9999
        return None


def _relative(which: str, unit: str, day: date) -> TimeSpan | None:
    step = {"last": -1, "this": 0, "next": 1}[which]
    if unit in _WEEKDAYS:
        if which == "this":
            return None  # said on a Friday, "this Monday" may be either
        away = (_WEEKDAYS.index(unit) - day.weekday()) % 7
        return TimeSpan.of_days(
            day + timedelta(days=(away or 7) if which == "next" else (away or 7) - 7 if away else -7)
        )
    if unit == "weekend":
        saturday = day - timedelta(days=day.weekday()) + timedelta(days=5, weeks=step)
        return TimeSpan(saturday, saturday + timedelta(days=1), f"{saturday} to {saturday + timedelta(days=1)}")
    return _shifted(day, step, unit)


def _shifted(day: date, number: int, unit: str) -> TimeSpan:
    if unit == "day":
        return TimeSpan.of_days(day + timedelta(days=number))
    if unit == "week":
        return TimeSpan.of_week(day + timedelta(weeks=number))
    if unit == "year":
        return TimeSpan.of_year(day.year + number)
    months = day.year * 12 + day.month - 1 + number
    return TimeSpan.of_month(months // 12, months % 12 + 1)


def _absolute(match: re.Match[str], day: date) -> TimeSpan | None:
    try:
        if match["iso"]:
            year, month, *rest = map(int, match["iso"].split("-"))
            return TimeSpan.of_days(date(year, month, rest[0])) if rest else TimeSpan.of_month(year, month)
        if match["year5"]:
            return TimeSpan.of_year(int(match["year5"]))
        name = match["month"] or match["month2"] or match["month3"] or match["month4"]
        month = _MONTH_NUMBERS[name.lower()[:3]]
        stated = match["year"] or match["year2"] or match["year3"]
        of_month = match["day"] or match["day2"]
        if stated:
            year = int(stated)
        else:
            year = day.year if (month, int(of_month or 1)) <= (day.month, day.day) else day.year - 1
        return TimeSpan.of_days(date(year, month, int(of_month))) if of_month else TimeSpan.of_month(year, month)
    except ValueError:  # 31 June
        return None
