"""Whether a student's answer would be its teacher's: from how sure it is, who its neighbours are, and what is new.

A logistic model over a handful of signals. It is fitted on answers that the student gave to texts that it was not
trained on, so that it learns how sure the student may be on new ones. TRACER (arXiv 2604.14531) calls this the
acceptor; the signals are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.linear_model import LinearReading
from orchestrator.students.vocabulary import Vector

SIGNALS = (
    "log odds of the label",
    "lead over the second label",
    "entropy, as a share of the highest possible",
    "probability by naive Bayes",
    "probability by the linear model",
    "likeness to the label's nearest text",
    "its lead over the nearest text of another label",
    "share of known words",
    "the teacher's confidence in the nearest text",
)
FEWEST_FOR_LABEL_GATE = 20
LONGER, FEWEST_LONGEST = 1.5, 30
NOVELTY_QUANTILE = 0.005
MOST_ODDS = 12.0
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class References:
    """Some of the texts that a student was trained on, by which it sees whether a new one is like them.

    Attributes:
        vectors: Shape (m, dimensions), each of length 1.
        bounds: Where the texts of each label begin and end, in the order of the labels, shape (labels + 1,).
        confidence: The teacher's confidence in each label, in [0, 1], shape (m,).
    """

    vectors: Vector
    bounds: NDArray[np.int64]
    confidence: Vector


def signals_of(reading: LinearReading, references: References) -> tuple[int, Vector]:
    """The label that a student would give, as an index, and the signals of it, in the order of `SIGNALS`."""
    p = reading.p
    label = int(p.argmax())
    top, others = float(p[label]), p.copy()
    others[label] = 0.0
    likeness = references.vectors @ reading.vector
    nearest_of_all = int(likeness.argmax())
    begin, end = references.bounds[label : label + 2]
    nearest = float(likeness[begin:end].max(initial=-1.0))
    likeness[begin:end] = -1.0
    entropy = -float(p @ np.log(p + TINY)) / max(log(len(p)), TINY)
    odds = min(log((top + TINY) / max(1.0 - top, TINY)), MOST_ODDS)
    found = (
        odds,
        top - float(others.max()),
        entropy,
        float(reading.bayes[label]),
        float(reading.linear[label]),
        nearest,
        nearest - float(likeness.max()),
        reading.known,
        float(references.confidence[nearest_of_all]),
    )
    return label, np.array(found, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class NoveltyGate:
    """Texts that are unlike all that a student was trained on are not its to answer, however sure it is.

    Attributes:
        likeness: Per label, how like its nearest text of that label a text must be, shape (k,).
        known: The least share of known words.
        longest: The most words; a text that goes on far beyond those that were seen says more than they did.
    """

    likeness: Vector
    known: float
    longest: int

    def is_novel(self, label: int, signals: Vector) -> bool:
        """Whether a text of these signals is new to the student."""
        return bool(signals[5] < self.likeness[label] or signals[7] < self.known)

    def are_novel(self, labels: NDArray[np.int64], signals: Vector) -> NDArray[np.bool_]:
        """The same of many texts, shape (n,)."""
        return np.asarray((signals[:, 5] < self.likeness[labels]) | (signals[:, 7] < self.known))

    @classmethod
    def fit(cls, labels: NDArray[np.int64], signals: Vector, lengths: NDArray[np.int64], k: int) -> NoveltyGate:
        """Lets 99.5 % of the texts pass that the student was held against: per label, where twenty of it were seen."""
        overall = float(np.quantile(signals[:, 5], NOVELTY_QUANTILE))
        likeness = np.full(k, overall, dtype=np.float32)
        for label in range(k):
            own = signals[labels == label, 5]
            if len(own) >= FEWEST_FOR_LABEL_GATE:
                likeness[label] = np.quantile(own, NOVELTY_QUANTILE)
        longest = max(int(LONGER * lengths.max(initial=0)), FEWEST_LONGEST)
        return cls(likeness, float(np.quantile(signals[:, 7], NOVELTY_QUANTILE)), longest)


@dataclass(frozen=True, slots=True)
class Acceptor:
    """P(the student's label is the teacher's).

    Attributes:
        means: Of each signal, shape (9,).
        scales: What each is divided by.
        weights: Of each standardised signal.
        bias: Of the logistic model.
    """

    means: Vector
    scales: Vector
    weights: Vector
    bias: float

    def score(self, signals: Vector) -> float:
        """In (0, 1), of the signals of one text."""
        total = float(((signals - self.means) / self.scales) @ self.weights) + self.bias
        return 1.0 / (1.0 + exp(-max(min(total, 40.0), -40.0)))

    def scores(self, signals: Vector) -> NDArray[np.float64]:
        """Of many texts, shape (n, 9)."""
        total = ((signals - self.means) / self.scales) @ self.weights + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(total, -40.0, 40.0))), dtype=np.float64)


def stack(rows: Sequence[Vector]) -> Vector:
    """Signals of many texts as one array, shape (n, 9)."""
    return np.array(rows, dtype=np.float32).reshape(len(rows), len(SIGNALS))
