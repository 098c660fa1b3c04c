"""Belief: the distribution over groups of equivalent answers, plus "none of them is right".

Models err together, because hard questions are hard for all. So each query has a latent ease, ease ~ N(0, spread^2),
which every draft tells something about; given the ease, drafts are independent:

    P(model m right | ease) = sigmoid(logit_m + ease)

(a one-parameter item response model, integrated by Gauss-Hermite quadrature; logit_m is set so that the mean over ease
is the router's P(m right)). Wrong answers fall into groups by a Chinese restaurant process: a wrong vote joins a group
of earlier wrong votes in proportion to their number, or opens a new one in proportion to a concentration. How likely
two wrong answers coincide depends on three things:

- The answer. `concentration` grows with the bits that it takes to guess it (see `guessing`), so that two wrong models
  often meet at "True" or "3" and hardly ever at a long string. A group attracts wrong votes by chance, too, one in
  2^bits - 1.
- The model. A strong one, when wrong, is wrong as others are (the question is misread or mislabelled); a weak one in
  ways of its own. `pulls` weighs each model's votes: a pair's odds of coinciding are the product of its pulls, divided
  by the concentration. The order of votes then matters a little, as it does in any such process with weights.
- The pair. Where one says what another said more often than that, it is taken to copy with some probability (`copying`,
  after Dong et al. 2009, "Integrating conflicting data: the role of source dependence"). A copy says nothing new.

Verdicts multiply a group's odds by their likelihood ratio.

What is no answer (a refusal, nothing at all) is no vote for a group: that a model did not answer right makes the
question look harder, and no more.

What one model says again is hardly news: it errs the same way again. Such a vote's likelihood is raised to a power
between 0 and 1 (a power posterior): `repeat` for another draft of the same kind, `other_way` for one in another
representation (a program instead of words), which errs differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.guessing import information_bits
from orchestrator.search.vote_model import VoteModel

Array = NDArray[np.float64]
NODES = 15
DEEP = 100
P_MIN = 1e-4
FEW = 16  # models whose chances are worked out one by one, and kept
NOBODY, ALWAYS = np.empty((0, 1)), np.ones(1)
MIN_NEW_SHARE = 1e-3  # that a wrong answer is one not yet seen, where the seen ones seem to be all there are


@dataclass(frozen=True, slots=True)
class Belief:
    """`groups` maps each group's key to P(it is right); `none` is P(no group is right). They sum to 1."""

    groups: Mapping[str, float] = field(default_factory=dict)
    none: float = 1.0

    @property
    def leader(self) -> str | None:
        """The group that is believed most; `None` without answers."""
        return max(self.groups, key=lambda key: self.groups[key]) if self.groups else None

    @property
    def confidence(self) -> float:
        """P(correct) of the group that is believed most."""
        return max(self.groups.values(), default=0.0)


@dataclass(frozen=True)
class VoteState:
    """Unnormalised weights of every hypothesis after some votes, shape (groups + 1, nodes).

    The last row is "none of them".

    `keys`, `sizes` (summed pulls of those who voted for it) and `voters` (their names) belong to the groups in order of
    appearance.
    """

    weights: Array
    keys: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    voters: tuple[tuple[str, ...], ...] = ()

    @property
    def total(self) -> float:
        """The weight of all groups together."""
        return float(self.weights.sum())

    @property
    def best(self) -> float:
        """Posterior of the leading group."""
        return float(self.weights[:-1].sum(axis=1).max() / self.weights.sum()) if self.keys else 0.0

    @cached_property
    def by_chance(self) -> Array:
        """P(a wrong answer is this group's by chance), shape (groups,)."""
        return np.array([chance_of(key) for key in self.keys])

    def concentration(self, model: VoteModel) -> float:
        """Of the first answer, which tells what is asked for; of one of ten bits where there is none yet."""
        return model.concentration_of(information_bits(self.keys[0])) if self.keys else model.concentration

    def copied(self, voter: str, model: VoteModel) -> tuple[int, float]:
        """The group that `voter` is likeliest to say as a copy, and how likely; 0.0 where it copies nobody."""
        pairs = [(model.p_copies(voter, other), group) for group, names in enumerate(self.voters) for other in names]
        p, group = max(pairs, default=(0.0, 0))
        return group, p


