"""Labels that are probably wrong: what students that did not see them would have said.

Confident learning (Northcutt, Jiang & Chuang 2021): a label is suspect when a model that was trained on the other texts
is at least as confident of another label as it usually is of that one's own texts. Each further round trains on what
the one before let stand, so that wrong labels no longer defend each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.students.training.design import Design
from orchestrator.students.training.fitting import FitSettings, fit_models
from orchestrator.students.training.rows import LabelledText, assign_folds
from orchestrator.students.vocabulary import Vector

ROUNDS = 3
SURE = 0.6  # P(another label) from which on it is learned instead
FOLDS = 5
CAUTIOUS = FitSettings(1.0, 0.15)
FEWEST_TO_JUDGE = 40


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What is known of the labels of some rows.

    Attributes:
        p_label: P(the label that was given), by students that did not see it, and by the teacher's own confidence,
            shape (n,).
        p_best: P(the label that those students find most probable), shape (n,).
        best: That label.
        is_suspect: Which labels are probably wrong, shape (n,).
        rate: The share of labels that are probably wrong.
    """

    p_label: Vector
    p_best: Vector
    best: tuple[str, ...]
    is_suspect: NDArray[np.bool_]
    rate: float


def find_noise(rows: Sequence[LabelledText], *, seed: int = 0) -> LabelNoise:
    """Judges every label. Below forty rows, or with one label, nothing is suspect."""
    labels = sorted({row.label for row in rows})
    y, n = np.array([labels.index(row.label) for row in rows]), len(rows)
    if n < FEWEST_TO_JUDGE or len(labels) < 2:
        ones = np.ones(n, dtype=np.float32)
        return LabelNoise(ones, ones, tuple(row.label for row in rows), np.zeros(n, dtype=bool), 0.0)
    design = Design.of([row.text for row in rows])
    folds = assign_folds(y, [row.group for row in rows], FOLDS, seed)
    keep = np.ones(n, dtype=bool)
    for _ in range(ROUNDS):
        p = _held_out(design, y, folds, keep, len(labels))
        p_label = _with_teacher(p[np.arange(n), y], rows)
        contradicted = _contradicted(p, y, len(labels))
        rate = float(contradicted.mean())
        keep = ~_least_probable(p_label, p, y, rate)
    best = p.argmax(axis=1)
    suspect = contradicted & (best != y)
    return LabelNoise(p_label, p.max(axis=1), tuple(labels[at] for at in best), suspect, rate)


def clean_labels(rows: Sequence[LabelledText], *, seed: int = 0) -> tuple[list[LabelledText], LabelNoise]:
    """The rows as a student should learn from them, and what was found of their labels.

    A suspect label is corrected where the students are sure of another, else its row is not learned from.
    """
    noise = find_noise(rows, seed=seed)
    found = []
    for row, best, p_best, is_suspect in zip(rows, noise.best, noise.p_best, noise.is_suspect, strict=True):
        if not is_suspect:
            found.append(row)
        elif p_best > SURE:
            found.append(replace(row, corrected=best))
        else:
            found.append(replace(row, is_learned=False))
    return found, noise


def _held_out(
    design: Design, y: NDArray[np.int64], folds: NDArray[np.int64], keep: NDArray[np.bool_], k: int
) -> Vector:
    p = np.zeros((len(y), k), dtype=np.float32)
    for fold in np.unique(folds):
        train, test = np.flatnonzero((folds != fold) & keep), np.flatnonzero(folds == fold)
        p[test] = fit_models(design, train, y[train], k, CAUTIOUS).probabilities(test)
    return p


def _with_teacher(p: Vector, rows: Sequence[LabelledText]) -> Vector:
    """The student's odds that a label is right, times the odds of the teacher's confidence in it against its usual."""
    confidence = np.clip([row.confidence for row in rows], 0.02, 0.98)
    usual = float(np.median(confidence))
    odds = p / np.maximum(1.0 - p, 1e-6) * (confidence / (1 - confidence)) / (usual / (1 - usual))
    return np.asarray(odds / (1.0 + odds), dtype=np.float32)


def _contradicted(p: Vector, y: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Rows whose students are at least as confident of another label as they are on the average of its own rows."""
    usual = np.array([p[y == label, label].mean() if (y == label).any() else 1.0 for label in range(k)])
    above = p >= usual
    likeliest = np.where(above, p, -1.0).argmax(axis=1)
    return np.asarray(above.any(axis=1) & (likeliest != y))


def _least_probable(p_label: Vector, p: Vector, y: NDArray[np.int64], rate: float) -> NDArray[np.bool_]:
    """The least probable labels, as many as are probably wrong; never one that the students would give, too."""
    suspect = np.zeros(len(y), dtype=bool)
    suspect[np.argsort(p_label, kind="stable")[: round(rate * len(y))]] = True
    return np.asarray(suspect & (p.argmax(axis=1) != y))
