"""Two configurations on the same examples: is the second worse, better, cheaper?

Quality is tested by betting (Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting"),
which is exact at every number of examples and stays so when somebody looks after each of them: stopping early is
honest. Money is tested by flipping signs (Fisher 1935), which needs a number of examples that was fixed beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.guarantee.certificate import betting_p_value, net_loss_bound

Array = NDArray[np.float64]
FLIPS = 50_000
RESAMPLES = 2_000
TINY_USD = 1e-9  # beside which a cost of nothing has a logarithm


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


def p_loses(differences: Array, max_loss: float) -> float:
    """p-value of "the mean of `differences` (new score - old score, in [-1, 1]) is at most -`max_loss`".

    A small one says that no more than `max_loss` is lost. It may be looked at after every example.
    """
    return betting_p_value((1.0 - differences) / 2.0, (1.0 + max_loss) / 2.0) if len(differences) else 1.0


def p_loses_at_end(differences: Array, max_loss: float) -> float:
    """As `p_loses`, sharper, for a number of examples that was fixed beforehand: it is looked at once.

    Of answers that are right or wrong, the score test for matched pairs (Tango 1998, "Equivalence test and confidence
    interval for the difference in proportions for the paired-sample design", eq. 6); of graded scores, a t test.
    """
    n = len(differences)
    if n < 2:
        return 1.0
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        b = -won - lost - (2 * n - won + lost) * max_loss
        c = lost * max_loss * (1.0 + max_loss)
        lost_share = (math.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        spread = math.sqrt(max(n * (2.0 * lost_share - max_loss * (1.0 + max_loss)), 1e-12))
        return _normal_tail((won - lost + n * max_loss) / spread)
    error = max(float(differences.std(ddof=1)) / math.sqrt(n), 1e-12)
    return _t_tail((float(differences.mean()) + max_loss) / error, n - 1)


def p_no_cheaper(usd_old: Array, usd_new: Array, *, seed: int = 0) -> float:
    """p-value of "the new one is no cheaper", one-sided, of paired costs in USD.

    A sign-flip test of the mean difference over its error, with `FLIPS` random flips: exact where nothing differs, and
    right in the long run where only the means are equal.
    """
    totals, seen = _flipped(usd_old - usd_new, seed)
    return float((1 + np.sum(totals >= seen)) / (FLIPS + 1))


def p_same_cost(usd_old: Array, usd_new: Array, *, seed: int = 0) -> float:
    """p-value of "nothing differs": which of the two paired costs is which is a coin's choice, on every question.

    The smaller of two sign-flip tests, of the differences and of their logarithms, for costs spread over powers of ten;
    doubled, since there are two.
    """
    logs = np.log((usd_old + TINY_USD) / (usd_new + TINY_USD))
    found = []
    for differences in (usd_old - usd_new, logs):
        totals, seen = _flipped(differences, seed)
        found.append(float((1 + np.sum(np.abs(totals) >= abs(seen))) / (FLIPS + 1)))
    return min(1.0, 2.0 * min(found))


def _flipped(differences: Array, seed: int) -> tuple[Array, float]:
    """Totals of the differences with random signs over their errors, and that of the differences as they are."""
    squares, n = float((differences**2).sum()), max(len(differences), 1)

    def over_error(total: Array) -> Array:
        return np.asarray(total / np.sqrt(np.maximum(squares - total**2 / n, 1e-300)) if squares else total)

    signs = _signs(len(differences), seed)
    totals = [part.astype(np.float64) @ differences for part in np.array_split(signs, 10)]
    seen = float(over_error(np.array([differences.sum()]))[0])
    return over_error(np.concatenate(totals)), seen - 1e-12 * abs(seen)


@lru_cache(maxsize=2)
def _signs(n: int, seed: int) -> NDArray[np.int8]:
    """Random signs, shape (FLIPS, n); drawing them takes longer than any test that is made with them."""
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, (FLIPS, n), dtype=np.int8)


def difference_interval(differences: Array, confidence: float = 0.95) -> Interval:
    """The mean of `differences` in [-1, 1] between exact bounds, which hold at every look."""
    if not len(differences):
        return Interval(0.0, -1.0, 1.0)
    delta = (1.0 - confidence) / 2.0
    low, high = -net_loss_bound(-differences, delta), net_loss_bound(differences, delta)
    return Interval(float(differences.mean()), low, high)


def mean_interval(scores: Array, confidence: float = 0.95) -> Interval:
    """The mean of scores in [0, 1] between bounds that hold at every look."""
    if not len(scores):
        return Interval(0.0, 0.0, 1.0)
    delta = (1.0 - confidence) / 2.0
    centred = 2.0 * scores - 1.0
    low, high = (1.0 - net_loss_bound(-centred, delta)) / 2.0, (1.0 + net_loss_bound(centred, delta)) / 2.0
    return Interval(float(scores.mean()), max(low, 0.0), min(high, 1.0))


def cost_ratio_interval(usd_old: Array, usd_new: Array, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """What the new one costs as a share of the old, with bounds from `RESAMPLES` resampled sets of examples.

    Both costs of an example stay together (paired bootstrap; Efron 1979). 1 where the old one costs nothing.
    """
    if not usd_old.sum() > 0:
        return Interval(1.0, 1.0, 1.0)
    rows = np.random.default_rng(seed).integers(0, len(usd_old), (RESAMPLES, len(usd_old)))
    old = usd_old[rows].sum(axis=1)
    ratios = usd_new[rows].sum(axis=1)[old > 0] / old[old > 0]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(ratios, (tail, 1.0 - tail))
    return Interval(float(usd_new.sum() / usd_old.sum()), float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that may be compared with one level, whatever their number (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _t_tail(t: float, freedom: int) -> float:
    """P(T >= t) of Student's distribution, by Hill's normal approximation (1970, algorithm 395): off by 1e-5 at most
    from ten degrees of freedom on.
    """
    a, b = freedom - 0.5, 48.0 * (freedom - 0.5) ** 2
    squared = a * math.log1p(t * t / freedom)
    z = math.sqrt(squared) * (
        1.0
        + (squared + 3.0) / b
        - (4.0 * squared**3 + 33.0 * squared**2 + 240.0 * squared + 855.0) / (10.0 * b * (b + 0.8 * squared**2 + 100.0))
    )
    return _normal_tail(math.copysign(z, t))
