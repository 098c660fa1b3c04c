"""What "yesterday" meant: time expressions resolved against the moment when they were said, so that a reader of the record need not compute.

Days become dates, weeks the Monday they begin with, months and years themselves. What is not understood stays as it is.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

MAX_CHARS = 4_000
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_NUMBERS = {word: n for n, word in enumerate("a one two three four five six seven eight nine ten eleven twelve".split())} | {
    "a": 1,
    "an": 1,
}
_UNITS = r"(day|week|month|year)s?"
_COUNT = rf"(\d{{1,3}}|{'|'.join([*_NUMBERS, 'an', 'a couple of', 'a few'])})"
_EXPRESSION = re.compile(
    r"\b(?:(?P<fixed>(?:the )?day before yesterday|(?:the )?day after tomorrow|yesterday|last night|today|tonight|this morning|tomorrow)"
    rf"|(?P<which>last|next|this) (?P<unit>week|weekend|month|year|{'|'.join(_WEEKDAYS)})"
    rf"|(?P<ago>{_COUNT} {_UNITS} ago)|(?P<ahead>in {_COUNT} {_UNITS}))\b",
    re.IGNORECASE,
)
_FIXED = {"day before yesterday": -2, "yesterday": -1, "last night": -1, "today": 0, "tonight": 0, "this morning": 0, "tomorrow": 1,
          "day after tomorrow": 2}  # fmt: skip


# Every expression holds one of these.
_TELLTALES = ("yesterday", "today", "tonight", "tomorrow", "morning", "last ", "next ", "this ", " ago", "day", "week", "month", "year")


def with_dates(text: str, said: datetime | None) -> str:
    """The text with what each expression meant behind it: `yesterday [2023-05-07]`. Only the first 4,000 characters are read."""
    if said is None:
        return text
    lowered = text[:MAX_CHARS].lower()
    if not any(telltale in lowered for telltale in _TELLTALES):
        return text
    day = said.date()

    def resolved(match: re.Match[str]) -> str:
        meant = _meant(match, day)
        return match[0] if meant is None else f"{match[0]} [{meant}]"

    return _EXPRESSION.sub(resolved, text[:MAX_CHARS]) + text[MAX_CHARS:]


def _meant(match: re.Match[str], day: date) -> str | None:
    try:
        if match["fixed"]:
            return str(day + timedelta(days=_FIXED[match["fixed"].lower().removeprefix("the ")]))
        if match["which"]:
            return _relative(match["which"].lower(), match["unit"].lower(), day)
        words = (match["ago"] or match["ahead"]).lower().removesuffix(" ago").removeprefix("in ")
        count, _, unit = words.rpartition(" ")
        number = int(count) if count.isdecimal() else _NUMBERS.get(count)
        return None if number is None else _shifted(day, number if match["ahead"] else -number, unit.removesuffix("s"))
    except (OverflowError, ValueError):  # a day before the year 1, or after 9999
        return None


def _relative(which: str, unit: str, day: date) -> str | None:
    step = {"last": -1, "this": 0, "next": 1}[which]
    if unit in _WEEKDAYS:
        if which == "this":
            return None  # said on a Friday, "this Monday" may be either
        away = (_WEEKDAYS.index(unit) - day.weekday()) % 7
        return str(day + timedelta(days=(away or 7) if which == "next" else (away or 7) - 7 if away else -7))
    if unit == "weekend":
        saturday = day - timedelta(days=day.weekday()) + timedelta(days=5, weeks=step)
        return f"{saturday} to {saturday + timedelta(days=1)}"
    return _shifted(day, step, unit)


def _shifted(day: date, number: int, unit: str) -> str:
    if unit == "day":
        return str(day + timedelta(days=number))
    if unit == "week":
        return f"week of {day - timedelta(days=day.weekday()) + timedelta(weeks=number)}"
    if unit == "year":
        return f"{date(day.year + number, 1, 1):%Y}"
    months = day.year * 12 + day.month - 1 + number
    return f"{date(months // 12, months % 12 + 1, 1):%Y-%m}"
