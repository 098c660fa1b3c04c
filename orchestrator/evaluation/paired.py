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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.guarantee.certificate import betting_p_value, net_loss_bound

Array = NDArray[np.float64]
FLIPS = 50_000
ROUNDING = 1e-9  # relative: sums that are equal but for the order of their terms differ by less
INTERVAL_CONFIDENCE = 0.95
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


class CostTest(NamedTuple):
    """p-values of what may be said of two configurations' costs on the same examples."""

    no_cheaper: float
    """Of "the new one is no cheaper", one-sided: exact where nothing differs, right in the long run for equal means."""
    same: float
    """Of "nothing differs": which of two paired costs is which is a coin's choice, on every example. Of two tests, of
    the differences and of the costs' logarithms (costs are spread over powers of ten), doubled since there are two.
    """


def compare_costs(usd_old: Array, usd_new: Array, *, seed: int = 0) -> CostTest:
    """Sign-flip tests of paired costs in USD, both of shape (examples,): the sum of the differences over its error,
    beside `FLIPS` such sums with random signs.
    """
    logs = np.log((usd_old + TINY_USD) / (usd_new + TINY_USD))
    both = np.stack([usd_old - usd_new, logs], axis=1)
    squares = (both**2).sum(axis=0)

    def over_error(totals: Array) -> Array:
        return np.asarray(totals / np.sqrt(np.maximum(squares - totals**2 / max(len(both), 1), 1e-30)))

    seen = over_error(both.sum(axis=0))
    # In parts: as floats, all flips of a thousand examples would take hundreds of megabytes at once.
    parts = np.array_split(_signs(len(both), seed), 10)
    flipped = over_error(np.concatenate([part.astype(np.float64) @ both for part in parts]))
    certainly = seen - ROUNDING * np.abs(seen)  # a tie that rounding broke counts against the finding
    above = (flipped >= certainly).sum(axis=0)
    beyond = (np.abs(flipped) >= np.abs(seen) * (1.0 - ROUNDING)).sum(axis=0)
    no_cheaper, same = (1.0 + above[0]) / (FLIPS + 1), (1.0 + beyond.min()) / (FLIPS + 1)
    return CostTest(float(no_cheaper), float(min(1.0, 2.0 * same)))


@lru_cache(maxsize=1)
def _signs(n: int, seed: int) -> NDArray[np.int8]:
    """Random signs, shape (FLIPS, n); drawing them takes longer than a test that is made with them."""
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, (FLIPS, n), dtype=np.int8)


def difference_interval(differences: Array, confidence: float = INTERVAL_CONFIDENCE) -> Interval:
    """The mean of `differences` in [-1, 1] between exact bounds, which hold at every look."""
    if not len(differences):
        return Interval(0.0, -1.0, 1.0)
    delta = (1.0 - confidence) / 2.0
    low, high = -net_loss_bound(-differences, delta), net_loss_bound(differences, delta)
    return Interval(float(differences.mean()), low, high)


def mean_interval(scores: Array, confidence: float = INTERVAL_CONFIDENCE) -> Interval:
    """The mean of scores in [0, 1] between bounds that hold at every look."""
    if not len(scores):
        return Interval(0.0, 0.0, 1.0)
    delta = (1.0 - confidence) / 2.0
    centred = 2.0 * scores - 1.0
    low, high = (1.0 - net_loss_bound(-centred, delta)) / 2.0, (1.0 + net_loss_bound(centred, delta)) / 2.0
    return Interval(float(scores.mean()), max(low, 0.0), min(high, 1.0))


def cost_ratio_interval(
    usd_old: Array, usd_new: Array, *, confidence: float = INTERVAL_CONFIDENCE, seed: int = 0
) -> Interval:
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
