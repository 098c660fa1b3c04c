"""From a query to ranked records.

The signs of relevance weighed, what is over left out or put behind, and what an optional cross-encoder thinks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.arrays import Positions, Vectors
from orchestrator.memory.record import Record
from orchestrator.memory.retrieval.packing import EXCERPT, LONG_TURN, OVERHEAD_CHARS, RecalledRecord
from orchestrator.memory.retrieval.relevance import (
    LINKED,
    LINKS_FROM,
    SIGNALS,
    Asked,
    Scores,
    candidates_of,
    links_of,
    shipped_weights,
    signals_of,
)
from orchestrator.memory.retrieval.scope_index import ScopeIndex

CANDIDATES = 150  # nearest by meaning, and as many by words, where a scope is not judged whole
LED_TO = 50  # by the second step
RERANKED = 50
SPENT, CHARS_PER_TOKEN = 1.5, 4.0
USUAL_CHARS, MIN_LENGTH = 160, 0.3  # of a record; shorter ones than so many usual ones need no less relevance
_PAST = re.compile(
    r"\b(?:was|were|did|had|used "
    r"to|before|previous(?:ly)?|former(?:ly)?|earlier|original(?:ly)?|old|past|history|ever|first|until|back then|ago|"
    r"last|since|how long|changed?|moved?|anymore|no "
    r"longer|still|(?:19|20)\d\d|january|february|march|april|june|july|august|september|october|"
    r"november|december|in may)\b",
    re.IGNORECASE,
)


class Reranker(Protocol):
    """A cross-encoder: reads query and text together.

    Slower than everything else here, and better at telling an answer from a mere mention.
    """

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One number for each text, larger for more relevant ones; the scale does not matter."""
        ...


class CrossEncoderReranker:
    """Any sentence-transformers `CrossEncoder` (extra `embeddings`) from a local folder; never downloads."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import CrossEncoder  # optional and heavy: extra `embeddings`
        except ImportError as error:
            raise ImportError(
                "sentence-transformers is missing: pip install 'compound-orchestrator[embeddings]'"
            ) from error
        self._model = CrossEncoder(model, local_files_only=True, device="cpu")

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """How relevant each text is to the query; higher is better."""
        found: list[float] = np.asarray(self._model.predict([(query, text) for text in texts])).ravel().tolist()
        return found


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ids of the best records, best first, their log-odds of being relevant and what contributes to them.

    `vectors` are those of the records.
    """

    ids: tuple[int, ...]
    log_odds: Scores
    contributions: Scores
    vectors: Vectors

    @classmethod
    def empty(cls) -> Ranking:
        """A ranking without records."""
        return cls((), np.zeros(0), np.zeros((0, len(SIGNALS))), np.zeros((0, 0), dtype=np.float32))


def asks_about_the_past(query: str) -> bool:
    """Whether what is over may be what is asked for: then it is not left out."""
    return _PAST.search(query) is not None


def rank(
    index: ScopeIndex,
    query: str,
    *,
    wanted: int,
    token_budget: int | None,
    moment: float | None,
    now: float,
    history: bool | None,
    judged_whole: int,
    without: Collection[int] = (),
) -> Ranking:
    """The best `wanted` records of a scope; with a `token_budget`, without those that no packing into it would take.

    Hold the index's lock.

    With `moment` (seconds since 1970), as it was then: nothing said later counts, and what was over by then is over.
    What stands in `without` is left out. What is over is left out, unless `history` (or, by default, the wording of the
    query) asks for it.
    """
    total = len(index)
    over = index.valid_until <= (now if moment is None else moment)
    hidden = over & (not (asks_about_the_past(query) if history is None else history))
    if moment is not None:
        hidden = hidden | (index.times > moment)
    if without:
        hidden = hidden | np.isin(index.ids, list(without))
    asked = Asked.of(query, index.encoder, index, now if moment is None else moment)
    allowed = ~hidden if hidden.any() else None
    if hidden.all():
        return Ranking.empty()
    candidates = np.arange(total) if total <= judged_whole else candidates_of(index, asked, CANDIDATES, allowed)
    signals = signals_of(index, asked, candidates)
    weights = shipped_weights()
    links = first_links(index, asked, candidates, weights.log_odds(signals, total), allowed)
    if total > judged_whole:  # the second step may lead to records that the first has not found
        led_to = np.argpartition(-links, min(LED_TO, total) - 1)[:LED_TO]
        candidates = np.union1d(candidates, led_to[links[led_to] > 0.0])
        signals = signals_of(index, asked, candidates)
    signals[:, LINKED] = links[candidates]
    if allowed is not None:
        candidates, signals = candidates[allowed[candidates]], signals[allowed[candidates]]
    log_odds = weights.log_odds(signals, total)
    best: Positions = np.argsort(-log_odds, kind="stable")[:wanted]
    if token_budget is not None:
        best = best[_may_be_packed(log_odds[best], np.expm1(index.log_chars[candidates[best]]), token_budget)]
    chosen = candidates[best]
    contributions = signals[best] * np.array(weights.weights)
    return Ranking(tuple(index.ids[chosen].tolist()), log_odds[best], contributions, index.vectors[chosen])


