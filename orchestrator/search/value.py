"""Value of information: what one more draft is worth, looking a few votes ahead.

    value(state) = max( V * P(leader right),  max over models [ E value(state after the model's vote) - price ] )

(expectimax over the belief's own predictions; the one-step rule of Russell & Wefald 1991 sees no worth in a second
opinion that cannot flip the leader alone; two steps do, and a third sees that two cheap opinions may spare a dear one).

All is in joint terms: a state's weights hold the probability of the way to it, so that values of outcomes simply add
up. The last vote of all ways is looked at in one go, without the states after it: what is needed of them is the sum
over ease of the best group alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.belief import Array, VoteState, chance_of, wrong_shares
from orchestrator.search.vote_model import VoteModel

Indices = NDArray[np.intp]
DEPTH, MAX_WAYS = 3, 30  # votes ahead; one less where there are more ways than that for the first: 1 ms instead of 9


@dataclass(frozen=True, slots=True)
class Purchase:
    """The best next draft: index of the model (`None`: stop), and its expected net gain in USD over stopping now."""

    model: int | None
    gain_usd: float


def best_purchase(
    state: VoteState,
    right: Array,
    price_usd: Sequence[float],
    model: VoteModel,
    *,
    value_usd: float,
    names: Sequence[str] | None = None,
    depth: int | None = None,
) -> Purchase:
    """Chooses among models that have not voted.

    `right` is P(right | ease), shape (models, nodes); prices in USD and `names` (for pulls and copying) are in the same
    order.
    """
    if len(right) == 0:
        return Purchase(None, 0.0)
    if depth is None:
        depth = DEPTH if len(right) * (len(state.keys) + 1) <= MAX_WAYS else DEPTH - 1
    names = names or [""] * len(right)
    pulls = np.array([model.pull(name) for name in names])
    copied = [state.copied(name, model) for name in names]
    plan = _Plan(
        np.asarray(right, dtype=float),
        np.asarray(price_usd, dtype=float),
        state.concentration(model) / pulls,
        pulls,
        np.array([group for group, _ in copied]),
        np.array([p for _, p in copied]),
        float(state.by_chance[0]) if state.keys else chance_of(""),
        value_usd,
    )
    weights = state.weights / state.total
    worth = plan.worth(weights, np.array(state.sizes, dtype=float), state.by_chance, np.arange(len(right)), depth)
    best = int(np.argmax(worth))
    gain = float(worth[best]) - plan.stop(weights)
    return Purchase(best, gain) if gain > 1e-15 else Purchase(None, gain)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is fixed while looking ahead.

    Of each model: `right` (models, nodes), `price`, `concentration` (the question's, by its pull), `pull`, and the
    group that it may say as a copy, with P(it does). Copies of votes that are only looked ahead to are left out. A
    group that is opened on the way attracts wrong votes with `new_chance`. States are weights (hypotheses, nodes),
    "none of them" last, with sizes and chances (groups,).
    """

    right: Array
    price: Array
    concentration: Array
    pull: Array
    copied: Indices
    p_copy: Array
    new_chance: float
    value_usd: float

    def stop(self, weights: Array) -> float:
        """The value of answering now."""
        return self.value_usd * float(weights[:-1].sum(axis=1).max()) if len(weights) > 1 else 0.0

    def worth(self, weights: Array, sizes: Array, chance: Array, left: Indices, depth: int) -> Array:
        """Expected value after asking each model of `left` and going on optimally for `depth - 1` more votes, less its
        price.
        """
        mass = weights.sum()
        if depth <= 1 or len(left) == 1:
            after = self._best_after(weights[None], sizes[None], chance, left)[0]
            return np.asarray(self.value_usd * after - mass * self.price[left])
        same, new = self._children(weights, sizes, chance, left)
        pulls = self.pull[left]
        values = np.zeros(len(left))
        if len(sizes):
            joined = sizes + pulls[:, None, None] * np.eye(len(sizes))
            values += self._on(same, joined, chance, left, depth).sum(axis=1)
        opened = np.concatenate([np.broadcast_to(sizes, (len(left), len(sizes))), pulls[:, None]], axis=1)
        values += self._on(new[:, None], opened[:, None], np.append(chance, self.new_chance), left, depth)[:, 0]
        return np.asarray(values - mass * self.price[left])

    def _on(self, children: Array, sizes: Array, chance: Array, left: Indices, depth: int) -> Array:
        """The value of each child, stopping there or going on with another model.

        Children have shape (left, outcomes, hypotheses, nodes), `sizes` (left, outcomes, groups); result (left,
        outcomes).
        """
        sums = children.sum(axis=3)
        mass = sums.sum(axis=2)
        value = self.value_usd * sums[:, :, :-1].max(axis=2)
        outcomes = children.shape[1]
        if depth == 2:
            flat = children.reshape(-1, *children.shape[2:])
            after = self._best_after(flat, sizes.reshape(len(flat), -1), chance, left)
            after = after.reshape(len(left), outcomes, len(left))
            going_on = self.value_usd * after - mass[:, :, None] * self.price[left]
            going_on[np.arange(len(left)), :, np.arange(len(left))] = -np.inf  # nobody is asked twice
            return np.asarray(np.maximum(value, going_on.max(axis=2)))
        for a in range(len(left)):
            others = np.delete(left, a)
            cheapest = self.price[others].min()
            for c in range(outcomes):
                # Going on can add at most the doubt that is left; that must pay for the cheapest model.
                if self.value_usd * mass[a, c] - value[a, c] > mass[a, c] * cheapest:
                    worth = self.worth(children[a, c], sizes[a, c], chance, others, depth - 1)
                    value[a, c] = max(value[a, c], worth.max())
        return np.asarray(value)

    def _children(self, weights: Array, sizes: Array, chance: Array, left: Indices) -> tuple[Array, Array]:
        """The states after each model's vote.

        For an old group, shape (left, groups, groups + 1, nodes), and for a new one (left, groups + 2, nodes).
        """
        groups = len(sizes)
        right = self.right[left]
        crowd, alone = wrong_shares(sizes[None], chance, self.concentration[left])
        wrong = weights[None] * (1.0 - right)[:, None]
        same = wrong[:, None] * crowd[:, :, :, None]
        each = np.arange(groups)
        same[:, each, each] = weights[None, :-1] * right[:, None]
        new = np.empty((len(left), groups + 2, weights.shape[1]))
        new[:, :groups] = wrong[:, :-1] * alone[:, :-1, None]
        new[:, groups] = weights[-1] * right
        new[:, -1] = wrong[:, -1] * alone[:, -1, None]
        p_copy = self.p_copy[left]
        if p_copy.any():
            same *= (1.0 - p_copy)[:, None, None, None]
            new *= (1.0 - p_copy)[:, None, None]
            same[np.arange(len(left)), self.copied[left]] += p_copy[:, None, None] * weights
        return same, new

    def _best_after(self, weights: Array, sizes: Array, chance: Array, left: Indices) -> Array:
        """P(way to the state, and the leading group right after one more vote), for states of as many groups each.

        Shape (states, left).
        """
        groups = sizes.shape[1]
        by_right = weights @ self.right[left].T  # (states, hypotheses, left)
        mass = weights.sum(axis=2)
        by_wrong = mass[:, :, None] - by_right
        crowd, alone = wrong_shares(sizes[:, None], chance, self.concentration[left])
        others = (
            crowd[:, :, :, :-1].transpose(0, 2, 3, 1) * by_wrong[:, None, :-1]
        )  # (states, outcome, group that is right, left)
        each = np.arange(groups)
        others[:, each, each] = by_right[:, :-1]
        p_copy = self.p_copy[left]
        if p_copy.any() and groups:
            others *= 1.0 - p_copy
            # Where two kinds of index stand apart, numpy puts theirs first: (left, states, groups).
            others[:, self.copied[left], :, np.arange(len(left))] += p_copy[:, None, None] * mass[None, :, :-1]
        joined = others.max(axis=2).sum(axis=1) if groups else np.zeros((len(weights), len(left)))
        opened = by_right[:, -1]
        if groups:
            opened = np.maximum(opened, (alone[:, :, :-1].transpose(0, 2, 1) * by_wrong[:, :-1]).max(axis=1))
        return np.asarray(joined + (1.0 - p_copy) * opened)
