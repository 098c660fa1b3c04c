"""Facts that have one value at a time: where somebody lives or works, what a thing costs, when it opens.

A new value ends the old one.

A few patterns of plain English, made to miss rather than to make up: a fact that is not recognised ends nothing, and
what has ended is not deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import NamedTuple

from orchestrator.memory.text.times import spans_in
from orchestrator.memory.text.words import words_in

MAX_CHARS = 2_000
MAX_SENTENCES = 2  # a longer text says more than its fact: it may end others, but is not over when its fact is
MAX_FACTS = 8
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]+)*[.!?]*")
_UNSURE = re.compile(
    r"\b(?:if|would|wish|imagine|maybe|might|could|should|never|not|don't|doesn't|didn't|isn't|aren't|wasn't|will"
    r"|going to|used to)\b",
    re.I,
)
_NAMED = r"[A-Z][\w'’&-]*(?: (?:of |the |de |da |la )?[A-Z][\w'’&-]*){0,3}"
_WHO = (
    rf"(?:(?P<first>I|i|[Ww]e)|(?P<name>{_NAMED}))(?:'m|’m|'ve|’ve|'s|’s| am| is| are| have| has)?"
    r"(?: (?:now|currently|just|recently|also|still|finally))*"
)
_OWNED = (
    r"name|e-?mail(?: address)?|phone(?: "
    r"number)?|number|address|birthday|job|employer|boss|manager|doctor|dentist|car|password|pin|salary|rent"
    r"|weight|height|deadline|budget|time ?zone|diet|favou?rite \w+(?: "
    r"\w+)?|(?:dog|cat|wife|husband|partner|son|daughter)(?:'s|’s) name"
)
_THINGS = (
    r"deadline|price|cost|fee|rent|budget|manager|owner|address|password|version|capacity|limit|(?:launch|release|due) "
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
_VALUE = r"(?P<value>[^,;.!?]*(?:[.,](?=\w)[^,;.!?]*)*)"
_NEW = "(?: new| current)?"
# Each pattern: the attribute it speaks of (or None where a group says so), and the expression.
_PATTERNS: tuple[tuple[str | None, re.Pattern[str]], ...] = (
    ("lives in", re.compile(rf"\b{_WHO} (?:lives?|lived|living|based|been living|resides?) in (?P<value>{_NAMED})")),
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
            rf"\b[Tt]he{_NEW} (?P<attribute>(?:\w+ ){{0,3}}?(?:{_THINGS}))(?: (?:of|for) (?P<of>[\w '’&-]{{2,40}}?))? "
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
    "live lives lived living based reside resides moved relocated work works working started married engaged divorced "
    "single widowed separated "
    "opens closes starts begins ends costs name mail email phone number address birthday job employer boss manager "
    "doctor dentist car password pin "
    "salary rent weight height deadline budget zone timezone diet favorite favourite price cost fee owner version "
    "capacity limit date hours meeting "
    "rate contact".split()
)


class Fact(NamedTuple):
    """`subject` and `attribute` together have one `value` from `since` on (the moment it was said, unless the sentence
    tells).
    """

    subject: str
    attribute: str
    value: str
    since: datetime | None


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
    subject = speaker or "I" if groups.get("first") else groups.get("name") or groups.get("of") or ""
    value = _plain(groups["value"])
    if not value or _plain(subject) in ("it", "this", "that", "there", "what", "he", "she", "they", "you"):
        return None
    since = None
    if said is not None:
        around = sentence[: match.start("value")] + "," + sentence[match.end("value") :]
        past = [span.first for span in spans_in(around, said) if span.first <= said.date()]
        since = datetime.combine(min(past), time(), UTC) if past else said
    return Fact(_plain(subject), attribute or _plain(groups["attribute"]), value, since)


def _plain(text: str) -> str:
    words = re.findall(r"[\w.,:%€$£&@-]*\w|[%€$£]", text.casefold().replace("’", "'"))
    return " ".join(word for word in words if word not in ("the", "a", "an", "now", "currently", "at", "still"))