def _may_be_packed(log_odds: Scores, chars: Scores, token_budget: int) -> NDArray[np.bool_]:
    """Packing goes by relevance per length.

    What comes when the budget is spent one and a half times need not even be read.
    """
    sizes = np.where(chars > LONG_TURN, EXCERPT, chars) + OVERHEAD_CHARS  # long turns may be quoted by a piece
    order = np.argsort(-1.0 / (1.0 + np.exp(-log_odds)) / sizes, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    kept = np.zeros(len(order), dtype=bool)
    kept[order[before <= SPENT * CHARS_PER_TOKEN * token_budget]] = True
    return kept


def first_links(
    index: ScopeIndex, asked: Asked, candidates: Positions, log_odds: Scores, allowed: NDArray[np.bool_] | None = None
) -> Scores:
    """`links_of` the records that are best by `log_odds` so far."""
    usable = np.arange(len(candidates)) if allowed is None else np.flatnonzero(allowed[candidates])
    best = usable[np.argsort(-log_odds[usable], kind="stable")[:LINKS_FROM]]
    return links_of(index, asked, candidates[best], 1.0 / (1.0 + np.exp(-log_odds[best])))


def reranked(query: str, ranking: Ranking, records: dict[int, Record], reranker: Reranker) -> Ranking:
    """The best fifty in the order that the reranker gives them, their log-odds spread as they were."""
    order = [i for i, record_id in enumerate(ranking.ids[:RERANKED]) if record_id in records]
    if len(order) < 2:
        return ranking
    scores = np.asarray(reranker.scores(query, [records[ranking.ids[i]].key for i in order]), dtype=float)
    by_score = [order[i] for i in np.argsort(-scores, kind="stable")]
    others = np.setdiff1d(np.arange(len(ranking.ids)), order)
    new = np.concatenate([by_score, others]).astype(np.int64)
    log_odds = np.concatenate([ranking.log_odds[order], ranking.log_odds[new[len(order) :]]])
    return Ranking(tuple(ranking.ids[i] for i in new), log_odds, ranking.contributions[new], ranking.vectors[new])


def recalled(
    ranking: Ranking, records: dict[int, Record], min_relevance: float = 0.0
) -> tuple[list[RecalledRecord], Vectors]:
    """Those of a ranking that are still there and relevant enough for their length, and their vectors."""
    p_relevant = (1.0 / (1.0 + np.exp(-ranking.log_odds))).tolist()
    found, kept = list[RecalledRecord](), list[int]()
    for i, (record_id, p, parts) in enumerate(
        zip(ranking.ids, p_relevant, ranking.contributions.tolist(), strict=True)
    ):
        if record_id not in records:  # it was deleted meanwhile
            continue
        if p >= min_relevance * math.sqrt(max(len(records[record_id].text) / USUAL_CHARS, MIN_LENGTH)):
            found.append(RecalledRecord(records[record_id], len(found) + 1, p, tuple(zip(SIGNALS, parts, strict=True))))
            kept.append(i)
    return found, ranking.vectors[kept]
