"""Belief: the distribution over groups of equivalent answers, plus "none of them is right".

Models err together, because hard questions are hard for all. So each query has a latent ease, ease ~ N(0, spread^2), which every draft
tells something about; given the ease, drafts are independent:

    P(model m right | ease) = sigmoid(logit_m + ease)            logit_m set so that the mean over ease is the router's P(m right)

(a one-parameter item response model, integrated by Gauss-Hermite quadrature). Wrong answers fall into groups by a Chinese restaurant
process with `concentration`: the larger, the rarer two wrong answers coincide. Verdicts multiply a group's odds by their likelihood ratio.

What is no answer (a refusal, nothing at all) is no vote for a group: that a model did not answer right makes the question look harder, and
no more.

What one model says again is hardly news: it errs the same way again. Such a vote's likelihood is raised to a power between 0 and 1 (a power
posterior): `repeat` for another draft of the same kind, `other_way` for one in another representation (a program instead of words), which
errs differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NODES = 15
DEEP = 100
P_MIN = 1e-4


@dataclass(frozen=True, slots=True)
class VoteModel:
    """How drafts depend on each other. Defaults suit short exact answers; `calibrate` fits them to outcomes.

    `repeat` and `other_way` in [0, 1] say how much a further vote of a model counts.

    `slope` and `intercept` are Platt scaling (Platt 1999) of the confidence that is stated and compared with targets: models err together
    in ways that one ease a question does not hold.
    """

    spread: float = 2.0
    concentration: float = 4.0
    slope: float = 1.0
    intercept: float = 0.0
    repeat: float = 0.3
    other_way: float = 0.8

    def __post_init__(self) -> None:
        if not (0 <= self.repeat <= 1 and 0 <= self.other_way <= 1):
            raise ValueError(f"repeat and other_way lie in [0, 1], not {self.repeat}, {self.other_way}")
        if self.spread < 0 or self.concentration <= 0:
            raise ValueError(f"spread must be >= 0 and concentration > 0, not {self.spread}, {self.concentration}")

    def stated(self, p: float) -> float:
        """The confidence to state where the belief is `p`; 0 and 1 stay what they are."""
        if not 0.0 < p < 1.0 or (self.slope, self.intercept) == (1.0, 0.0):
            return p
        return 1.0 / (1.0 + math.exp(-(self.slope * math.log(p / (1.0 - p)) + self.intercept)))


@dataclass(frozen=True, slots=True)
class Belief:
    """`groups` maps each group's key to P(it is right); `none` is P(no group is right). They sum to 1."""

    groups: Mapping[str, float] = field(default_factory=dict)
    none: float = 1.0

    @property
    def leader(self) -> str | None:
        return max(self.groups, key=lambda key: self.groups[key]) if self.groups else None

    @property
    def confidence(self) -> float:
        return max(self.groups.values(), default=0.0)


@dataclass(frozen=True)
class VoteState:
    """Unnormalised weights of every hypothesis after some votes, shape (groups + 1, nodes); the last row is "none of them".

    `keys` and `sizes` belong to the groups in order of appearance.
    """

    weights: Array
    keys: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def total(self) -> float:
        return float(self.weights.sum())

    @property
    def best(self) -> float:
        """Posterior of the leading group."""
        return float(self.weights[:-1].sum(axis=1).max() / self.weights.sum()) if self.keys else 0.0


def start(model: VoteModel) -> VoteState:
    return VoteState(_quadrature()[1][None, :].copy())


def success_given_ease(p_success: Array, model: VoteModel) -> Array:
    """P(right | ease) at the quadrature nodes, shape (models, nodes), whose mean over ease is `p_success` (shape (models,))."""
    p = np.clip(np.asarray(p_success, dtype=float), P_MIN, 1 - P_MIN)
    nodes, weights = _quadrature()
    centre = np.log(p / (1 - p)) * np.sqrt(1 + np.pi / 8 * model.spread**2)
    for _ in range(4):  # Newton steps from the probit approximation
        at = 1 / (1 + np.exp(-(centre[:, None] + model.spread * nodes)))
        slope = (at * (1 - at)) @ weights
        centre = centre - np.clip((at @ weights - p) / np.maximum(slope, 1e-9), -1.0, 1.0)
    result: Array = 1 / (1 + np.exp(-(centre[:, None] + model.spread * nodes)))
    return result


