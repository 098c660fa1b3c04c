"""Value of information: what one more draft is worth, looking a few votes ahead.

    value(state) = max( V * P(leader right),  max over models [ E value(state after the model's vote) - price ] )

(expectimax over the belief's own predictions; the one-step rule of Russell & Wefald 1991 sees no worth in a second opinion that cannot flip the
leader alone, two steps do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.search.belief import Array, VoteModel, VoteState, outcomes


@dataclass(frozen=True, slots=True)
class Purchase:
    """The best next draft: index of the model (`None`: stop), and its expected net gain in USD over stopping now."""

    model: int | None
    gain_usd: float


def best_purchase(
    state: VoteState, right: Array, price_usd: Sequence[float], model: VoteModel, *, value_usd: float, depth: int = 2
) -> Purchase:
    """Chooses among models that have not voted. `right`: P(right | ease), shape (models, nodes); prices in USD, same order."""
    if len(right) == 0:
        return Purchase(None, 0.0)
    stop = value_usd * state.best
    prices = np.asarray(price_usd, dtype=float)
    worth = _worth_of_asking(state, right, prices, model, value_usd, depth)
    best = int(np.argmax(worth))
    gain = float(worth[best] - stop)
    return Purchase(best, gain) if gain > 1e-15 else Purchase(None, gain)


def _worth_of_asking(state: VoteState, right: Array, prices: Array, model: VoteModel, value_usd: float, depth: int) -> Array:
    """Expected value after asking each model and going on optimally for `depth - 1` more votes, less its price. Shape (models,)."""
    after = outcomes(state, right, model).sum(axis=3) / state.total  # (models, outcomes, hypotheses): joint probabilities
    probability = after.sum(axis=2)
    stop_value = value_usd * after[:, :, :-1].max(axis=2)  # joint with the outcome: already weighted by its probability
    if depth <= 1 or len(right) == 1:
        return np.asarray(stop_value.sum(axis=1) - prices)
    worth = -prices.astype(float)
    full = outcomes(state, right, model)
    groups = len(state.keys)
    for index in range(len(right)):
        others = np.arange(len(right)) != index
        for choice in range(groups + 1):
            weight = probability[index, choice]
            best = stop_value[index, choice]
            # Going on can add at most the doubt that is left; skip branches too rare or too sure to pay for the cheapest model.
            if weight * value_usd - best > weight * prices[others].min():
                following = _after(state, full[index, choice], choice)
                deeper = _worth_of_asking(following, right[others], prices[others], model, value_usd, depth - 1)
                best = max(best, weight * float(deeper.max()))
            worth[index] += best
    return worth


def _after(state: VoteState, weights: Array, choice: int) -> VoteState:
    groups = len(state.keys)
    if choice == groups:
        return VoteState(weights, (*state.keys, f"new{groups}"), (*state.sizes, 1))
    sizes = tuple(size + (index == choice) for index, size in enumerate(state.sizes))
    return VoteState(np.delete(weights, groups, axis=0), state.keys, sizes)
