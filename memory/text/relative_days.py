"""What "gestern", "la semana pasada" and "三天前" meant.

Relative times in German, French, Spanish, Portuguese, Russian, Chinese and Japanese; `times` reads English ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Shift(NamedTuple):
    """So many units ("day", "week", "month", "year") after the one in which it was said, for `text[start:end]`."""

    start: int
    end: int
    number: int
    unit: str


_DAYS = {
    -2: "vorgestern avant-hier anteayer antier anteontem позавчера 前天 一昨日 おととい",
    -1: "gestern hier ayer ontem вчера 昨天 昨日 昨晚 昨夜",
    0: "heute aujourd'hui aujourd’hui hoy hoje сегодня 今天 今日",
    1: "demain amanhã завтра 明天 明日",
    2: "übermorgen après-demain послезавтра 后天 後天 明後日 あさって",
}
_PHRASES: dict[tuple[int, str], str] = {
    (1, "day"): "morgen|mañana",
    (2, "day"): "pasado mañana|depois de amanhã",
    (-1, "week"): "letzte[rn]? woche|la semaine dernière|la semana pasada|(?:a |na )?semana passada|на прошлой неделе"
    "|上个?星期|上個?星期|上周|上週|先週",
    (
        1,
        "week",
    ): "nächste[rn]? woche|la semaine prochaine|la semana que viene|la próxima semana|(?:a |na )?próxima semana"
    "|(?:a |na )?semana que vem|на следующей неделе|下个?星期|下個?星期|下周|下週|来週",
    (
        -1,
        "month",
    ): "letzten monat|le mois dernier|el mes pasado|(?:o |no )?mês passado|в прошлом месяце|上个月|上個月|先月",
    (1, "month"): "nächsten monat|le mois prochain|el mes que viene|el próximo mes|(?:o |no )?próximo mês"
    "|(?:o |no )?mês que vem|в следующем месяце|下个月|下個月|来月",
    (-1, "year"): "letztes jahr|l['’]an dernier|l['’]année dernière|el año pasado|(?:o |no )?ano passado|в "
    "прошлом году"
    "|去年|昨年",
    (1, "year"): "nächstes jahr|l['’]an prochain|l['’]année prochaine|el próximo año|el año que viene"
    "|(?:o |no )?próximo ano|(?:o |no )?ano que vem|в следующем году|明年|来年",
}
_UNITS = {
    "day": "tage?n?|jours?|días?|dias?|день|дня|дней|天|日",
    "week": "wochen?|semaines?|semanas?|неделю|недели|недель|周|週|个?星期|個?星期|週間",
    "month": "monate?n?|mois|mes(?:es)?|mês|месяца?|месяцев|个月|個月|[ヶかカ]月",
    "year": "jahre?n?|ans?|années?|años?|anos?|года?|лет|年",
}
_NUMBERS = {
    1: "einem einer einen un une uno una um uma один одну 一",
    2: "zwei deux dos dois duas два две 二 两 兩",
    3: "drei trois tres três три 三",
    4: "vier quatre cuatro quatro четыре 四",
    5: "fünf cinq cinco пять 五",
    6: "sechs six seis шесть 六",
    7: "sieben sept siete sete семь 七",
    8: "acht huit ocho oito восемь 八",
    9: "neun neuf nueve nove девять 九",
    10: "zehn dix diez dez десять 十",
}
_NUMBER_OF = {word: number for number, words in _NUMBERS.items() for word in words.split()}
_SHIFT_OF_DAY = {word: days for days, words in _DAYS.items() for word in words.split()}
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(sorted(_NUMBER_OF, key=len, reverse=True))})"
_UNIT = "(?:" + "|".join(f"(?P<{unit}>{words})" for unit, words in _UNITS.items()) + ")"
# "am Morgen", "guten Morgen", "por la mañana" speak of the hour, not of the next day.
_NOT_A_DAY = r"(?<!am )(?<!guten )(?<!jeden )(?<!heute )(?<!gestern )(?<!la )(?<!pasado )(?<!esta )"
_FAR = re.compile(
    r"(?:"
    + "|".join(
        rf"(?P<p{index}>{_NOT_A_DAY if shift == (1, 'day') else ''}(?:{words}))"
        for index, (shift, words) in enumerate(_PHRASES.items())
    )
    + rf"|(?P<day_word>{'|'.join(sorted(_SHIFT_OF_DAY, key=len, reverse=True))}))",
    re.IGNORECASE,
)
_AGO = re.compile(
    rf"(?:(?<!\w)(?P<before>vor|il y a|hace|há|faz)|(?<!\w)(?P<after>in|dans|dentro de|daqui a"
    rf"|через))\s{_COUNT}\s?{_UNIT}(?!\w)",
    re.IGNORECASE,
)
_BACK = re.compile(rf"{_COUNT}\s?{_UNIT}(?:(?P<before>之?前|\sназад)|(?P<after>之?[后後]))", re.IGNORECASE)
_WORDLESS = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
# Every expression holds one of these words, or is written in another script: most texts hold neither.
_TELLTALES = frozenset(
    "gestern vorgestern heute morgen übermorgen woche wochen monat monate monaten jahr jahre jahren tag tage tagen "
    "hier demain jourd hui semaine semaines mois ans année années jour jours dernier prochain ayer anteayer hoy mañana "
    "semana semanas mes meses año años día días ontem anteontem hoje amanhã mês ano anos dia dias".split()
)
_OTHER_SCRIPT = re.compile("[\u0400-\u04ff\u3040-\u30ff\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[^\W\d_]+")


def shifts_in(text: str) -> Iterator[Shift]:
    """What each relative expression of a text means, in order of finding, none within another."""
    if _TELLTALES.isdisjoint(_LATIN_WORD.findall(text.lower())) and (text.isascii() or not _OTHER_SCRIPT.search(text)):
        return
    taken: list[tuple[int, int]] = []
    for match in (*_AGO.finditer(text), *_BACK.finditer(text), *_FAR.finditer(text)):
        shift = _meant(match)
        if (
            shift is not None
            and _stands_alone(text, shift)
            and not any(a < shift.end and shift.start < b for a, b in taken)
        ):
            taken.append((shift.start, shift.end))
            yield shift


def _meant(match: re.Match[str]) -> Shift | None:
    groups = match.groupdict()
    if groups.get("count"):
        word = match["count"].lower()
        number = int(word) if word.isdecimal() else _NUMBER_OF[word]
        unit = next(unit for unit in _UNITS if match[unit])
        return Shift(match.start(), match.end(), -number if match["before"] else number, unit)
    if match["day_word"]:
        return Shift(match.start(), match.end(), _SHIFT_OF_DAY[match["day_word"].lower()], "day")
    for index, (number, unit) in enumerate(_PHRASES):
        if match[f"p{index}"]:
            return Shift(match.start(), match.end(), number, unit)
    return None


def _stands_alone(text: str, shift: Shift) -> bool:
    """Words of scripts with spaces are whole words."""
    if _WORDLESS.match(text[shift.start]) or _WORDLESS.match(text[shift.end - 1]):
        return True
    before, after = text[shift.start - 1 : shift.start], text[shift.end : shift.end + 1]
    return not (before.isalnum() or after.isalnum())
