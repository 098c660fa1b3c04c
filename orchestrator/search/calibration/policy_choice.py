"""Chooses a policy from what policies did on graded questions, so that the choice keeps its figure on other questions.

How many answers of a policy were right varies by luck, and the best of hundreds is mostly lucky; how much its answers
were believed hardly varies, but may be wrong in the same way everywhere. So a policy's accuracy is estimated by its
belief, corrected by what its kind of policy misses on average, and by as much of its own difference as repeats itself
from one half of the questions to the other (empirical Bayes; Efron & Morris 1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.router.learning.evaluate import Point, frontier
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Mixture, Policy
from orchestrator.search.calibration.policy_replay import Replayed
from orchestrator.search.wrong_answers import Array

SPLITS = 20
INDIFFERENT = 0.001  # a difference in accuracy that is not paid for
MIN_KEPT = 0.6  # of a policy's own difference: halves of few questions tell too little of what repeats itself


@dataclass(frozen=True)
class Tried:
    """A policy, what it did on the calibration questions, and how accurate it is estimated to be."""

    policy: FixedOrder | ByValue
    replayed: Replayed
    accuracy: float = 0.0

    @property
    def usd(self) -> float:
        """The mean price of a question, in USD."""
        return self.replayed.summary[1]


def estimate(
    policies: Sequence[FixedOrder | ByValue], replays: Sequence[Replayed], stated: Sequence[Array], *, seed: int = 0
) -> list[Tried]:
    """The policies with their estimated accuracy.

    `stated` is the scaled belief of each in its answers, shape (questions,).
    """
    missed = np.array([found.right - p for found, p in zip(replays, stated, strict=True)])  # (policies, questions)
    kind = np.array([isinstance(policy, ByValue) for policy in policies])
    common = np.zeros(len(policies))
    for each in (False, True):
        if (kind == each).any():
            common[kind == each] = missed[kind == each].mean()
    own = missed.mean(axis=1) - common
    kept = max(repeatable_share(missed - common[:, None], seed=seed), MIN_KEPT)
    accuracy = np.array([p.mean() for p in stated]) + common + kept * own
    return [Tried(policy, found, float(a)) for policy, found, a in zip(policies, replays, accuracy, strict=True)]


def repeatable_share(missed: Array, *, seed: int = 0) -> float:
    """How much of the differences between rows' means would be seen on other columns as well, in [0, 1].

    The slope by which one half of the columns predicts the other, for means of all columns (Spearman and Brown).
    """
    if missed.shape[1] < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    both = each = 0.0
    for _ in range(SPLITS):
        order = rng.permutation(missed.shape[1])
        halves = [missed[:, part].mean(axis=1) for part in np.array_split(order, 2)]
        one, other = (half - half.mean() for half in halves)
        both += float(one @ other)
        each += float(one @ one + other @ other) / 2
    slope = max(both / each, 0.0) if each > 0 else 0.0
    return 2.0 * slope / (1.0 + slope)


def upper_hull(tried: Sequence[Tried]) -> list[Tried]:
    """Those that no mixture of two others beats, from the cheapest to the most accurate.

    None that is hardly more accurate than the last.
    """
    by_point = {Point(t.usd, t.accuracy): t for t in reversed(tried)}
    hull = [by_point[point] for point in frontier(list(by_point))]
    kept = hull[:1]
    for point in hull[1:]:
        if point.accuracy > kept[-1].accuracy + INDIFFERENT:
            kept.append(point)
    return kept


def best_within(tried: Sequence[Tried], max_usd: float) -> tuple[Policy, list[tuple[Tried, float]]]:
    """The most accurate policy whose mean price is at most `max_usd`, or the cheapest.

    And what it consists of, with shares that sum to 1.
    """
    hull = upper_hull(tried)
    below = [point for point in hull if point.usd <= max_usd] or hull[:1]
    above = [point for point in hull if point.usd > max_usd]
    first = below[-1]
    if not above or first.usd > max_usd:
        return first.policy, [(first, 1.0)]
    share = (max_usd - first.usd) / (above[0].usd - first.usd)
    return Mixture(first.policy, above[0].policy, share), [(first, 1.0 - share), (above[0], share)]
