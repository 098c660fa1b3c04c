"""What people use without a search, chosen on the same calibration questions and under the same price limit: the
baselines of `benchmarks.fleet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from benchmarks.recorded_fleet import Recorded

MAJORITIES = (3, 5, 11)
Outcomes = np.ndarray[Any, np.dtype[np.float64]]


def majorities(recorded: Recorded, calibration: Sequence[int], test: Sequence[int]) -> dict[str, dict[str, float]]:
    """Of the 3, 5 and 11 models that were best in calibration, whatever they cost; ties go to the better model."""
    by_accuracy = _by_accuracy(recorded, calibration)
    return {
        f"majority_{k}": summary(_majority(recorded, by_accuracy[:k], test))
        for k in MAJORITIES
        if k <= len(by_accuracy)
    }


def within(
    recorded: Recorded, calibration: Sequence[int], test: Sequence[int], max_usd_per_1k: float
) -> dict[str, dict[str, float]]:
    """The best single model, majority, and cascade of three by calibration whose price keeps to the limit there; kinds
    that are all too dear are left out.

    A cascade gives the answer of the first two if they agree, else the third's.
    """
    by_accuracy = _by_accuracy(recorded, calibration)
    orders = [order for order in permutations(range(len(recorded.models)), 3) if order[0] < order[1]]
    kinds: dict[str, list[Callable[[Sequence[int]], Outcomes]]] = {
        "single": [partial(_single, recorded, m) for m in by_accuracy],
        "majority": [partial(_majority, recorded, by_accuracy[:k]) for k in MAJORITIES if k <= len(by_accuracy)],
        "agreement_cascade": [partial(_cascade, recorded, order) for order in orders],
    }
    found = {}
    for kind, policies in kinds.items():
        tried = [(*policy(calibration).mean(axis=0), policy) for policy in policies]
        affordable = [(accuracy, -usd, policy) for accuracy, usd, policy in tried if 1_000 * usd <= max_usd_per_1k]
        if affordable:
            found[kind] = summary(max(affordable, key=lambda row: row[:2])[2](test))
    return found


def summary(outcomes: Outcomes) -> dict[str, float]:
    """Accuracy and price of outcomes (right, USD), shape (questions, 2)."""
    accuracy, usd = outcomes.mean(axis=0)
    return {"accuracy": round(float(accuracy), 4), "cost_usd_per_1k": round(1_000 * float(usd), 4)}


def _by_accuracy(recorded: Recorded, calibration: Sequence[int]) -> list[int]:
    found: list[int] = np.argsort(-recorded.right[calibration].mean(axis=0), kind="stable").tolist()
    return found


def _single(recorded: Recorded, model: int, rows: Sequence[int]) -> Outcomes:
    return np.stack([recorded.right[rows, model].astype(float), recorded.usd[rows, model]], axis=1)


def _majority(recorded: Recorded, models: Sequence[int], rows: Sequence[int]) -> Outcomes:
    return np.array([_majority_of_one(recorded, row, models) for row in rows], dtype=float)


def _majority_of_one(recorded: Recorded, row: int, models: Sequence[int]) -> tuple[bool, float]:
    keys = recorded.keys[row]
    votes = Counter(keys[m] for m in models if keys[m] is not None)
    winner = next((m for m in models if keys[m] is not None and votes[keys[m]] == max(votes.values())), models[0])
    return bool(recorded.right[row, winner]), float(recorded.usd[row, models].sum())


def _cascade(recorded: Recorded, order: tuple[int, ...], rows: Sequence[int]) -> Outcomes:
    first, second, third = order
    agree = np.array([recorded.keys[row][first] == recorded.keys[row][second] is not None for row in rows])
    right, usd = recorded.right[rows], recorded.usd[rows]
    price = usd[:, first] + usd[:, second] + np.where(agree, 0.0, usd[:, third])
    return np.stack([np.where(agree, right[:, first], right[:, third]).astype(float), price], axis=1)