def chance_of(key: str) -> float:
    """P(a wrong answer is `key` by chance), all answers of as many bits being equally likely."""
    return float(min(1.0 / (2.0 ** information_bits(key) - 1.0), 1.0))


def start(model: VoteModel) -> VoteState:
    """Before any vote: all weight is on "none of them", by node of ease."""
    return VoteState(_weights(model.hopeless)[None, :].copy())


def success_given_ease(p_success: Array, model: VoteModel) -> Array:
    """P(right | ease) at the nodes of ease, shape (models, nodes), whose mean over ease is `p_success` (shape
    (models,)).

    The last node is that of hopeless questions.
    """
    stated = np.asarray(p_success, dtype=float)
    if len(stated) <= FEW:  # what each model's vote needs, too, and has then at hand
        return np.stack([_right_of_one(float(p), model.spread, model.hopeless) for p in stated])
    return _success_given_ease(stated, model.spread, model.hopeless)


def _success_given_ease(p_success: Array, spread: float, hopeless: float) -> Array:
    p = np.clip(p_success / (1.0 - hopeless), P_MIN, 1 - P_MIN)
    nodes, weights = _quadrature()
    centre = np.log(p / (1 - p)) * np.sqrt(1 + np.pi / 8 * spread**2)
    for _ in range(4):  # Newton steps from the probit approximation
        at = 1 / (1 + np.exp(-(centre[:, None] + spread * nodes)))
        # Sums by row, no matrix product: its last bit would depend on how many models are looked at together.
        slope = (at * (1 - at) * weights).sum(axis=1)
        centre = centre - np.clip(((at * weights).sum(axis=1) - p) / np.maximum(slope, 1e-9), -1.0, 1.0)
    given: Array = 1 / (1 + np.exp(-(centre[:, None] + spread * nodes)))
    return np.concatenate([given, np.full((len(p), 1), P_MIN)], axis=1)


@lru_cache(maxsize=256)
def ease_of_bits(bits: float, model: VoteModel) -> Array:
    """By how much each node of ease is likelier once it is known that the answer takes `bits` to guess.

    Shape (nodes,).
    """
    shift = model.easier * math.log(model.typical_bits / bits)
    nodes, weights = _quadrature()
    given = np.exp(shift * nodes - 0.5 * shift**2)
    return np.append(given / (given @ weights), 1.0)


def wrong_shares(sizes: Array, chance: Array, concentration: Array) -> tuple[Array, Array]:
    """Where a wrong vote goes under each hypothesis (groups..., none), for any number of states at once.

    `sizes` and `chance` have shape (..., groups), `concentration` (...). P(it joins each group) has shape (..., groups,
    groups + 1), P(it is a new one) shape (..., groups + 1). The diagonal of the first means nothing: a vote for the
    group that is right is not wrong.
    """
    concentration = concentration[..., None]
    votes, chances = sizes.sum(axis=-1, keepdims=True), chance.sum(axis=-1, keepdims=True)
    wrong_before = np.concatenate([votes - sizes, votes], axis=-1)
    by_chance = np.concatenate([chances - chance, chances], axis=-1)
    unseen = np.maximum(1.0 - by_chance, MIN_NEW_SHARE)
    before = wrong_before + concentration * (by_chance + unseen)
    joined = (sizes + concentration * chance)[..., None] / before[..., None, :]
    return joined, concentration * unseen / before


