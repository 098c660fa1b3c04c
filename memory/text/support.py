"""Whether a sentence says what the records it cites say.

Its names and numbers stand there, most of its words do, and it denies only what they deny.

A lexical check: cheap, certain about what is made up, and blind to the finer twists of meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orchestrator.memory.record import Record
from orchestrator.memory.text.times import relative_spans
from orchestrator.memory.text.words import hashed_words

MIN_SHARE = 0.6  # of a sentence's content words that must stand in what it cites
_CITATION = re.compile(r"\[m:(\d+)\]")
_CITED = re.compile(r"\[(m:\d+(?:\s*[,;]\s*m:\d+)+)\]")
_SENTENCES = re.compile(r"[^\n]+?(?:[.!?](?:\s*\[m:\d+\])*[.!?]?(?=\s|$)|(?:\s*\[m:\d+\])+[.!?]?|$)")
_NAME = re.compile(r"(?<![.!?\n])(?<=\s)[A-Z][^\W\d_]+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD_NUMBER = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|hundred|thousand|million)\b", re.I
)
_DENIES = re.compile(r"\b(?:not|never|no|nobody|nothing|none|without|cannot|\w+n['’]t)\b", re.I)


def cited_in(text: str) -> list[int]:
    """Ids of the records that a text cites, in order."""
    return [int(found) for found in _CITATION.findall(_separate(text))]


def supported_part(text: str, sources: Mapping[int, Record]) -> list[str]:
    """The sentences of `text` that cite some of `sources`, nothing else, and are supported by what they cite."""
    return [sentence for sentence in sentences_of(text) if is_supported(sentence, sources)]


def sentences_of(text: str) -> list[str]:
    """The sentences of a summary, without bullets."""
    return [found.strip(" -*•\t") for found in _SENTENCES.findall(_separate(text)) if found.strip(" -*•\t")]


def is_supported(sentence: str, sources: Mapping[int, Record]) -> bool:
    """Whether the cited records say what a sentence says, by its content words."""
    ids = cited_in(sentence)
    if not ids or any(i not in sources for i in ids):
        return False
    bare, told = _CITATION.sub(" ", sentence), _told([sources[i] for i in ids])
    words, there = set(hashed_words(bare)), set(hashed_words(told))
    if not words or len(words & there) < MIN_SHARE * len(words):
        return False
    lowered = told.casefold()
    particular = [*_NAME.findall(bare), *_WORD_NUMBER.findall(bare)]
    if any(re.search(rf"\b{re.escape(found.casefold())}\b", lowered) is None for found in particular):
        return False
    numbers = set(_NUMBER.findall(told))
    return all(number in numbers for number in _NUMBER.findall(bare)) and bool(_DENIES.search(bare)) == bool(
        _DENIES.search(told)
    )


def _told(records: Sequence[Record]) -> str:
    """All that records say, with the days that they speak of written out in the usual ways."""
    parts: list[str] = []
    for record in records:
        parts += [record.speaker, record.text]
        days = [record.time.date()] if record.time else []
        for day in days + [span.first for span in relative_spans(record.text, record.time)]:
            parts.append(f"{day} {day:%Y} {day.month} {day.day} {day:%B}")
    return "\n".join(parts)


def _separate(text: str) -> str:
    """[m:1, m:2] as [m:1] [m:2]."""
    return _CITED.sub(lambda match: " ".join(f"[{part.strip()}]" for part in re.split("[,;]", match[1])), text)
