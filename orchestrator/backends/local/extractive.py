"""Answers from recalled memory, word for word, with citations; abstains when the memory does not hold the answer.

No language model: the sentence that shares the most telling words with the question and holds the kind of thing that is
asked for (a person, a time, a number, a place). When several say the same thing at different times, the latest wins.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.backends.base import LocalBackend, Request
from orchestrator.router import ModelProfile
from orchestrator.types import Completion

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord, Record

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_STOP = frozenset(
    "a about an and any are as at be been by can could did do does for from had has have he her his how i in into is "
    "it its me much many my now of "
    "on or our she so tell than that the their them there these they this to us was we were what when where which who "
    "whom whose why will with "
    "would you your please currently current still exactly get got s".split()
)
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
MIN_COVERAGE = 0.55
CONTRADICTION_MARGIN = 0.8


@dataclass(frozen=True, slots=True)
class _Sentence:
    record: Record
    text: str
    words: frozenset[str]
    rank: int


@dataclass(frozen=True, slots=True)
class Extract:
    """A sentence of a record that answers a question.

    `coverage` in [0, 1] is the idf-weighted share of the question's words it holds.
    """

    record: Record
    text: str
    coverage: float

    @property
    def confidence(self) -> float:
        """P(correct) by coverage: 0.55 (barely enough) maps to 0.6, full coverage to 0.95."""
        return min(0.95, 0.6 + 0.35 * (self.coverage - MIN_COVERAGE) / (1 - MIN_COVERAGE))


def extract(question: str, recalled: Sequence[RecalledRecord]) -> Extract | None:
    """The best supporting sentence among `recalled`, or `None` if none covers enough of the question."""
    asked = _stems(_MEASURE.sub(" ", question))
    if not asked or not recalled:
        return None
    sentences = list(_sentences(recalled))
    weights = _weights(asked, sentences)
    total = sum(weights.values())
    if total <= 0:
        return None
    kind = next((must for _, asks, must in _KINDS if asks.search(question)), None)
    scored = []
    for sentence in sentences:
        if sentence.text.rstrip().endswith("?") or (kind is not None and not kind.search(sentence.text)):
            continue
        coverage = sum(weight for word, weight in weights.items() if word in sentence.words) / total
        if coverage >= MIN_COVERAGE:
            scored.append((coverage, sentence))
    if not scored:
        return None
    best = max(coverage for coverage, _ in scored)
    # Of sentences that fit about as well, the latest: facts change.
    oldest = datetime.min.replace(tzinfo=UTC)
    contenders = [(c, s) for c, s in scored if c >= best * CONTRADICTION_MARGIN]
    coverage, chosen = max(contenders, key=lambda pair: (pair[1].record.time or oldest, pair[0], -pair[1].rank))
    return Extract(chosen.record, chosen.text, coverage)


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


def _sentences(recalled: Iterable[RecalledRecord]) -> Iterable[_Sentence]:
    for item in recalled:
        heading = item.record.source + " " + item.record.speaker
        for text in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n+", item.record.text):
            if text.strip():
                yield _Sentence(
                    item.record, text.strip(), frozenset(_stems(text)) | frozenset(_stems(heading)), item.rank
                )


def _weights(asked: Sequence[str], sentences: Sequence[_Sentence]) -> dict[str, float]:
    """Inverse document frequency of each asked word over the recalled sentences.

    A word that none holds weighs as much as a rare one.
    """
    n = len(sentences)
    counts = {word: sum(word in s.words for s in sentences) for word in asked}
    return {word: math.log(1 + n / (1 + count)) for word, count in counts.items()}


def _stems(text: str) -> list[str]:
    return list(dict.fromkeys(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP))


def _stem(word: str) -> str:
    for suffix in ("ings", "ing", "ed", "es", "s"):
        if len(word) > len(suffix) + 3 and word.endswith(suffix):
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 4 and word[-1] in "ey" else word
