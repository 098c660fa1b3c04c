"""Packs the best records into a token budget: best first while choosing, oldest first to read, each with its citation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from memory.record import Record


@dataclass(frozen=True, slots=True)
class RecalledRecord:
    """A record that was recalled, and why: `score` is the fused score, `dense` a cosine in [-1, 1], `lexical` a BM25 score (0: no shared word)."""

    record: Record
    rank: int
    score: float
    dense: float
    lexical: float

    @property
    def reason(self) -> str:
        """Why it was recalled, in words."""
        parts = [f"meaning {self.dense:.2f}"]
        parts.append(f"words {self.lexical:.2g}" if self.lexical > 0 else "no shared words")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found for a query. `items` are best first; `text` is the packed context, oldest first; `tokens` its estimated size."""

    query: str
    scope: str
    items: tuple[RecalledRecord, ...]
    text: str
    tokens: int
    searched: int

    def __bool__(self) -> bool:
        return bool(self.items)


def estimate_tokens(text: str) -> int:
    """About 4 characters a token for Latin text, fewer for others: an estimate that needs no tokenizer."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def render(record: Record) -> str:
    """One line of context: `[m:12] (2025-03-04) Ann: text`."""
    date = f" ({record.time:%Y-%m-%d})" if record.time else ""
    return f"[{record.citation}]{date} {record.key}"


def pack(
    query: str,
    scope: str,
    ranked: Sequence[RecalledRecord],
    *,
    token_budget: int,
    searched: int,
    count_tokens: Callable[[str], int] = estimate_tokens,
) -> Recall:
    """Takes records in rank order as long as they fit; one that does not fit is passed over, later smaller ones may still enter.

    Exact repeats of a text already taken are left out. The packed text never exceeds `token_budget`.
    """
    chosen: list[tuple[RecalledRecord, str]] = []
    used, seen = 0, set()
    for item in ranked:
        if item.record.key in seen:
            continue
        line = render(item.record)
        cost = count_tokens(line + "\n")
        if used + cost <= token_budget:
            chosen.append((item, line))
            used += cost
            seen.add(item.record.key)
    oldest = datetime.min.replace(tzinfo=UTC)
    reading = sorted(chosen, key=lambda pair: (pair[0].record.time or oldest, pair[0].record.id))
    return Recall(query, scope, tuple(item for item, _ in chosen), "\n".join(line for _, line in reading), used, searched)
