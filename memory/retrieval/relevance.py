"""How relevant is each record to a query?

A few signs, each of which anybody would name, weighed by logistic regression.

The weights are learned by `python -m orchestrator.memory.training.tune` from conversations written for this project
(memory/training); no data set that the memory is measured on has been used. Nothing here calls a model.

Neighbours count where turns are short: a window of three turns that holds the record is judged beside the record alone,
and fades with their length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.arrays import Positions, Vectors
from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.retrieval.scope_index import ScopeIndex, inverse_frequency
from orchestrator.memory.text.times import spans_in
from orchestrator.memory.text.words import distinct, hashed_words, names_in, strip_question

WEIGHTS = Path(__file__).parents[1] / "pretrained" / "relevance.json"
Scores = NDArray[np.float64]
SIGNALS = (
    "meaning",  # cosine of query and record, in standard deviations of the scope
    "meaning_nearby",  # the same of the best window of three turns
    "words",  # BM25, in standard deviations over the records judged
    "words_nearby",  # the same of the best window
    "coverage",  # share of the query's words, by worth, that stand in the record
    "speaker",  # the query names who said it
    "answers",  # the turn before asks, and this is how well that fits, by meaning and words
    "asks",  # 1 if it is a question and little else, 0.5 if it ends with one
    "assistant",  # an assistant said it: advice, seldom facts about anybody
    "length",  # log of its length by 100 characters, up to 200: a longer text does not say more of anything
    "density",  # worth of its words
    "names",
    "numbers",
    "personal",  # the speaker speaks of himself
    "when",  # it was said at the time that the query speaks of, or soon after
    "linked",  # it shares rare words with what is found first: the second step of a question that needs two
)
LINKED = SIGNALS.index("linked")
LINKS_FROM = 3  # the best so many records
RARE, MAX_LINKED = 0.03, 4.0  # share of a scope's records that a linking word stands in at most; standard deviations
FADES_DAYS = 7.0  # people tell of things after they happened
ASSISTANTS = frozenset(("assistant", "ai", "bot", "chatbot", "agent", "model", "gpt", "claude", "gemini"))
K1 = 0.9
DAY_S = 86_400.0
MAX_WORDS = 48  # of a query
OFFSETS = np.arange(-2, 3)
USUAL, LONGEST = math.log1p(100), math.log1p(200)
SHORT_CHARS, LONG_CHARS = (
    160.0,
    400.0,
)  # neighbours count in full up to a typical length of SHORT_CHARS, not at all from LONG_CHARS


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as it is compared.

    The vector of what it states, the hashes of its distinct content words, and all words that may name somebody.
    """

    vector: Vectors
    words: tuple[int, ...]
    names: frozenset[str]
    spans: tuple[tuple[float, float], ...] = ()
    """Times that the query speaks of: first and last second, since 1970."""

    @classmethod
    def of(cls, query: str, encoder: Encoder, index: ScopeIndex, now: float | None = None) -> Asked:
        """`now` (seconds since 1970) is what relative times in the query refer to; without it they are only words."""
        stated = strip_question(query, names_in(index.speaker_names))
        spans = [] if now is None else spans_in(query, datetime.fromtimestamp(now, UTC))
        edges = tuple((_midnight(span.first), _midnight(span.last) + DAY_S) for span in spans)
        return cls(encoder.encode([stated])[0], tuple(distinct(query)[:MAX_WORDS]), names_in([query]), edges)


@dataclass(frozen=True, slots=True)
class Weights:
    """One weight for each of `SIGNALS`.

    `intercept` makes the sum the log-odds that a record is relevant, in a scope of `records` records.
    """

    intercept: float
    weights: tuple[float, ...]
    records: int

    def log_odds(self, signals: Scores, scope_size: int) -> Scores:
        """A query has about as many answers in a small scope as in a large one.

        The odds of a record fall with the size of its scope.
        """
        return np.asarray(
            signals @ np.array(self.weights) + self.intercept + math.log(self.records / max(scope_size, 1))
        )

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Weights:
        """Raises `ValueError` on weights for other signals than this version has."""
        made = json.loads(path.read_text(encoding="utf-8"))
        stored: Mapping[str, float] = made["weights"]
        if set(stored) != {"intercept", *SIGNALS}:
            raise ValueError(
                f"{path}: made for other signals than {', '.join(SIGNALS)}; make it again: python -m "
                "orchestrator.memory.training.tune"
            )
        return cls(stored["intercept"], tuple(stored[name] for name in SIGNALS), made["records"])


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """The weights that come with the package."""
    return Weights.load()


def shipped_prior(signs: Mapping[str, float]) -> float:
    """What the given signs, by name, add to the log-odds that a text is relevant."""
    weights = dict(zip(SIGNALS, shipped_weights().weights, strict=True))
    return sum(weights[name] * value for name, value in signs.items())


