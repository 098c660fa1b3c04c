"""Routing among 11 recorded models, and a new model that joins them.

The parts `fleet` and `transfer` of `benchmarks.routing`.

All routers see the same random 30 % of the questions (graded answers of every model) and are judged on the other 70 %.
A router's frontier is swept by the price of quality; AIQ is its mean height between the cheapest and the dearest single
model (RouterBench, Hu et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recorded_fleet import Recorded, load, split
from orchestrator.memory import StaticEncoder
from orchestrator.router import Learner, ModelProfile, Outcome
from orchestrator.router.learning.evaluate import Point, average_improvement
from orchestrator.router.learning.train import train

Array = np.ndarray[Any, np.dtype[np.float64]]
SWEEP = np.concatenate([[0.0], np.geomspace(1e-2, 1e6, 120)])
JOINING = ("gpt-4o-mini-2024-07-18", "Meta-Llama-3.1-70B-Instruct", "gemma-2-2b-it")


@dataclass(frozen=True)
class Split:
    recorded: Recorded
    known: list[int]
    test: list[int]
    vectors: Array
    mean_usd: Array

    def outcomes(self, rows: list[int], models: list[str]) -> list[Outcome]:
        recorded = self.recorded
        columns = [recorded.models.index(name) for name in models]
        return [
            Outcome(recorded.questions[row], recorded.models[c], float(recorded.right[row, c]))
            for row in rows
            for c in columns
        ]


def prepare(folder: Path, task: str, seed: int) -> Split:
    recorded, _ = load(folder, task)
    known, test = split(len(recorded.questions), seed)
    vectors = StaticEncoder().encode(recorded.questions).astype(float)
    return Split(recorded, known, test, vectors, recorded.usd[known].mean(axis=0))


def frontier_of(data: Split, p: Array) -> list[Point]:
    """Points of the policy "most P(correct) - price * lambda" on the test questions, for each lambda."""
    right, usd, rows = data.recorded.right[data.test], data.recorded.usd[data.test], np.arange(len(data.test))
    chosen = [(p - lam * data.mean_usd).argmax(axis=1) for lam in SWEEP]
    return [Point(float(usd[rows, c].mean()), float(right[rows, c].mean())) for c in chosen]


def compare(folder: Path, task: str, *, seed: int = 0) -> dict[str, Any]:
    """AIQ of our router, of three simple ones on the same embeddings, of single models, and of the oracle."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPRegressor

    data = prepare(folder, task, seed)
    recorded = data.recorded
    right, usd = recorded.right.astype(float), recorded.usd
    known_x, test_x, known_y = data.vectors[data.known], data.vectors[data.test], right[data.known]
    single = [
        Point(float(usd[data.test, c].mean()), float(right[data.test, c].mean())) for c in range(len(recorded.models))
    ]
    low, high = min(p.cost_usd for p in single), max(p.cost_usd for p in single)

    model = train(data.outcomes(data.known, recorded.models), encoder=StaticEncoder())
    ours = model.predict_many(
        [recorded.questions[row] for row in data.test], [ModelProfile(name) for name in recorded.models]
    )
    similarity = test_x @ known_x.T
    nearest = np.argsort(-similarity, axis=1)[:, :40]
    logistic = np.stack(
        [
            _fitted(LogisticRegression(max_iter=500), known_x, known_y[:, c], test_x)
            for c in range(len(recorded.models))
        ],
        axis=1,
    )
    perceptron = (
        MLPRegressor(hidden_layer_sizes=(100,), max_iter=400, random_state=0).fit(known_x, known_y).predict(test_x)
    )
    cheapest_right = np.where(recorded.right[data.test], usd[data.test], np.inf)
    solved = np.isfinite(cheapest_right.min(axis=1))
    oracle = Point(
        float(np.where(solved, cheapest_right.min(axis=1), usd[data.test].min(axis=1)).mean()), float(solved.mean())
    )
    found = {
        "router": frontier_of(data, ours),
        "nearest_neighbours": frontier_of(data, known_y[nearest].mean(axis=1)),
        "logistic": frontier_of(data, logistic),
        "perceptron": frontier_of(data, perceptron),
        "single_models": single,
        "oracle": [*single, oracle],
    }
    return {name: round(average_improvement(points, low_usd=low, high_usd=high), 4) for name, points in found.items()}


def transfer(folder: Path, task: str, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Log-loss on test questions of a model that joins with one number (its score, rounded to 0.05) and 0, 20 or 100
    outcomes.

    Beside it: had the model been there in training, and its share of right answers said of every question.
    """
    data = prepare(folder, task, seed)
    recorded = data.recorded
    questions = [recorded.questions[row] for row in data.test]
    everyone = train(data.outcomes(data.known, recorded.models), encoder=StaticEncoder())
    found = {}
    for name in JOINING:
        column = recorded.models.index(name)
        truth = recorded.right[data.test, column].astype(float)
        public = round(float(recorded.right[data.known, column].mean()) * 20) / 20
        profile = ModelProfile(name, skill=min(max(public, 0.05), 0.95))
        without = train(data.outcomes(data.known, [m for m in recorded.models if m != name]), encoder=StaticEncoder())
        losses = {}
        for outcomes in (0, 20, 100):
            sharpened = Learner(without).learn(data.outcomes(data.known[:outcomes], [name]), {name: profile})
            losses[f"{outcomes}_outcomes"] = _log_loss(sharpened.predict_many(questions, [profile])[:, 0], truth)
        losses["trained_with_it"] = _log_loss(everyone.predict_many(questions, [profile])[:, 0], truth)
        losses["share_of_right_alone"] = _log_loss(
            np.full(len(truth), recorded.right[data.known, column].mean()), truth
        )
        found[name] = losses
    return found


def _fitted(model: Any, x: Array, y: Array, test_x: Array) -> Array:
    if len(np.unique(y)) < 2:
        return np.full(len(test_x), y[0])
    predicted: Array = model.fit(x, y).predict_proba(test_x)[:, 1]
    return predicted


def _log_loss(p: Array, y: Array) -> float:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return round(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), 4)
