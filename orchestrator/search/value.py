"""Value of information: what one more draft is worth, looking a few votes ahead.

    value(state) = max( V * P(leader right),  max over models [ E value(state after the model's vote) - price ] )

(expectimax over the belief's own predictions; the one-step rule of Russell & Wefald 1991 sees no worth in a second opinion that cannot flip the
leader alone; two steps do, and a third sees that two cheap opinions may spare a dear one).

All is in joint terms: a state's weights hold the probability of the way to it, so that values of outcomes simply add up. The last vote of all ways is
looked at in one go, without the states after it: what is needed of them is the sum over ease of the best group alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.belief import Array, VoteModel, VoteState

Indices = NDArray[np.intp]
DEPTH, MOST_DEEP = 3, 12  # votes ahead; in larger fleets one less, which is 0.3 ms for 11 models instead of 5


@dataclass(frozen=True, slots=True)
class Purchase:
    """The best next draft: index of the model (`None`: stop), and its expected net gain in USD over stopping now."""

    model: int | None
    gain_usd: float


def best_purchase(
    state: VoteState, right: Array, price_usd: Sequence[float], model: VoteModel, *, value_usd: float, depth: int | None = None
) -> Purchase:
    """Chooses among models that have not voted. `right`: P(right | ease), shape (models, nodes); prices in USD, same order."""
    if len(right) == 0:
        return Purchase(None, 0.0)
    if depth is None:
        depth = DEPTH if len(right) <= MOST_DEEP else DEPTH - 1
    plan = _Plan(np.asarray(right, dtype=float), np.asarray(price_usd, dtype=float), model.concentration, value_usd)
    weights, sizes = state.weights / state.total, np.array(state.sizes, dtype=float)
    worth = plan.worth(weights, sizes, np.arange(len(right)), depth)
    best = int(np.argmax(worth))
    gain = float(worth[best]) - plan.stop(weights)
    return Purchase(best, gain) if gain > 1e-15 else Purchase(None, gain)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Shapes: `right` (models, nodes), `price` (models,); states are weights (hypotheses, nodes), "none of them" last, and group sizes (groups,)."""

    right: Array
    price: Array
    concentration: float
    value_usd: float

    def stop(self, weights: Array) -> float:
        """The value of answering now."""
        return self.value_usd * float(weights[:-1].sum(axis=1).max()) if len(weights) > 1 else 0.0

    def worth(self, weights: Array, sizes: Array, left: Indices, depth: int) -> Array:
        """Expected value after asking each model of `left` and going on optimally for `depth - 1` more votes, less its price."""
        mass = weights.sum()
        if depth <= 1 or len(left) == 1:
            return np.asarray(self.value_usd * self._best_after(weights[None], sizes[None], left)[0] - mass * self.price[left])
        same, new = self._children(weights, sizes, left)
        values = self._on(same, sizes + np.eye(len(sizes)), left, depth).sum(axis=1) if len(sizes) else np.zeros(len(left))
        values += self._on(new[:, None], np.append(sizes, 1.0)[None], left, depth)[:, 0]
        return np.asarray(values - mass * self.price[left])

    def _on(self, children: Array, sizes: Array, left: Indices, depth: int) -> Array:
        """The value of each child, stopping there or going on with another model. Children have shape (left, outcomes, hypotheses, nodes), `sizes`
        (outcomes, groups); result (left, outcomes).
        """
        sums = children.sum(axis=3)
        mass = sums.sum(axis=2)
        value = self.value_usd * sums[:, :, :-1].max(axis=2)
        outcomes = children.shape[1]
        if depth == 2:
            flat = children.reshape(-1, *children.shape[2:])
            after = self._best_after(flat, np.tile(sizes, (len(left), 1)), left).reshape(len(left), outcomes, len(left))
            going_on = self.value_usd * after - mass[:, :, None] * self.price[left]
            going_on[np.arange(len(left)), :, np.arange(len(left))] = -np.inf  # nobody is asked twice
            return np.asarray(np.maximum(value, going_on.max(axis=2)))
        for a in range(len(left)):
            others = np.delete(left, a)
            cheapest = self.price[others].min()
            for c in range(outcomes):
                # Going on can add at most the doubt that is left; that must pay for the cheapest model.
                if self.value_usd * mass[a, c] - value[a, c] > mass[a, c] * cheapest:
                    value[a, c] = max(value[a, c], self.worth(children[a, c], sizes[c], others, depth - 1).max())
        return np.asarray(value)

    def _children(self, weights: Array, sizes: Array, left: Indices) -> tuple[Array, Array]:
        """The states after each model's vote: for an old group, shape (left, groups, groups + 1, nodes), and a new one (left, groups + 2, nodes)."""
        groups = len(sizes)
        right = self.right[left]
        crowd, alone = self._shares(sizes[None])
        wrong = weights[None] * (1.0 - right)[:, None]
        same = wrong[:, None] * crowd[0][None, :, :, None]
        each = np.arange(groups)
        same[:, each, each] = weights[None, :-1] * right[:, None]
        new = np.empty((len(left), groups + 2, weights.shape[1]))
        new[:, :groups] = wrong[:, :-1] * alone[0, :-1, None]
        new[:, groups] = weights[-1] * right
        new[:, -1] = wrong[:, -1] * alone[0, -1]
        return same, new

    def _best_after(self, weights: Array, sizes: Array, left: Indices) -> Array:
        """P(way to the state, and the leading group right after one more vote), shape (states, left), for states of as many groups each."""
        groups = sizes.shape[1]
        by_right = weights @ self.right[left].T  # (states, hypotheses, left)
        by_wrong = weights.sum(axis=2, keepdims=True) - by_right
        crowd, alone = self._shares(sizes)
        others = crowd[:, :, :-1, None] * by_wrong[:, None, :-1]  # (states, outcome, group that is right, left)
        each = np.arange(groups)
        others[:, each, each] = by_right[:, :-1]
        joined = others.max(axis=2).sum(axis=1) if groups else np.zeros((len(weights), len(left)))
        opened = by_right[:, -1]
        if groups:
            opened = np.maximum(opened, (alone[:, :-1, None] * by_wrong[:, :-1]).max(axis=1))
        return np.asarray(joined + opened)

    def _shares(self, sizes: Array) -> tuple[Array, Array]:
        """P(a wrong vote joins each group | which one is right), shape (states, groups, groups + 1), and P(it is a new one | the same)."""
        votes = sizes.sum(axis=1, keepdims=True)
        before = self.concentration + np.concatenate([votes - sizes, votes], axis=1)  # wrong votes so far, under each hypothesis
        return sizes[:, :, None] / before[:, None, :], self.concentration / before
