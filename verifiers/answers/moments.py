"""Dates, years with their era, and times of day, as ten languages write them.

Names of months as in Unicode CLDR; ISO 8601.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.verifiers.answers.pattern import Pattern

_MONTHS: dict[str, int] = {}
for _names in (
    "january february march april may june july august september october november december",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
    "जनवरी फरवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
):
    for _month, _name in enumerate(_names.split(), 1):
        _MONTHS.setdefault(_name, _month)
_MONTHS["sept"] = 9
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|º)?"
_YEAR = r"(?P<year>\d{3,4})"
_PATTERNS = tuple(
    Pattern(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_YEAR}-(?P<m>\d{{1,2}})-{_DAY}(?!\d)",
        rf"{_YEAR}[/.](?P<m>\d{{1,2}})[/.]{_DAY}(?!\d)",
        rf"{_YEAR}\s?年\s?(?:(?P<m>\d{{1,2}})\s?月\s?(?:(?P<day>\d{{1,2}})\s?日)?)?",
        rf"{_MONTH}\s+{_DAY}(?:,?\s+(?:of\s+)?{_YEAR})?(?![\d:])",
        rf"(?:the\s+|le\s+|el\s+|am\s+|den\s+|der\s+|dem\s+)?{_DAY}\s?(?:of\s+|de\s+"
        rf"|do\s+)?\s?{_MONTH}(?:,?\s+(?:of\s+|de\s+"
        rf"|del\s+)?{_YEAR})?(?!\d)",
        rf"{_MONTH},?\s+(?:of\s+|de\s+)?{_YEAR}(?!\d)",
    )
)
MAX_DATES = 20
_MAY_BEGIN = Pattern(rf"\b(?:\d{{1,4}}|{'|'.join(sorted(_MONTHS, key=len, reverse=True))})", re.IGNORECASE)
_NUMERIC = Pattern(r"(?P<a>\d{1,2})(?P<sign>[/.-])(?P<b>\d{1,2})(?P=sign)(?P<year>\d{4})(?!\d)")
_WEEKDAY = Pattern(r"(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+(?:the\s+)?", re.IGNORECASE)
_ERA = (
    r"(?P<{0}>b\.?\s?c\.?(?:\s?e\.?)?|a\.?\s?d\.?|c\.?e\.?|v\.\s?chr\.?|n\.\s?chr\.?|a\.\s?c\.|d\.\s?c\."
    r"|av\.\s?j\.-?c\.|до н\.\s?э\.|н\.\s?э\.)"
)
_YEAR_ERA = Pattern(
    rf"{_ERA.format('before')}?\s?(?P<year>\d{{1,5}})\s?{_ERA.format('after')}?(?!\w)"
    rf"|(?P<cn>公元前)\s?(?P<cnyear>\d{{1,5}})年?",
    re.IGNORECASE,
)
_BEFORE_CHRIST = ("bc", "bce", "vchr", "ac", "avjc", "avj-c", "донэ")
_TIME = Pattern(
    r"(?P<hour>\d{1,2})(?:(?::|\s?h\s?|\.)(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s?"
    r"(?:(?P<half>[ap])\.?\s?m\b\.?|(?P<clock>Uhr\b|o['’]clock|часов\b(?= утра| вечера)|点|時))?",
    re.IGNORECASE,
)
_ZONES = {
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "CET": 1,
    "CEST": 2,
    "JST": 9,
}
_ZONE = Pattern(r"\s?\(?((?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?|Z|[ECMP][SD]T|CEST|CET|JST|[A-Z]{2,4}T)\)?(?![A-Za-z])")
_NAMED_TIMES = {"noon": 43_200, "midday": 43_200, "12 noon": 43_200, "midnight": 0, "12 midnight": 0}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date or a time of day.

    `year`, `month` and `day` are `None` where not said, years before Christ are negative; `seconds` count from
    midnight.

    `other` is the same with day and month exchanged, where both orders are usual (03/05/2024); `is_halfless` says that
    a time may be of the morning or of the evening.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    seconds: int | None = None
    other: tuple[int, int] | None = None
    is_halfless: bool = False
    has_era: bool = False
    zone: str = ""

    @property
    def utc_seconds(self) -> int | None:
        """The time of day in UTC, for a zone of a fixed offset that is known."""
        offset = _ZONES.get(self.zone)
        return None if self.seconds is None or offset is None else (self.seconds - offset * 3_600) % 86_400

    @property
    def is_date(self) -> bool:
        """Whether it is a date without a time."""
        return self.seconds is None


def read_date(text: str, start: int = 0) -> tuple[Moment, int] | None:
    """The date that `text` has at `start`, and where it ends; `None` for a bare number, which may be a year or not."""
    if day := _WEEKDAY.match(text, start):
        start = day.end()
    for pattern in _PATTERNS:
        found = pattern.match(text, start)
        if found is None:
            continue
        parts = found.groupdict()
        month = (
            int(parts["m"]) if parts.get("m") else _MONTHS[parts["month"].casefold()] if parts.get("month") else None
        )
        moment = Moment(_number(parts.get("year")), month, _number(parts.get("day")))
        if _is_possible(moment):
            return moment, found.end()
    if numeric := _NUMERIC.match(text, start):
        first, second, year = int(numeric["a"]), int(numeric["b"]), int(numeric["year"])
        month_first, day_first = Moment(year, first, second), Moment(year, second, first)
        if _is_possible(month_first):
            both = _is_possible(day_first) and first != second
            return Moment(year, first, second, other=(second, first) if both else None), numeric.end()
        if _is_possible(day_first):
            return day_first, numeric.end()
    return None


def find_dates(text: str) -> list[Moment]:
    """The dates of a sentence, wherever they stand in it."""
    found: list[Moment] = []
    at = 0
    while len(found) < MAX_DATES and (begin := _MAY_BEGIN.search(text, at)) is not None:
        read = read_date(text, begin.start())
        if read is not None:
            found.append(read[0])
        at = read[1] if read is not None else begin.end()
    return found


def read_year_with_era(text: str, start: int = 0) -> tuple[Moment, int] | None:
    """`44 BC`, `AD 79`, `753 v. Chr.`, `公元前221年`: a year that says from which side it is counted."""
    found = _YEAR_ERA.match(text, start)
    if found is None:
        return None
    if found["cn"]:
        return Moment(-int(found["cnyear"]), has_era=True), found.end()
    era = re.sub(r"[.\s]", "", found["after"] or found["before"] or "").casefold()
    if not era:
        return None
    year = int(found["year"])
    return Moment(-year if era in _BEFORE_CHRIST else year, has_era=True), found.end()


def read_time(text: str, start: int = 0) -> tuple[Moment, int] | None:
    """`9 AM`, `21:00`, `9 Uhr`, `noon`: a time of day; `None` for a bare number."""
    word = re.match(r"(?:12 )?(?:noon|midday|midnight)\b", text[start : start + 12], re.IGNORECASE)
    if word:
        return Moment(seconds=_NAMED_TIMES[word[0].casefold()]), start + word.end()
    found = _TIME.match(text, start)
    if found is None or not (found["half"] or found["clock"] or (found["minute"] and ":" in found[0])):
        return None
    hour, half = int(found["hour"]), (found["half"] or "").casefold()
    if hour > 24 or (half and not 1 <= hour <= 12) or (found["second"] and not half and hour > 23):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    zone = _ZONE.match(text, found.end())
    seconds = hour % 24 * 3_600 + int(found["minute"] or 0) * 60 + int(found["second"] or 0)
    is_halfless = not half and 1 <= hour <= 12 and not found["hour"].startswith("0")
    return Moment(
        seconds=seconds, is_halfless=is_halfless, zone=zone[1].upper() if zone else ""
    ), zone.end() if zone else found.end()


def _number(written: str | None) -> int | None:
    return int(written) if written else None


def _is_possible(moment: Moment) -> bool:
    return (moment.month is None or 1 <= moment.month <= 12) and (moment.day is None or 1 <= moment.day <= 31)
