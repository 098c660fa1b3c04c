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

Where answers come in classes (no call of a tool, one, several), the class of the right one is a second latent variable:
a model is right more often in one class than in another, and what it says when wrong is of a class that depends on
which is right, as in a confusion matrix (Dawid & Skene 1979). Within a class, wrong answers fall into groups as above.

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

from orchestrator.search.guessing import information_bits
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.wrong_answers import NODES, Array, Indices, class_masks, class_shares, strays

DEEP = 100
P_MIN = 1e-4
FEW = 16  # models whose chances are worked out one by one, and kept
ALWAYS = np.ones(1)


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

    def classes(self, model: VoteModel) -> Indices:
        """The class of each group, shape (groups,)."""
        return np.array([model.class_of(key) for key in self.keys], dtype=np.intp)

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
    return VoteState(_latent(model.hopeless, model.shares)[None, :].copy())


def success_given_ease(p_success: Array, model: VoteModel, names: Sequence[str] | None = None) -> Array:
    """P(right | ease) at the nodes of ease, shape (models, nodes), whose mean over ease is `p_success` (shape
    (models,)).

    The last node is that of hopeless questions. Where answers come in classes, the nodes of each class follow one
    another, and `names` say whose ability in each it is.
    """
    stated = np.asarray(p_success, dtype=float)
    if model.classes:
        voters = names or [""] * len(stated)
        return np.stack([_right_of(float(p), model, name) for p, name in zip(stated, voters, strict=True)])
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
    return np.tile(np.append(given / (given @ weights), 1.0), len(model.shares))


def vote(
    state: VoteState,
    key: str | None,
    right: Array,
    model: VoteModel,
    *,
    power: float = 1.0,
    voter: str = "",
    ratio: float = 1.0,
) -> VoteState:
    """The state after one vote of `voter` for group `key`, its likelihood raised to `power`. `None` is no answer.

    `right` is P(right | ease), shape (nodes,). A new group begins with `ratio`, the likelihood ratio of what checks say
    of its first answer.
    """
    if key is None:
        return VoteState(state.weights * (1.0 - right) ** power, state.keys, state.sizes, state.voters)
    groups, is_new = len(state.keys), key not in state.keys
    choice = groups if is_new else state.keys.index(key)
    likelihood = _wrong_likelihood(state, key, right, model, voter)
    if is_new:
        likelihood = np.concatenate([likelihood[:groups], right[None], likelihood[groups:]])
        last = state.weights[-1:]  # a new group comes out of "none of them"
        opened = last * class_masks(len(model.shares))[model.class_of(key)] if model.classes else last
        before = np.concatenate([state.weights[:groups], opened * ratio, last])
    else:
        likelihood[choice] = right
        before = state.weights
    group, p_copy = state.copied(voter, model)
    likelihood = (1.0 - p_copy) * likelihood + (p_copy if group == choice and not is_new else 0.0)
    if groups == 0 and model.easier:
        before = before * ease_of_bits(information_bits(key), model)
    weights = before * (likelihood if power == 1.0 else likelihood**power)
    if is_new:
        return VoteState(weights, (*state.keys, key), (*state.sizes, model.pull(voter)), (*state.voters, (voter,)))
    sizes = tuple(size + model.pull(voter) * (index == choice) for index, size in enumerate(state.sizes))
    voters = tuple((*names, voter) if index == choice else names for index, names in enumerate(state.voters))
    return VoteState(weights, state.keys, sizes, voters)


def _wrong_likelihood(state: VoteState, key: str, right: Array, model: VoteModel, voter: str) -> Array:
    """P(`voter` says `key` | it is wrong to), under each hypothesis so far, shape (groups + 1, nodes)."""
    # who says something has not kept silent for want of an answer
    wrong = (1.0 - right) * (1.0 - model.p_silent(voter))
    kind = model.class_of(key)
    if model.classes:
        wrong = wrong * strays(voter, model)[kind]
    if not state.keys:  # every wrong answer is a new one
        return wrong[None] * ALWAYS[:, None]
    sizes, concentration = np.array(state.sizes, dtype=float), np.array(state.concentration(model) / model.pull(voter))
    joined, new = class_shares(sizes, state.by_chance, concentration, state.classes(model), len(model.shares))
    share = joined[state.keys.index(key)] if key in state.keys else new[kind]
    return np.asarray(wrong[None] * share[:, None])


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
    return vote(_replayed(tuple(before), model), key, _right_of(p, model, voter), model, power=power, voter=voter)


def _right_of(p: float, model: VoteModel, voter: str) -> Array:
    """P(right | ease, class) of one model, shape (nodes,)."""
    if not model.classes:
        return _right_of_one(p, model.spread, model.hopeless)
    return np.concatenate([_right_of_one(each, model.spread, model.hopeless) for each in model.p_in_classes(p, voter)])


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
def _latent(hopeless: float, shares: tuple[float, ...]) -> Array:
    """Of the nodes of ease, and of hopeless questions (the last), for each class of answers in turn."""
    of_one = np.append((1.0 - hopeless) * _quadrature()[1], hopeless)
    return np.concatenate([share * of_one for share in shares])
