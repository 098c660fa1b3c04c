"""What another policy would have cost and achieved on logged traffic.

Doubly robust estimates with intervals (Dudik, Langford & Li 2011).

Each logged decision holds the propensity with which the model was chosen. Where the new policy agrees with the log, the
observed score corrects the prediction, weighted by 1 / propensity; where it does not, the prediction stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.router.calibration import Array

MIN_PROPENSITY = 1e-3
MIN_EFFECTIVE = 10.0  # decisions on which an interval can rest


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """One logged decision.

    The query, the model that answered, the probability in (0, 1] with which the policy chose it, and what came of it.
    """

    query: str
    model: str
    propensity: float
    score: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval (normal approximation at 95 %).

    `None`: too few decisions agree to correct the prediction (`MIN_EFFECTIVE`), so that nothing is known of its error.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The new policy on the logged traffic, the logged policy itself, and how many decisions the two share.

    `effective_decisions` is Kish's sample size of the importance weights: how many decisions the correction really
    rests on.
    """

    quality: Estimate
    cost_usd: Estimate
    logged_quality: float
    logged_cost_usd: float
    agreeing: int
    effective_decisions: float
    decisions: int


def replay(
    decisions: Sequence[ReplayedDecision],
    policy: Callable[[str], str],
    predict_score: Callable[[str, str], float],
    predict_cost_usd: Callable[[str, str], float],
) -> Replay:
    """Estimates `policy` (query -> model) from decisions that another one made.

    `predict_score` and `predict_cost_usd` take (query, model); wrong predictions cost precision, not truth, where the
    log explored. Raises `ValueError` without decisions, or on a propensity outside (0, 1].
    """
    if not decisions:
        raise ValueError("no logged decisions to replay")
    for number, decision in enumerate(decisions):
        if not 0.0 < decision.propensity <= 1.0:
            raise ValueError(f"decision {number + 1}: propensity {decision.propensity!r} lies outside (0, 1]")
    chosen = [policy(decision.query) for decision in decisions]
    agrees = np.array([name == decision.model for name, decision in zip(chosen, decisions, strict=True)], dtype=float)
    weights = agrees / np.maximum([decision.propensity for decision in decisions], MIN_PROPENSITY)

    effective = float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0

    def estimate(observed: Array, predict: Callable[[str, str], float], most: float) -> Estimate:
        for_policy = np.array([predict(d.query, name) for d, name in zip(decisions, chosen, strict=True)])
        for_logged = np.array([predict(d.query, d.model) for d in decisions])
        values = for_policy + weights * (observed - for_logged)
        mean = min(max(float(values.mean()), 0.0), most)
        if effective < MIN_EFFECTIVE:
            return Estimate(mean, None, None)
        half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
        return Estimate(mean, max(mean - half, 0.0), min(mean + half, most))

    scores, costs = np.array([d.score for d in decisions]), np.array([d.cost_usd for d in decisions])
    return Replay(
        estimate(scores, predict_score, 1.0),
        estimate(costs, predict_cost_usd, math.inf),
        float(scores.mean()),
        float(costs.mean()),
        int(agrees.sum()),
        effective,
        len(decisions),
    )
