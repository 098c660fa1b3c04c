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

from orchestrator.search.belief import VoteState, chance_of
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.wrong_answers import Array, Indices, class_shares, strays

Flags = NDArray[np.bool_]
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
        ways = len(right) * (len(state.keys) + 1) * len(model.shares)
        depth = DEPTH if ways <= MAX_WAYS else DEPTH - 1
    names = names or [""] * len(right)
    pulls = np.array([model.pull(name) for name in names])
    copied = [state.copied(name, model) for name in names]
    right = np.asarray(right, dtype=float)
    wrong = (1.0 - right)[:, None]
    plan = _Plan(
        right,
        wrong * np.stack([strays(name, model) for name in names]) if model.classes else wrong,
        np.asarray(price_usd, dtype=float),
        state.concentration(model) / pulls,
        pulls,
        np.array([group for group, _ in copied]),
        np.array([p for _, p in copied]),
        float(state.by_chance[0]) if state.keys else chance_of(""),
        value_usd,
    )
    weights = state.weights / state.total
    groups = _Groups(np.array(state.sizes, dtype=float)[None], state.by_chance, state.classes(model))
    worth = plan.worth(weights[None], groups, np.ones((1, len(right)), dtype=bool), depth)[0]
    best = int(np.argmax(worth))
    gain = float(worth[best]) - plan.stop(weights)
    return Purchase(best, gain) if gain > 1e-15 else Purchase(None, gain)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of answers of many states: summed pulls, P(a wrong answer is it by chance) and class.

    `sizes` has shape (states, groups); `chance` and `kind`, the same in all states, (groups,).
    """

    sizes: Array
    chance: Array
    kind: Indices


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is fixed while looking ahead.

    Of each model: `right` (models, nodes), `wrong`, P(wrong, and the answer is of each class | node) (models, classes,
    nodes), `price`, `concentration` (the question's, by its pull), `pull`, and the
    group that it may say as a copy, with P(it does). Copies of votes that are only looked ahead to are left out. A
    group that is opened on the way attracts wrong votes with `new_chance`, and is taken to be of the class that is
    likeliest. States are weights (hypotheses, nodes), "none of them" last, with their groups; all that are looked at
    after as many votes go through numpy at once.
    """

    right: Array
    wrong: Array
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

    def worth(self, weights: Array, groups: _Groups, left: Flags, depth: int) -> Array:
        """Expected value after asking each model that is `left` and going on optimally for `depth - 1` more votes, less
        its price.

        `weights` have shape (states, hypotheses, nodes), `left` and the result (states, models); -inf for who has
        voted. Of every state as many models are left.
        """
        paid = weights.sum(axis=(1, 2))[:, None] * self.price
        if depth <= 1 or left[0].sum() == 1:
            values = self.value_usd * self._best_after(weights, groups)
        else:
            same, new = self._children(weights, groups)
            values = self._on_with_new(weights, new, groups, left, depth)
            if len(groups.chance):
                joined = groups.sizes[:, None, None] + self.pull[:, None, None] * np.eye(len(groups.chance))
                values += self._on(same, joined, groups, left, depth).sum(axis=2)
        return np.where(left, values - paid, -np.inf)

    def _on_with_new(self, weights: Array, new: Array, groups: _Groups, left: Flags, depth: int) -> Array:
        """The value of the children that open a group, shape (states, models)."""
        values = np.empty(new.shape[:2])
        # Of each state the class that a right answer is of which nobody gave yet: nearly always one for all.
        kinds = weights[:, -1].reshape(len(weights), self.wrong.shape[1], -1).sum(axis=2).argmax(axis=1)
        for kind in np.unique(kinds):
            of_kind = np.flatnonzero(kinds == kind)
            sizes = np.empty((len(of_kind), len(self.pull), 1, len(groups.chance) + 1))
            sizes[..., :-1] = groups.sizes[of_kind, None, None]
            sizes[..., -1] = self.pull[:, None]
            opened = _Groups(sizes, np.append(groups.chance, self.new_chance), np.append(groups.kind, kind))
            values[of_kind] = self._on(new[of_kind, :, None], sizes, opened, left[of_kind], depth)[..., 0]
        return values

    def _on(self, children: Array, sizes: Array, groups: _Groups, left: Flags, depth: int) -> Array:
        """The value of each child, stopping there or going on with another model.

        Children have shape (states, models, outcomes, hypotheses, nodes), the `sizes` of their groups (states, models,
        outcomes, groups); result (states, models, outcomes).
        """
        sums = children.sum(axis=4)
        mass = sums.sum(axis=3)
        value = self.value_usd * sums[..., :-1].max(axis=3)
        left_after = left[:, None] & ~np.eye(len(self.price), dtype=bool)  # nobody is asked twice
        cheapest = np.where(left_after, self.price, np.inf).min(axis=2)
        # Going on can add at most the doubt that is left; that must pay for the cheapest model.
        may_pay = left[..., None] & (self.value_usd * mass - value > mass * cheapest[..., None])
        at = np.nonzero(may_pay)
        if len(at[0]):
            of_children = _Groups(sizes[at], groups.chance, groups.kind)
            worth = self.worth(children[at], of_children, left_after[at[:2]], depth - 1)
            value[at] = np.maximum(value[at], worth.max(axis=1))
        return np.asarray(value)

    def _children(self, weights: Array, groups: _Groups) -> tuple[Array, Array]:
        """The states after each model's vote.

        For an old group, shape (states, models, groups, groups + 1, nodes), and for a new one (states, models, groups +
        2, nodes).
        """
        n, models = len(groups.chance), np.arange(len(self.price))
        crowd, alone = self._shares(groups)
        same = weights[:, None, None] * self.wrong[:, groups.kind, None] * crowd[..., None]
        each = np.arange(n)
        same[:, :, each, each] = weights[:, None, :-1] * self.right[:, None]
        # A new answer, of any class:
        wrong = weights[:, None] * (alone[..., None] * self.wrong[:, :, None]).sum(axis=2)
        new = np.empty((len(weights), len(models), n + 2, weights.shape[2]))
        new[:, :, :n] = wrong[:, :, :-1]
        new[:, :, n] = weights[:, None, -1] * self.right
        new[:, :, -1] = wrong[:, :, -1]
        if self.p_copy.any():
            same *= (1.0 - self.p_copy)[:, None, None, None]
            new *= (1.0 - self.p_copy)[:, None, None]
            same[:, models, self.copied] += self.p_copy[:, None, None] * weights[:, None]
        return same, new

    def _shares(self, groups: _Groups) -> tuple[Array, Array]:
        """See `class_shares`: for every state and model."""
        sizes = groups.sizes[:, None]
        return class_shares(sizes, groups.chance, self.concentration, groups.kind, self.wrong.shape[1])

    def _best_after(self, weights: Array, groups: _Groups) -> Array:
        """P(way to the state, and the leading group right after one more vote), for states of as many groups each.

        Shape (states, models).
        """
        n, nodes = groups.sizes.shape[1], weights.shape[2]
        by_right = weights @ self.right.T  # (states, hypotheses, models)
        # (states, hypotheses, models, classes)
        by_wrong = (weights @ self.wrong.reshape(-1, nodes).T).reshape(*weights.shape[:2], *self.wrong.shape[:2])
        opened = by_right[:, -1]
        if not n:
            return np.asarray((1.0 - self.p_copy) * opened)
        mass = weights.sum(axis=2)
        crowd, alone = self._shares(groups)
        # (states, outcome, group that is right, models)
        others = crowd[..., :-1].transpose(0, 2, 3, 1) * by_wrong[:, :-1, :, groups.kind].transpose(0, 3, 1, 2)
        each = np.arange(n)
        others[:, each, each] = by_right[:, :-1]
        if self.p_copy.any():
            others *= 1.0 - self.p_copy
            # Where two kinds of index stand apart, numpy puts theirs first: (models, states, groups).
            others[:, self.copied, :, np.arange(len(self.price))] += self.p_copy[:, None, None] * mass[None, :, :-1]
        joined = others.max(axis=2).sum(axis=1)
        newly = (alone[..., :-1].transpose(0, 3, 1, 2) * by_wrong[:, :-1]).sum(axis=3).max(axis=1)
        return np.asarray(joined + (1.0 - self.p_copy) * np.maximum(opened, newly))