def vote(
    state: VoteState, key: str | None, right: Array, model: VoteModel, *, power: float = 1.0, voter: str = ""
) -> VoteState:
    """The state after one vote of `voter` for group `key`, its likelihood raised to `power`. `None` is no answer.

    `right` is P(right | ease), shape (nodes,).
    """
    if key is None:
        return VoteState(state.weights * (1.0 - right) ** power, state.keys, state.sizes, state.voters)
    groups, pull = len(state.keys), model.pull(voter)
    is_new = key not in state.keys
    choice = groups if is_new else state.keys.index(key)
    if groups == 0:  # every wrong answer is a new one
        joined, new = NOBODY, ALWAYS
    else:
        concentration = state.concentration(model)
        joined, new = wrong_shares(np.array(state.sizes, dtype=float), state.by_chance, np.array(concentration / pull))
    wrong = (1.0 - right) * (
        1.0 - model.p_silent(voter)
    )  # who says something has not kept silent for want of an answer
    likelihood = wrong[None] * (new if is_new else joined[choice])[:, None]
    if is_new:
        likelihood = np.concatenate([likelihood[:groups], right[None], likelihood[groups:]])
        last = state.weights[-1:]
        before = np.concatenate([state.weights[:groups], last, last])  # a new group comes out of "none of them"
    else:
        likelihood[choice] = right
        before = state.weights
    group, p_copy = state.copied(voter, model)
    likelihood = (1.0 - p_copy) * likelihood + (p_copy if group == choice and not is_new else 0.0)
    if groups == 0 and model.easier:
        before = before * ease_of_bits(information_bits(key), model)
    weights = before * (likelihood if power == 1.0 else likelihood**power)
    if is_new:
        return VoteState(weights, (*state.keys, key), (*state.sizes, pull), (*state.voters, (voter,)))
    sizes = tuple(size + pull * (index == choice) for index, size in enumerate(state.sizes))
    voters = tuple((*names, voter) if index == choice else names for index, names in enumerate(state.voters))
    return VoteState(weights, state.keys, sizes, voters)


def weigh(state: VoteState, likelihood_ratio: Mapping[str, float]) -> VoteState:
    """Multiplies groups by the likelihood ratios P(verdict | right) / P(verdict | wrong) of what verifiers said about
    them.
    """
    factors = np.array([likelihood_ratio.get(key, 1.0) for key in state.keys] + [1.0])
    return VoteState(state.weights * factors[:, None], state.keys, state.sizes, state.voters)


def believe(
    votes: Sequence[tuple[str | None, float]],
    model: VoteModel | None = None,
    likelihood_ratio: Mapping[str, float] | None = None,
) -> Belief:
    """The posterior after `votes`: (group key or `None` for no answer, prior P(that model is right)) for each draft."""
    model = model or VoteModel()
    state = replay(votes, model)
    return to_belief(weigh(state, likelihood_ratio or {}))


def replay(
    votes: Sequence[tuple[str | None, float]],
    model: VoteModel,
    powers: Sequence[float] | None = None,
    voters: Sequence[str] | None = None,
) -> VoteState:
    """The state after `votes`.

    `powers` are how much each counts (default: fully), `voters` the models that cast them (default: unknown).
    """
    n = len(votes)
    cast = tuple(
        (key, p, power, voter)
        for (key, p), power, voter in zip(votes, powers or [1.0] * n, voters or [""] * n, strict=True)
    )
    for end in range(DEEP, len(cast), DEEP):  # so that the recursion is never deeper
        _replayed(cast[:end], model)
    return _replayed(cast, model)


@lru_cache(maxsize=2_048)
def _replayed(votes: tuple[tuple[str | None, float, float, str], ...], model: VoteModel) -> VoteState:
    """One vote after the other; a search adds one at a time, so that what was before it is at hand."""
    if not votes:
        return start(model)
    *before, (key, p, power, voter) = votes
    return vote(
        _replayed(tuple(before), model),
        key,
        _right_of_one(p, model.spread, model.hopeless),
        model,
        power=power,
        voter=voter,
    )


@lru_cache(maxsize=4_096)
def _right_of_one(p: float, spread: float, hopeless: float) -> Array:
    """As `_success_given_ease` for one model, in half its time: the steps are the same, to the last bit."""
    p = min(max(p / (1.0 - hopeless), P_MIN), 1 - P_MIN)
    nodes, weights = _quadrature()
    spaced = spread * nodes
    centre = np.log(p / (1 - p)) * np.sqrt(1 + np.pi / 8 * spread**2)
    for _ in range(4):
        at = 1 / (1 + np.exp(-(centre + spaced)))
        slope = np.add.reduce(at * (1 - at) * weights)
        step = (np.add.reduce(at * weights) - p) / max(slope, 1e-9)
        centre = centre - min(max(step, -1.0), 1.0)
    given: Array = np.append(1 / (1 + np.exp(-(centre + spaced))), P_MIN)
    return given


def to_belief(state: VoteState) -> Belief:
    """The belief that a state of votes stands for."""
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


@lru_cache(maxsize=64)
def _weights(hopeless: float) -> Array:
    """Of the nodes of ease, and of hopeless questions (the last)."""
    return np.append((1.0 - hopeless) * _quadrature()[1], hopeless)
