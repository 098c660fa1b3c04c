"""Facts that have one value at a time: where somebody lives, what a thing costs, when it opens.

A new value ends the old one where everything else is the same: who or what it is about, and every qualifier ("on
Mondays", "for children", "in "
"winter"). Where several values may hold at once (jobs, telephone numbers), only a sentence
that says so ("now", "new", "no longer") ends another.

A few patterns of plain English, made to miss rather than to make up: a sentence that says anything before its fact
("Bob heard that", "in my dream"), or quotes it, states none; a fact that is not recognised ends nothing, and what has
ended is not deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import NamedTuple

from orchestrator.memory.text.times import spans_in, times_in, without_times
from orchestrator.memory.text.words import STOP_WORDS, words_in

MAX_CHARS = 2_000
MAX_SENTENCES = 2  # a longer text says more than its fact: it may end others, but is not over when its fact is
MAX_FACTS = 8
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]+)*[.!?]*")
_UNSURE = re.compile(
    r"\b(?:if|would|wish\w*|imagin\w+|maybe|perhaps|might|could|should|never|not|cannot|\w+n['’]t|will|going to"
    r"|used to"
    r"|unless|when|while|until|till|once|soon|almost|nearly|hardly|neither|nor|nobody|no longer|said|says?|told|tells"
    r"|claim\w*|heard|think\w*|thought|believ\w+|guess\w*|suppos\w+|doubt\w*|deni\w+|deny|dream\w*|pretend\w*|jok\w+"
    r"|rumou?r\w*|alleged\w*|apparently|reported\w*|according|hop\w+|plan\w*|want\w*|consider\w*|about to|probably"
    r"|likely|possibl\w+|novel|film|movie|story|game|character|also|too|as well|both|another|again|sometimes|usually"
    r"|often|mostly|formerly|originally|before that|previously)\b",
    re.I,
)
_NAMED = r"[A-Z][\w'’&-]*(?: (?:of |the |de |da |la )?[A-Z][\w'’&-]*){0,3}"
_WHO = (
    rf"(?:(?P<first>I|i|[Ww]e)|(?P<name>{_NAMED}))(?:'m|’m|'ve|’ve|'s|’s| am| is| are| have| has)?"
    r"(?: (?:now|currently|just|recently|also|still|finally))*"
)
_WHO_EVER = rf"(?:(?P<first>[Ww]e|I|i)|(?P<name>{_NAMED}))"
_OWNED = (
    r"name|e-?mail(?: address)?|phone(?: "
    r"number)?|number|address|birthday|job|employer|boss|manager|doctor|dentist|car|password|pin|salary|rent"
    r"|weight|height|deadline|budget|time ?zone|diet|favou?rite \w+(?: "
    r"\w+)?|(?:wife|husband|partner)(?:'s|’s) name"
)
# Several values of these may hold at once.
_SEVERAL = frozenset(
    "works at,works as,job,employer,car,phone,phone number,number,email,e-mail,email address,e-mail address,contact,"
    "doctor,manager,owner,meeting".split(",")
)
_REPLACES = re.compile(
    r"\b(?:now|new|currently|current|changed?|instead|no longer|left|replaced|switched|as of|from now on|anymore)\b"
    r"|\b(?:moved|has been moved) to\b",
    re.I,
)
# What may stand before a fact, or behind it, and changes nothing about it.
_HARMLESS = frozenset(
    "yes yeah yep no well so oh and but hi hello hey ok okay btw way update fyi guess great good news finally "
    "actually "
    "anyway also now currently just still recently already since as today actually happy glad thanks thank dear "
    "everyone all guys inc ltd".split()
)
_QUALIFIED = re.compile(
    r"\s(?=(?:on|during|for|in|if|when|while|except|every|each|per|with|by|only|until|from|between|after|before)\b)"
)
_PLACE_BEHIND = re.compile(rf"^(?:, {_NAMED})+")
_KEPT = frozenset("no not nor he she his her they their your over under up off".split())
_PEOPLE = frozenset("boss manager doctor dentist owner contact employer".split()) | {"wife's name", "husband's name"}
_DAYS = frozenset(("deadline", "birthday", "launch date", "release date", "due date", "meeting"))
_PRICES = frozenset(("costs", "cost", "price", "fee", "rent", "salary"))
_NUMBERS = _PRICES | frozenset(
    "budget,weight,height,rate,interest rate,capacity,limit,version,number,phone,phone number,pin".split(",")
)
_HABITS = _PRICES | frozenset("opens closes starts begins ends".split()) | {"opening hours"}
_CAPITAL = re.compile(r"\b[A-Z]")
_AMOUNT = re.compile(r"\W*(?P<number>\d[\d.,]*)\s*(?P<unit>%|[€$£¥]|[A-Za-z]+)?")
_OPENINGS = frozenset("opens closes starts begins ends".split())
_BEGINS = re.compile(r"\b(?:since|from|as of|starting|effective|now)\b", re.I)
_JUDGEMENTS = frozenset(
    "nice great good bad ill sick angry near strict secret important wrong right lost missing unknown fine ok okay"
    " away busy late early high low very so too quite really still always expensive cheap easy hard beautiful ugly"
    " approved confirmed private public posted negotiable tight boring pretty off out changed gone blocked unavailable"
    " pending final official set fixed broken safe weak strong long short full empty on in being going".split()
)
_QUOTES = re.compile(r"[\"“”„«»]|(?<!\w)['‘]")
_THINGS = (
    r"deadline|price|cost|fee|rent|budget|manager|owner|address|password|version|capacity|limit|(?:launch"
    r"|release|due) "
    r"date|opening hours|meeting"
    r"|(?:interest )?rate|contact|phone number|email"
)
_BECOMES = (
    r"(?:(?:is|are)(?: now| currently)?|was (?:moved|changed) to"
    r"|(?:has |have )?(?:(?:been )?(?:moved|changed)|risen|fallen|dropped|gone up|gone down) to)"
)
_WHEN = (
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|midnight|dawn|dusk|(?:mon|tues|wednes"
    r"|thurs|fri|satur|sun)day)\b"
)
_DAY = re.compile(rf"\d|{_WHEN}|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.I)
_HOUR = re.compile(
    rf"\W*(?:at |around )?(?:\d{{1,2}}(?:[:.h]\d{{2}})?(?:\s*(?:am|pm|a\.m\.|p\.m\.|o['’]clock|h)\b)?|{_WHEN})", re.I
)
_VALUE = r"(?P<value>[^,;.!?]*(?:[.,](?=\w)[^,;.!?]*)*)"
_NEW = "(?: new| current)?"
# Each pattern: the attribute it speaks of (or None where a group says so), and the expression.
_PATTERNS: tuple[tuple[str | None, re.Pattern[str]], ...] = (
    ("lives in", re.compile(rf"\b{_WHO} (?:lives?|living|based|been living|resides?) in (?P<value>{_NAMED})")),
    (
        "lives in",
        re.compile(
            rf"\b(?:(?P<first>[Ww]e|I|i)|(?P<name>{_NAMED}))(?:['’](?:ve|s)| have| has) lived in (?P<value>{_NAMED})"
        ),
    ),
    ("lives in", re.compile(rf"\b{_WHO} (?:moved|relocated)(?: back)?(?: from {_NAMED})? to (?P<value>{_NAMED})")),
    (
        "works at",
        re.compile(
            rf"\b{_WHO} (?:works?|(?:been )?working|started(?: work(?:ing)?| a job)?) (?:at|for) (?P<value>{_NAMED})"
        ),
    ),
    ("works as", re.compile(rf"\b{_WHO} (?:works?|(?:been )?working) as (?:an? |the )?(?P<value>\w+(?: \w+)?)")),
    (
        "marital status",
        re.compile(rf"\b{_WHO}(?: got)?(?: now)? (?P<value>married|engaged|divorced|single|widowed|separated)\b"),
    ),
    (None, re.compile(rf"\b(?P<first>[Mm]y|[Oo]ur){_NEW} (?P<attribute>{_OWNED}) {_BECOMES} {_VALUE}")),
    (None, re.compile(rf"\b(?P<name>{_NAMED}?)['’]s{_NEW} (?P<attribute>{_OWNED}) {_BECOMES} {_VALUE}")),
    (
        None,
        re.compile(
            rf"\b[Tt]he{_NEW} (?P<attribute>(?:\w+ ){{0,3}}?(?:{_THINGS}))(?: (?:of|for) (?P<of>[\w "
            rf"'’&-]{{2,40}}?))? "
            rf"{_BECOMES} {_VALUE}"
        ),
    ),
    (
        None,
        re.compile(
            rf"\b(?P<of>[Tt]he [\w '’&-]{{2,40}}?|{_NAMED}) (?:now "
            r")?(?P<attribute>opens|closes|starts|begins|ends|costs)(?: now)? "
            rf"(?=[^,;]*(?:\d|{_WHEN})){_VALUE}"
        ),
    ),
)
# Each pattern needs one of these words.
_TELLTALES = frozenset(
    "live lives lived living based reside resides moved relocated work works working started married engaged "
    "divorced "
    "single widowed separated "
    "opens closes starts begins ends costs name mail email phone number address birthday job employer boss manager "
    "doctor dentist car password pin "
    "salary rent weight height deadline budget zone timezone diet favorite favourite price cost fee owner version "
    "capacity limit date hours meeting "
    "rate contact".split()
)


class Fact(NamedTuple):
    """`subject`, `attribute` and `qualifiers` together have one `value` from `since` on (the moment it was said, unless
    the sentence tells). `ends` tells whether it ends other values.
    """

    subject: str
    attribute: str
    value: str
    since: datetime | None
    qualifiers: tuple[str, ...] = ()
    ends: bool = True

    @property
    def key(self) -> str:
        """What has one value at a time."""
        return "\n".join((self.subject, self.attribute, *self.qualifiers))


def facts_in(text: str, speaker: str, said: datetime | None, words: Iterable[str] | None = None) -> list[Fact]:
    """At most eight; of the first 2,000 characters.

    Questions, negations, conditions and plans state nothing. `words` are those of the text.
    """
    found: list[Fact] = []
    if _TELLTALES.isdisjoint(words_in(text) if words is None else words):
        return found
    for sentence in _SENTENCE.findall(text[:MAX_CHARS]):
        if sentence.rstrip().endswith("?") or _UNSURE.search(sentence) or len(found) >= MAX_FACTS:
            continue
        for attribute, pattern in _PATTERNS:
            match = pattern.search(sentence)
            if match is not None and (fact := _fact(match, attribute, speaker, sentence, said)) is not None:
                found.append(fact)
    return found[:MAX_FACTS]


def is_one_statement(text: str) -> bool:
    """Whether a text says little more than one fact, so that it is over when that is."""
    return len(text) <= MAX_CHARS and sum(1 for part in _SENTENCE.findall(text) if part.strip()) <= MAX_SENTENCES


def _fact(
    match: re.Match[str], attribute: str | None, speaker: str, sentence: str, said: datetime | None
) -> Fact | None:
    groups = match.groupdict()
    subject = _plain(speaker or "I" if groups.get("first") else groups.get("name") or groups.get("of") or "")
    attribute = attribute or _plain(groups["attribute"])
    before, (value, behind) = sentence[: match.start()], _parted(groups["value"], attribute)
    if not _is_value(attribute, value):
        return None
    if attribute in _PRICES:
        amount = _AMOUNT.match(value)
        if amount is None:
            return None
        behind = f" {value[amount.end() :]} {amount['unit'] or ''}{behind}"
        value = f"{amount['number']} {amount['unit'] or ''}"
    if attribute in _OPENINGS and (hour := _HOUR.match(value)) is not None:
        behind, value = f" {value[hour.end() :]}{behind}", hour[0]
    value = _plain(value)
    if not value or subject in ("it", "this", "that", "there", "what", "he", "she", "they", "you"):
        return None
    if _QUOTES.search(before) or _telling(before):
        return None  # something is said before it: it may be reported, dreamt, or of another time
    behind += _PLACE_BEHIND.sub("", sentence[match.end("value") :])
    since = None
    if said is not None:
        around = sentence[: match.start("value")] + "," + behind
        past = [span.first for span in spans_in(around, said) if span.first <= said.date()]
        since = datetime.combine(min(past), time(), UTC) if past else said
    qualifiers = _telling(behind)
    if attribute in _HABITS and _DAY.search(without_times(value)):
        behind, value = f"{behind} {' '.join(times_in(value))}", _plain(without_times(value))
    if attribute in _HABITS:  # "today the shop opens at ten": an exception ends no rule
        around = f"{before} {behind}"
        qualifiers |= {time.casefold() for time in times_in(around) if not _BEGINS.search(around)}
    ends = attribute not in _SEVERAL or _REPLACES.search(sentence) is not None
    return Fact(subject, attribute, value, since, tuple(sorted(qualifiers)), ends)


def _is_value(attribute: str, value: str) -> bool:
    """Whether what follows "is" can be the value: "my boss is ill" names no boss, "the deadline is near" no day."""
    first = value.strip().split(" ", 1)[0].casefold() if value.strip() else ""
    if attribute in _PEOPLE:
        return _CAPITAL.search(value) is not None
    if attribute in _DAYS:
        return _DAY.search(value) is not None
    if attribute in _NUMBERS:
        return any(c.isdigit() for c in value)
    return attribute in _HABITS or first not in _JUDGEMENTS


def _parted(value: str, attribute: str) -> tuple[str, str]:
    """A value and what qualifies it: "nine", "on Mondays"."""
    if attribute in ("address", "lives in") or attribute.startswith("favo"):
        return value, ""
    parts = _QUALIFIED.split(value, maxsplit=1)
    return parts[0], " " + " ".join(parts[1:])


def _telling(text: str) -> set[str]:
    """Words that may qualify what stands beside them: all but empty ones, and times."""
    words = set(words_in(without_times(text)))
    return {word for word in words - _HARMLESS if word not in STOP_WORDS or word in _KEPT}


def _plain(text: str) -> str:
    words = re.findall(r"[\w.,:%€$£&@-]*\w|[%€$£]", text.casefold().replace("’", "'"))
    return " ".join(word for word in words if word not in ("the", "a", "an", "now", "currently", "at", "still"))