def candidates_of(index: ScopeIndex, asked: Asked, limit: int, allowed: NDArray[np.bool_] | None = None) -> Positions:
    """Positions of the `limit` records nearest in meaning and the `limit` best by words, with the turns beside them.

    Ascending.

    With `allowed`, of the records that this says only.
    """
    found = np.concatenate([index.nearest(asked.vector, limit, allowed), _best_by_words(index, asked, limit, allowed)])
    beside = np.concatenate([found - 1, found, found + 1])
    return _distinct(beside[(beside >= 0) & (beside < len(index))], len(index))[0]


def _best_by_words(index: ScopeIndex, asked: Asked, limit: int, allowed: NDArray[np.bool_] | None) -> Positions:
    """The best by BM25, from the scope's own words alone.

    Faster than asking a full-text index that holds all scopes.
    """
    scores = np.zeros(len(index))
    b, typical = 0.8 - 0.4 * _fade(index), index.typical_n_words
    for word in asked.words:
        if not index.records_with(word):
            continue
        positions, counts = index.holding(word)
        norm = K1 * (1.0 - b + b * index.n_words[positions] / typical)
        scores[positions] += inverse_frequency(len(index), len(positions)) * counts * (K1 + 1.0) / (counts + norm)
    matched = np.flatnonzero(scores if allowed is None else scores * allowed)
    if len(matched) <= limit:
        return matched
    return np.asarray(matched[np.argpartition(-scores[matched], limit)[:limit]])


def links_of(index: ScopeIndex, asked: Asked, best: Positions, p_best: Scores) -> Scores:
    """How much each record shares with the records `best` (relevant with probability `p_best`).

    Rare words that the query does not say, weighed by their worth, in standard deviations. Who said it and when is no
    link. Shape (records,).
    """
    n = len(index)
    owner, words, _ = index.words_of(best)
    dates = (f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y}" for seconds in index.times[best].tolist())
    who_and_when = {
        code
        for text in (*dates, *(index.speaker_names[i] for i in index.speakers[best]))
        for code in hashed_words(text)
    }
    known = who_and_when.union(asked.words)
    weights: dict[int, float] = {}
    for p, word in zip(p_best[owner].tolist(), words.tolist(), strict=True):
        weights[word] = max(weights.get(word, 0.0), p)
    most = max(3, RARE * n)
    rare = {word: p for word, p in weights.items() if 2 <= index.records_with(word) <= most and word not in known}
    found = index.summed({word: p * float(inverse_frequency(n, index.records_with(word))) for word, p in rare.items()})
    found[best] = 0.0
    return np.minimum(_standardised(found, found), MAX_LINKED)


def signals_of(index: ScopeIndex, asked: Asked, candidates: Positions) -> Scores:
    """The signs for the records at `candidates` (ascending), shape (candidates, signals).

    "linked" is 0, see `links_of`.
    """
    around, valid = _neighbourhood(index, candidates)
    positions, where = _distinct(around, len(index))
    fade = _fade(index)
    mean, spread = index.cosines(asked.vector)
    cosine = index.vectors[positions] @ asked.vector if len(positions) < len(index) else index.vectors @ asked.vector
    meaning = (cosine - mean) / spread
    words = _Words(index, asked, positions, b=0.8 - 0.4 * fade)
    centre = where[:, 2]
    windows = _Windows.of(index, positions)
    joined = (windows.joined(cosine) / windows.lengths(index) - mean) / spread
    best_meaning = np.maximum(meaning[centre], _best(joined, where, valid))
    best_words = np.maximum(words.score[centre], _best(words.of(windows), where, valid))
    standing, best_words = _standardised(words.score, words.score[centre]), _standardised(best_words, best_words)
    before = where[:, 1]
    asked_before = valid[:, 1] * (index.asks[around[:, 1]] > 0) * fade
    assistant = np.array([not ASSISTANTS.isdisjoint(name) for name in index.speaker_words], dtype=float)
    named = np.array([not asked.names.isdisjoint(name) for name in index.speaker_words], dtype=float)
    return np.column_stack(
        (
            meaning[centre],
            meaning[centre] + fade * (best_meaning - meaning[centre]),
            standing[centre],
            standing[centre] + fade * (best_words - standing[centre]),
            words.coverage[centre],
            named[index.speakers[candidates]],
            asked_before * (meaning[before] + standing[before]) / 2.0,
            index.asks[candidates] / 2.0,
            assistant[index.speakers[candidates]],
            np.minimum(index.log_chars[candidates], LONGEST) - USUAL,
            index.density[candidates],
            index.names[candidates],
            index.numbers[candidates],
            index.personal[candidates],
            _when(index.times[candidates], asked.spans),
            np.zeros(len(candidates)),
        )
    )


def _when(times: Scores, spans: tuple[tuple[float, float], ...]) -> Scores:
    """1 for what was said within one of the spans, fading over the days after it."""
    found = np.zeros(len(times))
    for first, end in spans:
        late_days = np.maximum(times - end, 0.0) / DAY_S
        found = np.maximum(found, np.where(times < first, 0.0, np.exp(-late_days / FADES_DAYS)))
    return found


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def _distinct(positions: Positions, n: int) -> tuple[Positions, Positions]:
    """The distinct ones among positions below `n`, ascending, and where in those each is.

    `np.unique` without sorting.
    """
    place = np.zeros(n, dtype=np.int64)
    place[positions.ravel()] = 1
    found = np.flatnonzero(place)
    place[found] = np.arange(len(found))
    return found, place[positions]


