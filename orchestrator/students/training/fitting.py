"""One fit of the two linear models, and what it says of other texts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.linear_model import LinearModel, LinearReading, LinearWeights
from orchestrator.students.training.design import Design, Rows
from orchestrator.students.vocabulary import Vector, Vocabulary

SMOOTHING = 0.5
MAX_STEPS = 200
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What model selection may choose.

    Attributes:
        inverse_penalty: C of the logistic regression.
        counts_share: Of the naive Bayes model in the probabilities.
    """

    inverse_penalty: float = 3.0
    counts_share: float = 0.15


@dataclass(frozen=True)
class Fitted:
    """Both models as they were fitted on some rows of a design."""

    design: Design
    shown: tuple[Vector, Vector]
    weights: LinearWeights

    def readings(self, rows: Rows) -> list[LinearReading]:
        """What they make of these rows."""
        features = self.design.features(rows, self.shown) @ _stacked(self.weights) + self.weights.bias
        scores = np.stack([features, self.design.word_counts[rows] @ self.weights.counts], axis=1).astype(np.float32)
        known, share = self.design.known(rows, self.shown), self.weights.counts_share
        vectors = self.design.vectors[rows]
        return [LinearReading.of(scores[at], share, vectors[at], float(known[at])) for at in range(len(rows))]

    def as_model(self) -> LinearModel:
        """What answers. Features that its own rows do not show are as unknown to it as they were in the folds."""
        words, grams = (
            Vocabulary(vocabulary.columns, vocabulary.idf * shown)
            for vocabulary, shown in zip((self.design.words, self.design.grams), self.shown, strict=True)
        )
        return LinearModel(words, grams, self.design.pieces, self.weights, self.design.seen)

    def probabilities(self, rows: Rows) -> Vector:
        """P(label), shape (rows, labels)."""
        return np.array([reading.p for reading in self.readings(rows)], dtype=np.float32)


def fit_models(
    design: Design, rows: Rows, labels: NDArray[np.int64], k: int, settings: FitSettings, weights: Vector | None = None
) -> Fitted:
    """Fits both models on some rows. `labels` are indices below `k` of those rows, `weights` what each row counts.

    A label that none of the rows has gets a probability near 0.
    """
    shown = design.shown(rows)
    present = np.unique(labels)
    linear, bias = _linear(design, rows, labels, shown, settings, weights, k)
    counts = np.full((len(design.words.columns), k), _never(present, k), dtype=np.float32)
    counts[:, present] = _bayes(design, rows, labels, shown[0], weights)
    words, grams = len(design.words.columns), len(design.grams.columns)
    blocks = linear[:words], linear[words : words + grams], linear[words + grams :]
    return Fitted(design, shown, LinearWeights(*blocks, bias, counts, settings.counts_share))


def _linear(
    design: Design,
    rows: Rows,
    labels: NDArray[np.int64],
    shown: tuple[Vector, Vector],
    settings: FitSettings,
    weights: Vector | None,
    k: int,
) -> tuple[Vector, Vector]:
    """Weights, shape (features, k), and bias of a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    features, present = design.features(rows, shown), np.unique(labels)
    out, bias = np.zeros((features.shape[1], k), dtype=np.float32), np.full(k, -30.0, dtype=np.float32)
    if len(present) == 1:
        bias[present] = 0.0
        return out, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the steps were used up: what is found by then is good enough
        model = LogisticRegression(C=settings.inverse_penalty, max_iter=MAX_STEPS, tol=TOLERANCE)
        model.fit(features, labels, sample_weight=weights)
    if len(present) == 2:  # one row of weights, for the second label against the first
        out[:, present[1]], bias[present] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        out[:, present], bias[present] = model.coef_.T, model.intercept_
    return out, bias


def _bayes(
    design: Design, rows: Rows, labels: NDArray[np.int64], shown: Vector, weights: Vector | None
) -> NDArray[np.float64]:
    """Weights of a complement naive Bayes model (Rennie et al. 2003), shape (words, labels that are there).

    Pairs of neighbours are left out.
    """
    from sklearn.naive_bayes import ComplementNB

    is_word = np.array([" " not in name for name in design.words.columns], dtype=np.float32) * shown
    counts = design.word_counts[rows].multiply(is_word).tocsr()
    present = np.unique(labels)
    if len(present) == 1 or not counts.nnz:
        return np.zeros((len(is_word), len(present)))
    model = ComplementNB(alpha=SMOOTHING).fit(counts, labels, sample_weight=weights)
    return np.asarray(model.feature_log_prob_.T * is_word[:, None])


def _never(present: NDArray[np.int64], k: int) -> Vector:
    """What a word adds for labels that were not seen."""
    out = np.full(k, -5.0, dtype=np.float32)
    out[present] = 0.0
    return out


def _stacked(weights: LinearWeights) -> Vector:
    return np.vstack([weights.words, weights.grams, weights.vectors])
