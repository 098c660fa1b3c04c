"""How good a router is, from graded outcomes.

The metrics of RouteLLM (Ong et al. 2024) and RouterBench (Hu et al. 2024), and calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.router.calibration import Array


@dataclass(frozen=True, slots=True)
class GapRecovered:
    """How a ranking of queries recovers the gap between a weak and a strong model.

    `apgr` is the mean share of the gap recovered over all shares of strong calls (0.5: random order); `cpt50` and
    `cpt80` the share of strong calls, in per cent, that recovers 50 and 80 % of it.
    """

    apgr: float
    cpt50: float
    cpt80: float


def gap_recovered(gain: Array, weak: Array, strong: Array) -> GapRecovered:
    """Sends queries to the strong model in order of predicted `gain`, highest first.

    All of shape (n,); scores in [0, 1].

    Exact area under every possible threshold, not ten quantiles. Raises `ValueError` if the strong model is not better
    than the weak one.
    """
    gap = float(strong.mean() - weak.mean())
    if not gap > 0:
        raise ValueError(
            "the strong model is not better than the weak one on these queries: there is no gap to recover"
        )
    order = np.argsort(-gain, kind="stable")
    recovered = np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / (len(gain) * gap)
    apgr = float((recovered[:-1] + recovered[1:]).sum() / (2 * len(gain)))

    def share(level: float) -> float:
        return 100.0 * float(np.argmax(recovered >= level - 1e-12)) / len(gain)

    return GapRecovered(apgr, share(0.5), share(0.8))


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a router: mean cost per query in USD and mean quality in [0, 1]."""

    cost_usd: float
    quality: float


def frontier(points: Sequence[Point]) -> list[Point]:
    """The non-decreasing upper convex hull, cheapest first: what random mixing of the points can reach."""
    hull: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost_usd, -p.quality)):
        if hull and point.quality <= hull[-1].quality:
            continue
        while len(hull) >= 2 and _below(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def average_improvement(points: Sequence[Point], *, low_usd: float, high_usd: float) -> float:
    """AIQ of RouterBench: the mean height of the frontier between two costs.

    Left of its first point it is 0, right of its last the last quality.
    """
    if not high_usd > low_usd:
        raise ValueError("high_usd must exceed low_usd")
    hull = frontier(points)
    knots = sorted({low_usd, high_usd, *(p.cost_usd for p in hull if low_usd < p.cost_usd < high_usd)})
    heights = [_height(hull, knot) for knot in knots]
    area = sum((b - a) * (x + y) / 2 for a, b, x, y in zip(knots, knots[1:], heights, heights[1:], strict=False))
    return float(area / (high_usd - low_usd))


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions between `low` and `high`: how many, their mean, and the mean of what came true."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


def reliability(predicted: Array, observed: Array, *, bins: int = 10) -> list[Bin]:
    """The reliability diagram: equal-width bins of [0, 1], empty ones left out."""
    which = np.minimum((np.asarray(predicted) * bins).astype(int), bins - 1)
    out = []
    for index in range(bins):
        inside = which == index
        if inside.any():
            found = Bin(
                index / bins,
                (index + 1) / bins,
                int(inside.sum()),
                float(predicted[inside].mean()),
                float(observed[inside].mean()),
            )
            out.append(found)
    return out


def expected_calibration_error(predicted: Array, observed: Array, *, bins: int = 10) -> float:
    """Mean distance between prediction and observation over the bins, weighted by their counts (Naeini et al. 2015)."""
    return sum(b.count * abs(b.predicted - b.observed) for b in reliability(predicted, observed, bins=bins)) / len(
        predicted
    )


def deferral_curve(gain: Array, weak: Array, strong: Array) -> Array:
    """Mean quality when the share 0, 1/n, ..., 1 of queries goes to the strong model, highest predicted gain first.

    Shape (n + 1,).
    """
    order = np.argsort(-gain, kind="stable")
    return np.asarray(weak.mean() + np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / len(gain))


def _below(first: Point, middle: Point, last: Point) -> bool:
    """Whether `middle` lies on or under the line from `first` to `last`."""
    rise = (last.quality - first.quality) * (middle.cost_usd - first.cost_usd)
    return (middle.quality - first.quality) * (last.cost_usd - first.cost_usd) <= rise


def _height(hull: Sequence[Point], cost_usd: float) -> float:
    if not hull or cost_usd < hull[0].cost_usd:
        return 0.0
    costs, qualities = [p.cost_usd for p in hull], [p.quality for p in hull]
    return float(np.interp(cost_usd, costs, qualities))
