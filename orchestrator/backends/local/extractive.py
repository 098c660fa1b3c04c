"""Answers from recalled memory, word for word, with citations; abstains when the memory does not hold the answer.

No language model: the sentence that shares the most telling words with the question and holds the kind of thing that is
asked for (a person, a time, a number, a place). When several say the same thing at different times, the latest wins.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.backends.base import LocalBackend, Request
from orchestrator.memory.text.stance import DENIED, asks_yes_or_no, stances_of
from orchestrator.memory.text.words import STOP_WORDS, alternatives_in, hashed_words, words_in
from orchestrator.router import ModelProfile
from orchestrator.types import Completion

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord, Record

_ABBREVIATED = "".join(rf"(?<!\b{title}\.)" for title in ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "No"))
_SENTENCE_END = re.compile(rf"{_ABBREVIATED}(?<=[.!?])\s+(?=[A-Z\"'(])|\n+|(?<=[。！？])")
_MONTHS = r"january|february|march|april|may|june|july|august|september|october|november|december"
_KINDS: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...] = (
    # what is asked, how the question shows it, what a sentence must hold
    (
        "number",
        re.compile(
            r"\bhow (?:many|much|old|long|far|tall|big|often|late|early)\b|\bwhat (?:price|percentage|number)\b", re.I
        ),
        re.compile(
            r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty"
            r"|thirty|forty|fifty|hundred|dozen|half|twice)\b",
            re.I,
        ),
    ),
    (
        "time",
        re.compile(r"\bwhen\b|\bwhat (?:day|date|time|year|month)\b|\bwhich (?:day|year|month)\b", re.I),
        re.compile(
            rf"\d|\b(?:{_MONTHS}|monday|tuesday|wednesday|thursday|friday|saturday|sunday|noon|midnight|today|tomorrow"
            r"|yesterday|morning|evening|afternoon|weekly|daily)\b",
            re.I,
        ),
    ),
    (
        "person",
        re.compile(r"\bwho(?:se|m)?\b", re.I),
        re.compile(
            r"(?<![.!?]\s)(?<!^)\b[A-Z][a-z]+|^[A-Z][a-z]+ (?:[A-Z]|is|was|runs|leads|will|has|keeps|looks|wrote|built)"
        ),
    ),
    (
        "place",
        re.compile(r"\bwhere\b|\bwhat (?:city|place|address|street|country)\b|\bwhich (?:city|town|country)\b", re.I),
        re.compile(r"\b(?:in|at|on|to|from|near|under|behind|inside|next)\s+\w+", re.I),
    ),
)
# "how long", "how old": these words ask for a kind of answer and need not stand in it.
_MEASURE = re.compile(r"\bhow (?:long|old|far|tall|big|often|late|early)\b", re.IGNORECASE)
_IDLE = re.compile(r"\b(?:now|currently|current|still|exactly|please|much|many)\b", re.IGNORECASE)
MIN_COVERAGE = 0.4
CONTRADICTION_MARGIN = 0.8
MIN_CONFIDENCE = 0.05  # below it nothing is quoted
_CAPITAL = re.compile(r"\b[A-Z][a-z]+")
_FIRST_PERSON = frozenset("i my me mine we our us myself".split())
_OPPOSITES = tuple(
    frozenset(pair.split())
    for pair in (
        "north south east west", "left right", "upper lower", "front back rear", "old new", "first second third last",
        "morning afternoon evening night", "summer winter spring autumn", "inside outside", "children adults seniors",
        "red blue green yellow black white", "monday tuesday wednesday thursday friday saturday sunday",
    )
)  # fmt: skip
_NAME = re.compile(r"(?<=\S )[A-Z][^\W_]+")
# P(the quoted record answers) = sigmoid of these, weighed; `python -m benchmarks.extractive` learns them from the
# conversations written for this project, and holds them against others.
WEIGHTS = {
    "start": -1.325,
    "coverage": 1.273,  # share of the question's words, by worth, that the sentence holds
    "kind": 0.174,  # it holds the kind of thing that is asked for: a person, a time, a number, a place
    "relevance": 0.261,  # log-odds of the record, by memory
    "rivals": -0.388,  # other records whose sentences fit about as well
    "length": 0.570,  # log of the sentence's words
}
# At most so much confidence in a sentence that is conditional, reported, planned, imagined or over, where the question
# does not ask for it so: below an even chance, however well the words fit.
NOT_PLAIN = 0.45


@dataclass(frozen=True, slots=True)
class _Sentence:
    record: Record
    text: str
    words: frozenset[int]
    rank: int
    relevance: float


@dataclass(frozen=True, slots=True)
class Extract:
    """A sentence of a record that answers a question.

    `coverage` in [0, 1] is the idf-weighted share of the question's words it holds, `confidence` in (0, 1) the
    probability that its record answers.
    """

    record: Record
    text: str
    coverage: float
    confidence: float


def extract(question: str, recalled: Sequence[RecalledRecord]) -> Extract | None:
    """The best supporting sentence among `recalled`, or `None` if none covers enough of the question.

    A sentence that denies what is asked for is no answer, unless the question is one of yes or no.
    """
    found = choose(question, recalled)
    if found is None:
        return None
    sentence, signs, is_plain = found
    log_odds = WEIGHTS["start"] + sum(WEIGHTS[name] * value for name, value in signs.items())
    p = min(1.0 if is_plain else NOT_PLAIN, 1.0 / (1.0 + math.exp(-log_odds)))
    return Extract(sentence.record, sentence.text, signs["coverage"], p) if p >= MIN_CONFIDENCE else None


def choose(question: str, recalled: Sequence[RecalledRecord]) -> tuple[_Sentence, dict[str, float], bool] | None:
    """The sentence that covers most of the question, its signs by the names of `WEIGHTS`, and whether it is plain.

    Of sentences that fit about as well, the latest: facts change. What is not plainly said comes after what is.
    """
    scored = []
    for sentence, signs in candidates_of(question, recalled):
        is_plain = _is_plain(question, sentence)
        scored.append((signs["coverage"] * (1.0 if is_plain else NOT_PLAIN), sentence, signs, is_plain))
    if not scored:
        return None
    best = max(fit for fit, *_ in scored)
    oldest = datetime.min.replace(tzinfo=UTC)
    contenders = [found for found in scored if found[0] >= best * CONTRADICTION_MARGIN]
    _, sentence, signs, is_plain = max(contenders, key=lambda f: (f[1].record.time or oldest, f[0], -f[1].rank))
    return sentence, signs, is_plain


def candidates_of(question: str, recalled: Sequence[RecalledRecord]) -> list[tuple[_Sentence, dict[str, float]]]:
    """The sentences that may answer, each with its signs by the names of `WEIGHTS`."""
    asked = alternatives_in(_IDLE.sub(" ", _MEASURE.sub(" ", question)))
    sentences = list(_sentences(recalled)) if asked else []
    weights = _weights(asked, sentences)
    total = sum(weights)
    kind = next((must for _, asks, must in _KINDS if asks.search(question)), None)
    may_be_denied = asks_yes_or_no(question) or DENIED in stances_of(question)
    found: list[tuple[_Sentence, dict[str, float]]] = []
    for sentence in sentences if total > 0 else ():
        held = (weight for word, weight in zip(asked, weights, strict=True) if word & sentence.words)
        coverage = sum(held) / total
        if coverage < MIN_COVERAGE or sentence.text.rstrip().endswith(("?", "？", "؟")):
            continue
        if kind is not None and not kind.search(sentence.text):
            continue
        if not may_be_denied and DENIED in stances_of(sentence.text, question):
            continue
        signs = {"coverage": coverage, "kind": float(kind is not None), "relevance": sentence.relevance}
        signs["length"] = math.log1p(len(sentence.words))
        found.append((sentence, signs))
    _count_rivals(found)
    return found


def _is_plain(question: str, sentence: _Sentence) -> bool:
    """Whether a sentence states, of what is asked about, what the question asks for."""
    unasked = stances_of(sentence.text, question) - stances_of(question) - {DENIED}
    return not unasked and not _speaks_of_another(question, sentence)


def _speaks_of_another(question: str, sentence: _Sentence) -> bool:
    """Whether a sentence is about somebody or something else: a name of the question that it lacks, or an opposite."""
    asked, said = set(words_in(question)), set(words_in(sentence.text))
    if any(pair & asked and pair & said and not pair & asked & said for pair in _OPPOSITES):
        return True
    names = {name.casefold() for name in _NAME.findall(question)} - said
    others = {name.casefold() for name in _CAPITAL.findall(sentence.text)} - asked - STOP_WORDS
    speaker = set(words_in(sentence.record.speaker))
    return bool(names - speaker) or bool(names & speaker and others - speaker and said.isdisjoint(_FIRST_PERSON))


def _count_rivals(found: Sequence[tuple[_Sentence, dict[str, float]]]) -> None:
    best = max((signs["coverage"] for _, signs in found), default=0.0)
    fitting = {sentence.record.id for sentence, signs in found if signs["coverage"] >= best * CONTRADICTION_MARGIN}
    for _, signs in found:
        signs["rivals"] = math.log(max(len(fitting), 1))


class ExtractiveBackend(LocalBackend):
    """The backend around `extract`: free, needs no model, quotes its source."""

    def __init__(self, name: str = "extractive") -> None:
        super().__init__(
            ModelProfile(
                name, 0.0, 0.0, context_tokens=10_000_000, skill=0.5, output_tokens=30, ttft_s=0.0, tokens_per_s=1e6
            )
        )

    def estimate(self, request: Request) -> float | None:
        """P(correct) of what can be quoted from the recalled records; 0.0 where nothing can."""
        found = extract(request.question, request.recalled)
        return 0.0 if found is None else found.confidence

    async def complete(self, request: Request) -> Completion:
        """A quotation from the recalled records with its source; abstains where none answers."""
        start = time.perf_counter()
        found = extract(request.question, request.recalled)
        elapsed = time.perf_counter() - start
        if found is None:
            note = "nothing in memory answers this" if request.recalled else "the memory holds nothing for this query"
            return Completion(self.profile.name, None, latency_s=elapsed, note=note)
        citation = found.record.citation
        text = f"{found.text} [{citation}]"
        return Completion(
            self.profile.name, text, latency_s=elapsed, citations=(citation,), confidence=found.confidence
        )


def _sentences(recalled: Iterable[RecalledRecord]) -> Iterator[_Sentence]:
    for item in recalled:
        heading = frozenset(hashed_words(f"{item.record.source} {item.record.speaker} {item.record.heading}"))
        p = min(max(item.score, 1e-6), 1.0 - 1e-6)
        for text in _SENTENCE_END.split(item.record.text):
            if text.strip():
                words = heading.union(hashed_words(text))
                yield _Sentence(item.record, text.strip(), words, item.rank, math.log(p / (1.0 - p)))


def _weights(asked: Sequence[frozenset[int]], sentences: Sequence[_Sentence]) -> list[float]:
    """Inverse document frequency of each asked word over the recalled sentences.

    A word that none holds weighs as much as a rare one.
    """
    n = len(sentences)
    counts = (sum(1 for s in sentences if word & s.words) for word in asked)
    return [math.log(1 + n / (1 + count)) for count in counts]
