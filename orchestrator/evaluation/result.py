"""What an evaluation found: each answer, and figures with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.evaluation.case import Case
from orchestrator.evaluation.paired import (
    Array,
    Interval,
    cost_ratio_interval,
    difference_interval,
    holm,
    mean_interval,
    p_loses,
)
from orchestrator.evaluation.suite import Expectation

Standing = Literal["met", "failed", "not shown"]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One configuration's answer to one example. `usd` is `None` where nobody knows the price."""

    case: Case
    text: str
    passed: bool
    why: str
    usd: float | None
    seconds: float
    confidence: float
    model: str
    error: str = ""
    undecided: bool = False


@dataclass(frozen=True)
class VariantResult:
    """A configuration's answers, in the order of the examples that were asked."""

    name: str
    rows: tuple[ScoredAnswer, ...]

    @property
    def scores(self) -> Array:
        """1 for what is right, else 0; shape (examples,)."""
        return np.array([float(row.passed) for row in self.rows])

    @property
    def undecided(self) -> int:
        """How many answers count as wrong only because nobody can tell whether they say what is known."""
        return sum(row.undecided for row in self.rows)

    @property
    def usd(self) -> Array:
        """What each answer cost, in USD; NaN where nobody knows."""
        return np.array([math.nan if row.usd is None else row.usd for row in self.rows])

    @property
    def score(self) -> Interval:
        """The mean score, with 95 % bounds that hold whenever one looks."""
        return mean_interval(self.scores)

    @property
    def usd_per_1k(self) -> float | None:
        """What 1,000 examples cost, in USD; `None` where nobody knows."""
        total = float(self.usd.sum())
        return None if math.isnan(total) or not self.rows else 1_000 * total / len(self.rows)

    def seconds_at(self, share: float) -> float:
        """The quantile of the latency, in seconds."""
        return float(np.quantile([row.seconds for row in self.rows], share)) if self.rows else 0.0

    @property
    def failures(self) -> tuple[ScoredAnswer, ...]:
        """The examples to which there was no answer but an error."""
        return tuple(row for row in self.rows if row.error)

    @property
    def calibration_error(self) -> float | None:
        """How far stated confidence and share of right answers lie apart, in [0, 1], in ten groups of equal size.

        `None` where every answer failed.
        """
        order = sorted((row for row in self.rows if not row.error), key=lambda row: row.confidence)
        if not order:
            return None
        groups = [g for g in np.array_split(np.arange(len(order)), 10) if len(g)]
        apart = (len(g) * abs(sum(order[i].confidence - order[i].passed for i in g.tolist()) / len(g)) for g in groups)
        return float(sum(apart) / len(order))


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """A configuration beside the baseline: `p_value` is that of "their scores are equal", corrected for the number of
    configurations (Holm).
    """

    name: str
    difference: Interval
    cost: Interval | None
    p_value: float
    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """An expectation, and whether it is met."""

    expectation: Expectation
    standing: Standing
    told: str


def compare(baseline: VariantResult, others: Sequence[VariantResult]) -> list[PairedComparison]:
    """Every configuration beside the baseline, on the same examples."""
    p_values = [_p_equal(other.scores - baseline.scores) for other in others]
    found = []
    for other, p_value in zip(others, holm(p_values), strict=True):
        differences = other.scores - baseline.scores
        known = baseline.usd_per_1k is not None and other.usd_per_1k is not None and bool(len(differences))
        found.append(
            PairedComparison(
                other.name,
                difference_interval(differences),
                cost_ratio_interval(baseline.usd, other.usd) if known else None,
                p_value,
                int((differences > 0).sum()),
                int((differences < 0).sum()),
            )
        )
    return found


def _p_equal(differences: Array) -> float:
    """Two-sided, and good at every look."""
    return min(1.0, 2.0 * min(p_loses(differences, 0.0), p_loses(-differences, 0.0)))


def judge_expectations(
    baseline: VariantResult, results: Sequence[VariantResult], expected: Sequence[Expectation], confidence: float
) -> list[ExpectationResult]:
    """Whether each expectation is met, at `confidence` for all of them together (Bonferroni)."""
    by_name = {result.name: result for result in results}
    level = (1.0 - confidence) / max(sum(each.is_of_quality and each.certain for each in expected), 1)
    return [_judge(baseline, by_name[each.of], each, level) for each in expected]


def _judge(baseline: VariantResult, result: VariantResult, expected: Expectation, level: float) -> ExpectationResult:
    if expected.usd_per_1k_at_most is not None:
        usd = result.usd_per_1k
        if usd is None:
            return ExpectationResult(expected, "not shown", "the price of a model is unknown")
        return ExpectationResult(expected, "met" if usd <= expected.usd_per_1k_at_most else "failed", f"{usd:.4g} USD")
    if expected.p95_seconds_at_most is not None:
        seconds = result.seconds_at(0.95)
        return ExpectationResult(
            expected, "met" if seconds <= expected.p95_seconds_at_most else "failed", f"{seconds:.3g} s"
        )
    if expected.loses_at_most is not None:
        differences, least = result.scores - baseline.scores, -expected.loses_at_most
        told = f"{differences.mean():+.3f}" if len(differences) else "no examples"
    else:
        assert expected.score_at_least is not None
        differences, least = result.scores, expected.score_at_least
        told = f"{differences.mean():.3f}" if len(differences) else "no examples"
    if not len(differences):
        return ExpectationResult(expected, "not shown", told)
    if not expected.certain:
        return ExpectationResult(expected, "met" if differences.mean() >= least else "failed", told)
    if p_loses(differences, -least) <= level:
        return ExpectationResult(expected, "met", told)
    if p_loses(-differences, least) <= level:
        return ExpectationResult(expected, "failed", told)
    return ExpectationResult(expected, "not shown", f"{told}: {len(differences)} examples are too few to tell")
