"""Drawing until a check that is never wrong is passed.

Which sampler next, how many draws in one call, and when to give up.

Each sampler is one of Pandora's boxes (Weitzman 1979): opened again and again, each time at a price, and worth less the
longer it disappoints. The best policy opens the box with the least expected cost per solve, as long as that is less
than a solution is worth. A query's chance per draw is Beta(alpha, beta) over queries, so after n failures it is
Beta(alpha, beta + n); draws that share a call share the price of reading the prompt.

Perfect checks only: with one that errs, no number of draws lifts P(right | passed) above its ceiling, see `ceiling`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from orchestrator.search.wrong_answers import Array

BATCHES = (1, 2, 3, 5, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100)
MEANS = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 5.0, 45)))
STRENGTHS = np.geomspace(0.1, 100.0, 25)  # alpha + beta: small means that a query is either easy or hopeless


@dataclass(frozen=True, slots=True)
class Chance:
    """Of solving a query with one draw, over queries: Beta(alpha, beta)."""

    alpha: float = 1.0
    beta: float = 1.0

    @property
    def mean(self) -> float:
        """The expected chance of a draw."""
        return self.alpha / (self.alpha + self.beta)

    def after(self, failures: int) -> Chance:
        """The chance after draws that failed."""
        return Chance(self.alpha, self.beta + failures)

    def p_solve(self, draws: int) -> float:
        """P(at least one of `draws` solves it)."""
        a, b = self.alpha, self.beta
        return 1.0 - math.exp(math.lgamma(b + draws) - math.lgamma(b) + math.lgamma(a + b) - math.lgamma(a + b + draws))


@dataclass(frozen=True, slots=True)
class Box:
    """A sampler: a call costs `call_usd` (the prompt is read once), and `draw_usd` for each draw in it.

    `left` draws may still be had.
    """

    name: str
    chance: Chance
    call_usd: float
    draw_usd: float
    left: int

    def price_usd(self, draws: int) -> float:
        """What so many draws in one call cost, in USD."""
        return self.call_usd + draws * self.draw_usd


@dataclass(frozen=True, slots=True)
class Opening:
    """The next call: `draws` from the box `name`.

    `usd_per_solve` is the least expected cost per solve that it begins.
    """

    name: str
    draws: int
    usd_per_solve: float


def next_opening(boxes: Sequence[Box], *, value_usd: float) -> Opening | None:
    """The call to make now, or `None` when no box is worth opening for a solution worth `value_usd`."""
    openings = [best_plan(box) for box in boxes if box.left > 0]
    best = min(openings, key=lambda opening: opening.usd_per_solve, default=None)
    return best if best is not None and best.usd_per_solve < value_usd else None


@lru_cache(maxsize=10_000)
def best_plan(box: Box) -> Opening:
    """The first call of the calls to one box that have the least expected cost per solve.

    Its index (Gittins's, as a price).

    Looked through are all plans of up to n calls of equal size that stop at a success; after each failure there is a
    new plan.
    """
    none = np.exp(_log_none(box.chance, box.left))
    best = Opening(box.name, box.left, math.inf)
    for size in (*(size for size in BATCHES if size < box.left), box.left):
        before = none[: box.left - size + 1 : size]  # P(a call is made): all before it have failed
        expected_usd = box.price_usd(size) * np.cumsum(before)
        usd_per_solve = expected_usd / np.maximum(1.0 - none[size::size][: len(before)], 1e-300)
        if (least := float(usd_per_solve.min())) < best.usd_per_solve:
            best = Opening(box.name, size, least)
    return best


def _log_none(chance: Chance, most: int) -> Array:
    """Log P(the first n draws all fail), for n from 0 to `most`."""
    n = np.arange(most)
    steps = np.log((chance.beta + n) / (chance.alpha + chance.beta + n))
    return np.concatenate([[0.0], np.cumsum(steps)])


def ceiling(p_success: float, true_positive: float, false_positive: float) -> float:
    """P(right | the check is passed), whatever the number of draws: p t / (p t + (1 - p) f).

    A target above it asks for a better check or model.
    """
    passed = p_success * true_positive + (1.0 - p_success) * false_positive
    return p_success * true_positive / passed if passed > 0 else 0.0


@dataclass
class Learned:
    """Chances learned from what was drawn.

    For each box the successes and draws of each query, as far as they were seen.

    That drawing stopped at a success does not bias this: what is seen of a query has the likelihood B(alpha + s, beta +
    n - s) / B(alpha, beta) whatever the stopping rule (the likelihood principle).
    """

    seen: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _fitted: dict[str, tuple[int, Chance]] = field(default_factory=dict)

    def observe(self, name: str, successes: int, draws: int) -> None:
        """Notes draws from a sampler and how many of them passed."""
        self.seen.setdefault(name, []).append((successes, draws))

    def chance(self, name: str) -> Chance:
        """The most likely one, with one imagined query that was solved at once and one that was not.

        Without data, uniform.
        """
        outcomes = self.seen.get(name, [])
        n, found = self._fitted.get(name, (0, Chance()))
        if n != len(outcomes):
            found = fitted_chance(outcomes)
            self._fitted[name] = len(outcomes), found
        return found


def fitted_chance(outcomes: Iterable[tuple[int, int]]) -> Chance:
    """`outcomes`: (successes, draws) of each query."""
    counts: dict[tuple[int, int], int] = {}
    for outcome in outcomes:
        counts[outcome] = counts.get(outcome, 0) + 1
    if not counts:
        return Chance()
    counts[1, 1], counts[0, 1] = counts.get((1, 1), 0) + 1, counts.get((0, 1), 0) + 1
    grid = _grid(max(draws for _, draws in counts))
    s, n = (np.array(column) for column in zip(*counts, strict=True))
    fit = np.array(list(counts.values())) @ (grid.rising_alpha[s] + grid.rising_beta[n - s] - grid.rising_both[n])
    best = int(np.argmax(fit))
    return Chance(float(grid.alpha[best]), float(grid.beta[best]))


@dataclass(frozen=True, slots=True)
class _Grid:
    """Candidates (alpha, beta) of a distribution of chances.

    For each also log(x (x + 1) ... (x + n - 1)) by n (rows), for x = alpha, beta and alpha + beta.
    """

    alpha: Array
    beta: Array
    rising_alpha: Array
    rising_beta: Array
    rising_both: Array


@lru_cache(maxsize=8)
def _grid_up_to(most: int) -> _Grid:
    means, strengths = (axis.ravel() for axis in np.meshgrid(MEANS, STRENGTHS))
    alpha, beta = means * strengths, (1.0 - means) * strengths
    steps = np.arange(most)[:, None]
    zero = np.zeros((1, len(alpha)))
    rising = (np.concatenate([zero, np.cumsum(np.log(x + steps), axis=0)]) for x in (alpha, beta, alpha + beta))
    return _Grid(alpha, beta, *rising)


def _grid(most: int) -> _Grid:
    return _grid_up_to(1 << max(most - 1, 0).bit_length())
