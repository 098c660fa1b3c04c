"""Date sums.

Days between two dates, a date plus or minus a span, the weekday of a date (proleptic Gregorian calendar).
"""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta

_MONTHS = {
    name.lower(): number
    for number in range(1, 13)
    for name in (calendar.month_name[number], calendar.month_abbr[number])
}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DATE = (
    rf"(?:\d{{4}}-\d{{1,2}}-\d{{1,2}}|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}|\d{{1,"
    rf"2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+\d{{4}}"
    r"|today|tomorrow|yesterday)"
)
_SPAN = r"(\d{1,6})\s+(day|week|month|year|business day|working day)s?"
_BETWEEN = re.compile(
    rf"^\s*how (?:many|much) (days|weeks)\s+(?:(?:are|were|is)\s+)?(?:there\s+|it\s+)?(?:between|from|lie between)"
    rf"\s+({_DATE})\s+(?:and|to|until|till)\s+({_DATE})\s*\??\s*$",
    re.IGNORECASE,
)
_SHIFT = re.compile(
    rf"^\s*(?:what(?:'s|’s| is)?\s+)?(?:(?:the\s+)?(?:date|day)\s+)?(?:(?:is|was|will be|falls)\s+(?:it\s+)?)?"
    rf"{_SPAN}\s+(after|before|from|since)\s+({_DATE})\s*\??\s*$",
    re.IGNORECASE,
)
_PLUS = re.compile(rf"^\s*(?:what(?:'s|’s| is)\s+)?({_DATE})\s*(\+|-|plus|minus)\s*{_SPAN}\s*\??\s*$", re.IGNORECASE)
_WEEKDAY = re.compile(
    rf"^\s*(?:what|which)\s+(?:day of the week|weekday|day)\s+(?:of the week\s+)?(?:is|was|will|does)\s+"
    rf"(?:it\s+(?:on\s+)?)?({_DATE})(?:\s+(?:be|fall on))?\s*\??\s*$",
    re.IGNORECASE,
)
MAX_SPAN_DAYS = 3_650_000


def answer_date(question: str, today: date) -> str | None:
    """The answer to a date sum, or `None` if the question is not one. Dates must name their year (or be `today`)."""
    try:
        if match := _BETWEEN.match(question):
            first, second = read_date(match[2], today), read_date(match[3], today)
            days = abs((second - first).days)
            return f"{days} days" if match[1].lower() == "days" else f"{days / 7:.10g} weeks"
        if match := _SHIFT.match(question):
            sign = -1 if match[3].lower() == "before" else 1
            return _spoken(shift(read_date(match[4], today), sign * int(match[1]), match[2].lower()))
        if match := _PLUS.match(question):
            sign = -1 if match[2].lower() in ("-", "minus") else 1
            return _spoken(shift(read_date(match[1], today), sign * int(match[3]), match[4].lower()))
        if match := _WEEKDAY.match(question):
            return f"{read_date(match[1], today):%A}"
    except (ValueError, OverflowError):  # 31 February, or beyond year 9999
        return None
    return None


def read_date(text: str, today: date) -> date:
    """A date in ISO form, `March 4, 2025`, `4 March 2025`, or today/tomorrow/yesterday.

    Raises `ValueError` if it does not exist.
    """
    lowered = text.lower().strip()
    relative = {"today": 0, "tomorrow": 1, "yesterday": -1}
    if lowered in relative:
        return today + timedelta(days=relative[lowered])
    if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", lowered):
        year, month, day = map(int, lowered.split("-"))
        return date(year, month, day)
    month_name = re.search(_MONTH, lowered)
    numbers = re.findall(r"\d+", lowered)
    if month_name is None or len(numbers) != 2:
        raise ValueError(f"not a date: {text!r}")
    return date(int(numbers[1]), _MONTHS[month_name.group().rstrip(".")], int(numbers[0]))


def shift(start: date, amount: int, unit: str) -> date:
    """`start` moved by `amount` days, weeks, months, years or business days (Monday to Friday).

    Month ends are kept inside the month.
    """
    if abs(amount) > MAX_SPAN_DAYS:
        raise ValueError("the span is too long")
    if unit in ("day", "week"):
        return start + timedelta(days=amount * (7 if unit == "week" else 1))
    if unit in ("business day", "working day"):
        step = 1 if amount >= 0 else -1
        for _ in range(min(abs(amount), 100_000)):
            start += timedelta(days=step)
            while start.weekday() >= 5:
                start += timedelta(days=step)
        return start
    months = start.year * 12 + start.month - 1 + amount * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def _spoken(day: date) -> str:
    return f"{day.day} {calendar.month_name[day.month]} {day.year} ({calendar.day_name[day.weekday()]})"
