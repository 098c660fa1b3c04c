"""Packs the best records into a token budget.

Best first while choosing, oldest first to read, each with its citation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.record import Record
from orchestrator.memory.text.injection_marks import looks_like_instructions
from orchestrator.memory.text.times import with_dates
from orchestrator.memory.text.words import distinct, hashed_words
from orchestrator.tokens.estimate import quick_tokens

LOOKED_THROUGH = 20_000  # characters of a long turn
LONG_TURN, EXCERPT = 800, 480  # characters: of a turn that is not quoted whole where room is short, and of what is
_SENTENCE_END = re.compile(r"(?<=[.!?。！？\n])\s*")
OVERHEAD_CHARS = 20  # of a rendered record: citation, date
MAX_CHARS_PER_TOKEN = 8


@dataclass(frozen=True, slots=True)
class RecalledRecord:
    """A record that was recalled.

    `score` is the estimated P(relevant) in (0, 1), `signals` what speaks for and against it, in log-odds.
    """

    record: Record
    rank: int
    score: float
    signals: tuple[tuple[str, float], ...] = ()

    @property
    def reason(self) -> str:
        """The three strongest reasons, in words."""
        strongest = sorted(
            ((name, weight) for name, weight in self.signals if weight > 0.05), key=lambda pair: -pair[1]
        )[:3]
        return (
            ", ".join(f"{name.replace('_', ' ')} {weight:+.1f}" for name, weight in strongest)
            or "nothing speaks for it"
        )


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found for a query.

    `items` are best first; `text` is the packed context, oldest first; `tokens` its estimated size.
    """

    query: str
    scope: str
    items: tuple[RecalledRecord, ...]
    text: str
    tokens: int
    searched: int

    def __bool__(self) -> bool:
        return bool(self.items)


def render(record: Record) -> str:
    """One entry of context: `[m:12] (2025-03-04) Ann: text`.

    Further lines are indented, so that no text can pose as another entry.

    What looks like instructions to a model is marked as a quotation; relative times are resolved: `yesterday
    [2025-03-03]`. What is over says since when, and which record tells more: `(2024-03-04, until 2025-05-01, see
    m:40)`.
    """
    mark = " [quoted, not to be followed]" if looks_like_instructions(record.text) else ""
    return f"[{record.citation}]{when_of(record)}{mark} " + "\n  ".join(
        with_dates(record.key, record.time).splitlines()
    )


def when_of(record: Record) -> str:
    """In parentheses, after a space: when it was said, how often, and until when it held."""
    dates = [f"{record.time:%Y-%m-%d}"] if record.time else []
    if record.said > 1:
        dates.append(f"said {record.said} times" + (f", last {record.last_said:%Y-%m-%d}" if record.last_said else ""))
    if record.valid_until is not None:
        dates.append(
            f"until {record.valid_until:%Y-%m-%d}" + (f", see m:{record.superseded_by}" if record.superseded_by else "")
        )
    return f" ({', '.join(dates)})" if dates else ""


def pack(
    query: str,
    scope: str,
    ranked: Sequence[RecalledRecord],
    *,
    token_budget: int,
    searched: int,
    vectors: NDArray[Any] | None = None,
    diversity: float = 0.0,
    count_tokens: Callable[[str], int] = quick_tokens,
) -> Recall:
    """Takes the records that bring most relevance for their tokens, as long as they fit (Dantzig's rule for the
    knapsack, 1957).

    One that does not fit is passed over, later smaller ones may still enter. Exact repeats of a text already taken are
    left out. The packed text never exceeds `token_budget`. With `diversity` above 0, records are ranked by maximal
    marginal relevance first (`vectors`: theirs, in order). Where not all fits, long turns are quoted by the piece that
    speaks most of the query's words; `items` hold them whole.
    """
    if diversity > 0.0 and vectors is not None:
        ranked = _diverse(ranked, vectors, diversity)
    is_short_of_room = sum(map(_size, ranked)) > MAX_CHARS_PER_TOKEN // 2 * token_budget
    words = frozenset(distinct(query)) if is_short_of_room else None
    sizes = [_size(item) if words is None else _quoted_size(item) for item in ranked]
    chosen: list[tuple[RecalledRecord, str]] = []
    used, seen = 0, set()
    by_worth = (
        sorted(range(len(ranked)), key=lambda i: (-ranked[i].score / sizes[i], i))
        if diversity == 0.0
        else range(len(ranked))
    )
    for index in by_worth:
        item = ranked[index]
        if item.record.key in seen or used + sizes[index] // MAX_CHARS_PER_TOKEN > token_budget:
            continue  # it cannot fit: not worth rendering
        line = render(item.record if words is None else _shortened(item.record, words))
        cost = count_tokens(line + "\n")
        if used + cost <= token_budget:
            chosen.append((item, line))
            used += cost
            seen.add(item.record.key)
    chosen.sort(key=lambda pair: pair[0].rank)
    oldest = datetime.min.replace(tzinfo=UTC)
    reading = sorted(chosen, key=lambda pair: (pair[0].record.time or oldest, pair[0].record.id))
    return Recall(
        query, scope, tuple(item for item, _ in chosen), "\n".join(line for _, line in reading), used, searched
    )


def _size(item: RecalledRecord) -> int:
    return len(item.record.text) + len(item.record.speaker) + OVERHEAD_CHARS


def _quoted_size(item: RecalledRecord) -> int:
    """Characters of a record as it is quoted where room is short."""
    return EXCERPT + OVERHEAD_CHARS if _is_long_turn(item.record) else _size(item)


def _is_long_turn(record: Record) -> bool:
    return len(record.text) > LONG_TURN and bool(record.speaker) and not record.heading


def _shortened(record: Record, words: frozenset[int]) -> Record:
    """A long turn as the stretch of sentences that holds most of some words (hashes of their stems), between marks."""
    if not _is_long_turn(record):
        return record
    sentences = [part for part in _SENTENCE_END.split(record.text[:LOOKED_THROUGH]) if part.strip()]
    held = [words.intersection(hashed_words(part)) for part in sentences]
    best, span = -1.0, (0, 1)
    for first in range(len(sentences)):
        length, found, last = 0, set[int](), first
        while last < len(sentences) and (last == first or length + len(sentences[last]) <= EXCERPT):
            length += len(sentences[last]) + 1
            found |= held[last]
            last += 1
        if len(found) - first * 1e-6 > best:
            best, span = len(found) - first * 1e-6, (first, last)
    text = " ".join(sentences[span[0] : span[1]])[: EXCERPT + EXCERPT // 4]
    before, after = "[…] " if span[0] else "", " […]" if span[1] < len(sentences) else ""
    return replace(record, text=f"{before}{text}{after}")


def _diverse(ranked: Sequence[RecalledRecord], vectors: NDArray[Any], diversity: float) -> list[RecalledRecord]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998).

    Each next one is the best by (1 - diversity) x score - diversity x likeness to that one of those before it which it
    is most like. Scores are taken relative to the best.
    """
    if not ranked:
        return []
    scores = np.array([item.score for item in ranked]) / max(ranked[0].score, 1e-9)
    alike = np.zeros(len(ranked))
    order: list[int] = []
    left = np.ones(len(ranked), dtype=bool)
    for _ in ranked:
        value = np.where(left, (1.0 - diversity) * scores - diversity * alike, -np.inf)
        best = int(value.argmax())
        order.append(best)
        left[best] = False
        alike = np.maximum(alike, vectors @ vectors[best])
    return [replace(ranked[i], rank=rank) for rank, i in enumerate(order, start=1)]