def _neighbourhood(index: ScopeIndex, candidates: Positions) -> tuple[Positions, NDArray[np.bool_]]:
    """Positions from two before to two after each candidate, and whether they are turns of the same session.

    Shapes (candidates, 5).
    """
    around = candidates[:, None] + OFFSETS
    inside = (around >= 0) & (around < len(index))
    around = np.clip(around, 0, len(index) - 1)
    session = index.sessions[around]
    same = inside & (session == session[:, [2]]) & (session[:, [2]] > 0)
    same[:, 2] = True
    return around, same


def _fade(index: ScopeIndex) -> float:
    typical = math.expm1(index.typical_log_chars)
    return min(max((LONG_CHARS - typical) / (LONG_CHARS - SHORT_CHARS), 0.0), 1.0)


def _standardised(scores: Scores, population: Scores) -> Scores:
    """(x - mean) / standard deviation of the population; zeros where that is all the same."""
    spread = float(population.std())
    return (scores - population.mean()) / spread if spread > 1e-9 else np.zeros_like(scores)


def _best(scores: Scores, where: Positions, valid: NDArray[np.bool_]) -> Scores:
    """The best of the windows that hold a candidate: those that end with it, and one and two records after it."""
    return np.asarray(
        np.maximum.reduce([np.where(valid[:, column], scores[where[:, column]], -np.inf) for column in (2, 3, 4)])
    )


@dataclass(frozen=True, slots=True)
class _Windows:
    """For each of some positions (ascending) the window of three that ends there.

    Whether the record before, and that before it, belong to it.

    They do if they are turns of the same session. Of windows that reach beyond the positions, nothing is right.
    """

    positions: Positions
    one: NDArray[np.bool_]
    two: NDArray[np.bool_]

    @classmethod
    def of(cls, index: ScopeIndex, positions: Positions) -> _Windows:
        session = index.sessions[positions]
        found = []
        for distance in (1, 2):
            same = np.zeros(len(positions), dtype=bool)
            adjacent = positions[distance:] - positions[:-distance] == distance
            same[distance:] = adjacent & (session[distance:] == session[:-distance]) & (session[distance:] > 0)
            found.append(same)
        return cls(positions, *found)

    def joined(self, values: NDArray[Any]) -> Scores:
        """Sum of the values of each window's records; `values` belong to the positions and may have a second axis."""
        shape = (-1, *[1] * (values.ndim - 1))
        total = values.astype(float)
        total[1:] += values[:-1] * self.one[1:].reshape(shape)
        total[2:] += values[:-2] * self.two[2:].reshape(shape)
        return total

    def lengths(self, index: ScopeIndex) -> Scores:
        """Length of the sum of the unit vectors of each window, from the cosines between neighbours."""
        one, two = index.near
        squared = 1.0 + self.one + self.two + 2.0 * (self.one * one[self.positions] + self.two * two[self.positions])
        squared[1:] += 2.0 * (self.one & self.two)[1:] * one[self.positions[:-1]]
        return np.asarray(np.sqrt(np.maximum(squared, 1e-6)))


class _Words:
    """BM25 (Robertson & Zaragoza 2009) over some records of a scope."""

    def __init__(self, index: ScopeIndex, asked: Asked, positions: Positions, *, b: float) -> None:
        n = len(index)
        known = sorted(word for word in asked.words if index.records_with(word))
        seen = np.array([index.records_with(word) for word in known], dtype=float)
        self._worth = inverse_frequency(n, seen)
        self._total = float(self._worth.sum()) or 1.0
        self._b = b
        owner, words, counts = index.words_of(positions)
        self._frequency = np.zeros((len(positions), len(known)))
        if known and len(words):
            codes = np.array(known, dtype=np.uint32)
            column = np.minimum(np.searchsorted(codes, words), len(codes) - 1)
            hit = codes[column] == words
            self._frequency[owner[hit], column[hit]] = counts[hit]
        self._n_words = index.n_words[positions].astype(float)
        self._typical = index.typical_n_words
        self.score = self._bm25(self._frequency, self._n_words, self._typical)
        self.coverage = (self._frequency > 0) @ self._worth / self._total

    def of(self, windows: _Windows) -> Scores:
        """Of the records of each window taken together."""
        return self._bm25(windows.joined(self._frequency), windows.joined(self._n_words), 3.0 * self._typical)

    def _bm25(self, frequency: Scores, n_words: Scores, typical: float) -> Scores:
        norm = K1 * (1.0 - self._b + self._b * n_words / typical)
        return np.asarray((frequency * (K1 + 1.0) / (frequency + norm[:, None])) @ self._worth)
