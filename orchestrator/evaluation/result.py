"""What an evaluation found: each answer, and figures with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
        """What 1,000 answers cost, in USD, those that failed on the way included; `None` where nobody knows."""
        total = float(self.usd.sum())
        return None if math.isnan(total) or not self.answered else 1_000 * total / len(self.answered)

    def seconds_at(self, share: float, *, failed: float | None = None) -> float | None:
        """The quantile of the time that answers took, in seconds; `None` where none came.

        One that failed counts as `failed` seconds, or not at all.
        """
        took = [row.seconds for row in self.answered]
        took += [] if failed is None else [failed] * len(self.failures)
        return float(np.quantile(took, share, method="higher")) if took else None

    @property
    def answered(self) -> tuple[ScoredAnswer, ...]:
        """The examples to which an answer came, right or wrong."""
        return tuple(row for row in self.rows if not row.error)

    @property
    def failures(self) -> tuple[ScoredAnswer, ...]:
        """The examples to which there was no answer but an error."""
        return tuple(row for row in self.rows if row.error)

    @property
    def calibration_error(self) -> float | None:
        """How far stated confidence and share of right answers lie apart, in [0, 1], in ten groups of equal size.

        `None` where every answer failed.
        """
        order = sorted(self.answered, key=lambda row: row.confidence)
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
        both = _both_answered(baseline, other)
        known = baseline.usd_per_1k is not None and other.usd_per_1k is not None and bool(both.any())
        found.append(
            PairedComparison(
                other.name,
                difference_interval(differences),
                cost_ratio_interval(baseline.usd[both], other.usd[both]) if known else None,
                p_value,
                int((differences > 0).sum()),
                int((differences < 0).sum()),
            )
        )
    return found


def _both_answered(one: VariantResult, other: VariantResult) -> NDArray[np.bool_]:
    """Of which examples the costs can be compared."""
    pairs = zip(one.rows, other.rows, strict=True)
    return np.array([not mine.error and not theirs.error for mine, theirs in pairs], dtype=bool)


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
    if not result.answered:
        return ExpectationResult(expected, "failed", f"none of its answers came: {result.failures[0].why}")
    if expected.usd_per_1k_at_most is not None:
        usd = result.usd_per_1k
        if usd is None:
            return ExpectationResult(expected, "not shown", "the price of a model is unknown")
        return _measured(expected, usd <= expected.usd_per_1k_at_most, f"{usd:.4g} USD")
    if expected.p95_seconds_at_most is not None:
        seconds = result.seconds_at(0.95, failed=math.inf) or 0.0
        told = f"{seconds:.3g} s" if math.isfinite(seconds) else f"{len(result.failures)} answers never came"
        return _measured(expected, seconds <= expected.p95_seconds_at_most, told)
    if expected.score_at_least is not None:
        # Scores fill half of the range that differences have.
        means, least = 2.0 * result.scores - 1.0, 2.0 * expected.score_at_least - 1.0
        return _shown(expected, means, least, f"{result.scores.mean():.3f}", level)
    if not baseline.answered:
        return ExpectationResult(expected, "not shown", f"none of the answers of {baseline.name} came")
    differences = result.scores - baseline.scores
    return _shown(expected, differences, -(expected.loses_at_most or 0.0), f"{differences.mean():+.3f}", level)


def _measured(expected: Expectation, is_met: bool, told: str) -> ExpectationResult:
    return ExpectationResult(expected, "met" if is_met else "failed", told)


def _shown(expected: Expectation, found: Array, least: float, told: str, level: float) -> ExpectationResult:
    """Whether the mean of `found`, in [-1, 1], is shown to be at least, or below, `least`."""
    if not expected.certain:
        return _measured(expected, bool(found.mean() >= least), told)
    if p_loses(found, -least) <= level:
        return ExpectationResult(expected, "met", told)
    if p_loses(-found, least) <= level:
        return ExpectationResult(expected, "failed", told)
    return ExpectationResult(expected, "not shown", f"{told}: {len(found)} examples are too few to tell")