def outcomes(state: VoteState, right: Array, model: VoteModel) -> Array:
    """Weights after one more vote, for each model and each group that it could vote for (the last one: a new group).

    `right` is P(right | ease), shape (models, nodes). Result shape: (models, groups + 1 outcomes, groups + 2 hypotheses, nodes); the
    hypothesis row `groups` is the new group (all zero unless the outcome is a new one), the last row "none of them".
    """
    groups = len(state.keys)
    sizes = np.array(state.sizes, dtype=float)
    wrong = 1.0 - right
    # Wrong votes before this one, under each hypothesis (groups..., none).
    wrong_before = np.append(sizes.sum() - sizes, sizes.sum())
    out = np.zeros((len(right), groups + 1, groups + 2, right.shape[1]))
    old = np.append(np.arange(groups), groups + 1)  # rows of the hypotheses that existed before
    for choice in range(groups + 1):
        crowd = sizes[choice] if choice < groups else model.concentration
        share = crowd / (model.concentration + wrong_before)
        out[:, choice, old] = state.weights[None] * share[None, :, None] * wrong[:, None, :]
        if choice < groups:
            out[:, choice, choice] = state.weights[choice][None] * right
        else:
            out[:, choice, groups] = state.weights[-1][None] * right
    return out


def vote(state: VoteState, key: str | None, right: Array, model: VoteModel, *, power: float = 1.0) -> VoteState:
    """The state after one vote for group `key`, its likelihood raised to `power`; `right` has shape (nodes,). `None` is no answer."""
    if key is None:
        return VoteState(state.weights * (1.0 - right) ** power, state.keys, state.sizes)
    groups = len(state.keys)
    is_new = key not in state.keys
    choice = groups if is_new else state.keys.index(key)
    weights = outcomes(state, right[None, :], model)[0, choice]
    if power != 1.0:
        weights = _tempered(state, weights, choice, power)
    if is_new:
        return VoteState(weights, (*state.keys, key), (*state.sizes, 1))
    sizes = tuple(size + (index == choice) for index, size in enumerate(state.sizes))
    return VoteState(np.delete(weights, groups, axis=0), state.keys, sizes)


def _tempered(state: VoteState, weights: Array, choice: int, power: float) -> Array:
    """`weights` after a vote whose likelihood counts with `power`: w L^power, where w are the weights before."""
    groups = len(state.keys)
    before = np.zeros_like(weights)
    before[:groups], before[groups + 1] = state.weights[:-1], state.weights[-1]
    if choice == groups:
        before[groups] = state.weights[-1]  # a new group comes out of "none of them"
    likelihood = np.divide(weights, before, out=np.zeros_like(weights), where=before > 0)
    return np.asarray(before * likelihood**power)


def weigh(state: VoteState, likelihood_ratio: Mapping[str, float]) -> VoteState:
    """Multiplies groups by the likelihood ratios P(verdict | right) / P(verdict | wrong) of what verifiers said about them."""
    factors = np.array([likelihood_ratio.get(key, 1.0) for key in state.keys] + [1.0])
    return VoteState(state.weights * factors[:, None], state.keys, state.sizes)


def believe(
    votes: Sequence[tuple[str | None, float]], model: VoteModel | None = None, likelihood_ratio: Mapping[str, float] | None = None
) -> Belief:
    """The posterior after `votes`: (group key or `None` for no answer, prior P(that model is right)) for each draft."""
    model = model or VoteModel()
    state = replay(votes, model)
    return to_belief(weigh(state, likelihood_ratio or {}))


def replay(votes: Sequence[tuple[str | None, float]], model: VoteModel, powers: Sequence[float] | None = None) -> VoteState:
    """The state after `votes`; `powers` are how much each counts (default: fully)."""
    cast = tuple((key, p, power) for (key, p), power in zip(votes, powers or [1.0] * len(votes), strict=True))
    for end in range(DEEP, len(cast), DEEP):  # so that the recursion is never deeper
        _replayed(cast[:end], model)
    return _replayed(cast, model)


@lru_cache(maxsize=2_048)
def _replayed(votes: tuple[tuple[str | None, float, float], ...], model: VoteModel) -> VoteState:
    """One vote after the other; a search adds one at a time, so that what was before it is at hand."""
    if not votes:
        return start(model)
    *before, (key, p, power) = votes
    return vote(_replayed(tuple(before), model), key, _right_of_one(p, model.spread), model, power=power)


@lru_cache(maxsize=4_096)
def _right_of_one(p: float, spread: float) -> Array:
    return np.asarray(success_given_ease(np.array([p]), VoteModel(spread))[0])


def to_belief(state: VoteState) -> Belief:
    total = state.total
    if total <= 0:
        return Belief(dict.fromkeys(state.keys, 0.0), 1.0)
    shares = state.weights.sum(axis=1) / total
    return Belief({key: float(share) for key, share in zip(state.keys, shares, strict=False)}, float(shares[-1]))


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    """Nodes and weights for the expectation over a standard normal variable."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()
