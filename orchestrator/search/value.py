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
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.search.belief import VoteState, chance_of
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.wrong_answers import Array, Indices, class_shares, strays

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
    groups = _Groups(np.array(state.sizes, dtype=float), state.by_chance, state.classes(model))
    worth = plan.worth(weights, groups, np.arange(len(right)), depth)
    best = int(np.argmax(worth))
    gain = float(worth[best]) - plan.stop(weights)
    return Purchase(best, gain) if gain > 1e-15 else Purchase(None, gain)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of answers: summed pulls, P(a wrong answer is it by chance) and class.

    `chance` and `kind` have shape (groups,), `sizes` (..., groups).
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
    likeliest. States are weights (hypotheses, nodes), "none of them" last, with their groups.
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

    def worth(self, weights: Array, groups: _Groups, left: Indices, depth: int) -> Array:
        """Expected value after asking each model of `left` and going on optimally for `depth - 1` more votes, less its
        price.
        """
        mass, sizes = weights.sum(), groups.sizes
        if depth <= 1 or len(left) == 1:
            after = self._best_after(weights[None], replace(groups, sizes=sizes[None]), left)[0]
            return np.asarray(self.value_usd * after - mass * self.price[left])
        same, new = self._children(weights, groups, left)
        pulls = self.pull[left]
        values = np.zeros(len(left))
        if len(sizes):
            joined = sizes + pulls[:, None, None] * np.eye(len(sizes))
            values += self._on(same, replace(groups, sizes=joined), left, depth).sum(axis=1)
        opened = np.concatenate([np.broadcast_to(sizes, (len(left), len(sizes))), pulls[:, None]], axis=1)
        kind = self._likeliest_class(weights)
        after_new = _Groups(opened[:, None], np.append(groups.chance, self.new_chance), np.append(groups.kind, kind))
        values += self._on(new[:, None], after_new, left, depth)[:, 0]
        return np.asarray(values - mass * self.price[left])

    def _likeliest_class(self, weights: Array) -> int:
        """The class that a right answer is of which nobody gave yet."""
        return int(weights[-1].reshape(self.wrong.shape[1], -1).sum(axis=1).argmax())

    def _on(self, children: Array, groups: _Groups, left: Indices, depth: int) -> Array:
        """The value of each child, stopping there or going on with another model.

        Children have shape (left, outcomes, hypotheses, nodes), the sizes of their groups (left, outcomes, groups);
        result (left, outcomes).
        """
        sums = children.sum(axis=3)
        mass = sums.sum(axis=2)
        value = self.value_usd * sums[:, :, :-1].max(axis=2)
        outcomes = children.shape[1]
        if depth == 2:
            flat = children.reshape(-1, *children.shape[2:])
            after = self._best_after(flat, replace(groups, sizes=groups.sizes.reshape(len(flat), -1)), left)
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
                    of_child = replace(groups, sizes=groups.sizes[a, c])
                    worth = self.worth(children[a, c], of_child, others, depth - 1)
                    value[a, c] = max(value[a, c], worth.max())
        return np.asarray(value)

    def _children(self, weights: Array, groups: _Groups, left: Indices) -> tuple[Array, Array]:
        """The states after each model's vote.

        For an old group, shape (left, groups, groups + 1, nodes), and for a new one (left, groups + 2, nodes).
        """
        n = len(groups.sizes)
        right = self.right[left]
        crowd, alone = self._shares(replace(groups, sizes=groups.sizes[None]), self.concentration[left])
        stray = self.wrong[left]  # (left, classes, nodes)
        same = weights[None, None] * stray[:, groups.kind, None] * crowd[:, :, :, None]
        each = np.arange(n)
        same[:, each, each] = weights[None, :-1] * right[:, None]
        wrong = weights[None] * (alone[:, :, :, None] * stray[:, :, None]).sum(axis=1)  # a new answer, of any class
        new = np.empty((len(left), n + 2, weights.shape[1]))
        new[:, :n] = wrong[:, :-1]
        new[:, n] = weights[-1] * right
        new[:, -1] = wrong[:, -1]
        p_copy = self.p_copy[left]
        if p_copy.any():
            same *= (1.0 - p_copy)[:, None, None, None]
            new *= (1.0 - p_copy)[:, None, None]
            same[np.arange(len(left)), self.copied[left]] += p_copy[:, None, None] * weights
        return same, new

    def _shares(self, groups: _Groups, concentration: Array) -> tuple[Array, Array]:
        return class_shares(groups.sizes, groups.chance, concentration, groups.kind, self.wrong.shape[1])

    def _best_after(self, weights: Array, groups: _Groups, left: Indices) -> Array:
        """P(way to the state, and the leading group right after one more vote), for states of as many groups each.

        Shape (states, left).
        """
        n = groups.sizes.shape[1]
        by_right = weights @ self.right[left].T  # (states, hypotheses, left)
        by_wrong = np.einsum("shn,lcn->cshl", weights, self.wrong[left])  # (classes, states, hypotheses, left)
        mass = weights.sum(axis=2)
        crowd, alone = self._shares(replace(groups, sizes=groups.sizes[:, None]), self.concentration[left])
        # (states, outcome, group that is right, left)
        others = crowd[:, :, :, :-1].transpose(0, 2, 3, 1) * by_wrong[groups.kind, :, :-1].transpose(1, 0, 2, 3)
        each = np.arange(n)
        others[:, each, each] = by_right[:, :-1]
        p_copy = self.p_copy[left]
        if p_copy.any() and n:
            others *= 1.0 - p_copy
            # Where two kinds of index stand apart, numpy puts theirs first: (left, states, groups).
            others[:, self.copied[left], :, np.arange(len(left))] += p_copy[:, None, None] * mass[None, :, :-1]
        joined = others.max(axis=2).sum(axis=1) if n else np.zeros((len(weights), len(left)))
        opened = by_right[:, -1]
        if n:
            newly = (alone[:, :, :, :-1].transpose(2, 0, 3, 1) * by_wrong[:, :, :-1]).sum(axis=0)
            opened = np.maximum(opened, newly.max(axis=1))
        return np.asarray(joined + (1.0 - p_copy) * opened)
