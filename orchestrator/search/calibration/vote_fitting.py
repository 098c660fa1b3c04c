"""Fits how models err together (`VoteModel`) to graded answers.

First from pairs of wrong answers: how often two models that are both wrong say the same, by their pulls and by how hard
the answer is to guess, and which pairs do so more often than that. Then, given these, how much the ease of questions
varies, by the likelihood of all votes and of what was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from orchestrator.packages import need_packages
from orchestrator.router.calibration import fit_logistic, sigmoid
from orchestrator.search.belief import start, success_given_ease, vote
from orchestrator.search.calibration.class_fitting import with_classes
from orchestrator.search.guessing import REFERENCE_BITS
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import NO_ANSWER, Flags, Votes, VoteTable
from orchestrator.search.wrong_answers import Array

SPREADS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
HOPELESS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
EASIER = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)
MAX_FITTED = 600  # questions; more hardly tell more of the spread
LOG_CONCENTRATION, LOG_PULL, GUESSING = (
    (np.log(4.0), 1.0),
    (0.0, 0.5),
    (0.5, 0.3),
)  # means and standard deviations before any outcome
IMAGINED_PAIRS = 10.0  # pairs of wrong answers in which nobody copies, before any outcome
ROUNDS = 6
DUPLICATES, MIN_MISSED = 0.7, 5  # the share of missed questions from which on two models are one; of so many at least
MIN_COPYING, ERRORS = 0.02, 1.5
REPEATS = tuple(float(power) for power in np.linspace(0.0, 1.0, 21))


def fit_vote_model(table: VoteTable) -> VoteModel:
    """The vote model under which the answers of `table`, and which of them were right, are likely."""
    pairs = _Pairs.of(table)
    duplicates = _duplicates(table)
    model = VoteModel(copying=tuple((one, other, p) for (one, other), p in duplicates.items()))
    for _ in range(ROUNDS):  # what pulls seem to explain of a pair, copying may explain better, and the other way round
        model = _fit_coincidence(pairs, table.models, model)
        found = {(one, other): p for one, other, p in _fit_copying(pairs, table.models, model)}
        together = {pair: max(found.get(pair, 0.0), duplicates.get(pair, 0.0)) for pair in (*found, *duplicates)}
        model = replace(model, copying=tuple((one, other, p) for (one, other), p in together.items()))
    model = with_classes(model, table)
    fitted = table.rows(np.arange(min(len(table), MAX_FITTED)))
    model = replace(model, typical_bits=_typical_bits(table), silence=_fit_silence(table))
    for _ in range(2):
        model = max(
            (replace(model, spread=x) for x in SPREADS), key=lambda candidate: log_likelihood(fitted, candidate)
        )
        model = max(
            (replace(model, hopeless=x) for x in HOPELESS), key=lambda candidate: log_likelihood(fitted, candidate)
        )
        model = max((replace(model, easier=x) for x in EASIER), key=lambda candidate: log_likelihood(fitted, candidate))
    return model


def _fit_silence(table: VoteTable) -> tuple[tuple[str, float], ...]:
    """How often each model gives no answer where it has no right one, with one imagined answer that is wrong."""
    silent, wrong = (table.groups == NO_ANSWER).sum(axis=0), (~table.right).sum(axis=0)
    return tuple(
        (name, round(float(p), 4)) for name, p in zip(table.models, silent / (wrong + 1.0), strict=True) if p > 0
    )


def _typical_bits(table: VoteTable) -> float:
    said = table.groups != NO_ANSWER
    rows = np.broadcast_to(np.arange(len(table))[:, None], said.shape)[said]
    return float(np.exp(np.log(table.bits[rows, table.groups[said]]).mean())) if said.any() else REFERENCE_BITS


def _duplicates(table: VoteTable) -> dict[tuple[str, str], float]:
    """Pairs that are wrong on the same questions, and say the same there.

    One model under two names, or another's answers sold on.

    Models that only err alike are often wrong alone; of all questions that one of two strong models misses, both miss
    half at most.
    """
    wrong = ~table.right
    found = {}
    for one, other in combinations(range(len(table.models)), 2):
        missed = wrong[:, one] | wrong[:, other]
        alike = missed & wrong[:, one] & wrong[:, other] & (table.groups[:, one] == table.groups[:, other])
        share = alike.sum() / (missed.sum() + 1.0)
        if missed.sum() >= MIN_MISSED and share > DUPLICATES:
            found[table.models[one], table.models[other]] = round(
                float(min((share - DUPLICATES) / (1.0 - DUPLICATES), 0.99)), 4
            )
    return found


def log_likelihood(table: VoteTable, model: VoteModel) -> float:
    """Of all votes, in order of the models, together with what was right."""
    votes = Votes(table, model)
    for column, right in enumerate(success_given_ease(table.p_success, model, table.models)):
        votes.add(column, right)
    weights = (votes.weights.sum(axis=2) * table.right_hypotheses()).sum(axis=1)
    return float(np.log(np.maximum(weights, 1e-300)).sum())


@dataclass(frozen=True)
class _Pairs:
    """Pairs of wrong answers to one question.

    Columns of both models, whether they said the same, bits and chance of what they said.

    `weight` counts a wrong answer once, however many others it is paired with.
    """

    one: Array
    other: Array
    same: Array
    bits: Array
    chance: Array
    weight: Array

    @classmethod
    def of(cls, table: VoteTable) -> _Pairs:
        wrong = ~table.right & (table.groups != NO_ANSWER)
        rivals = np.maximum(wrong.sum(axis=1) - 1.0, 1.0)
        rows: list[Array] = []
        for one, other in combinations(range(len(table.models)), 2):
            at = np.flatnonzero(wrong[:, one] & wrong[:, other])
            a, b = table.groups[at, one], table.groups[at, other]
            bits = np.sqrt(table.bits[at, a] * table.bits[at, b])
            chance = np.sqrt(table.chance[at, a] * table.chance[at, b])
            columns = np.full(len(at), one), np.full(len(at), other)
            rows.append(np.array([*columns, a == b, bits, chance, 1.0 / rivals[at]], dtype=float))
        found = np.concatenate(rows, axis=1) if rows else np.zeros((6, 0))
        return cls(found[0].astype(int), found[1].astype(int), *found[2:])


def _fit_coincidence(pairs: _Pairs, models: tuple[str, ...], known: VoteModel) -> VoteModel:
    """`concentration`, `guessing` and `pulls`, given who copies whom, by maximum a posteriori.

    P(two wrong answers coincide without copying) = chance + (1 - chance) pull pull' / (pull pull' + concentration).
    """
    need_packages("fitting a model of votes", "train", ["scipy"])
    from scipy.optimize import minimize  # optional and heavy: extra `train`

    n = len(models)
    log_bits = np.log(pairs.bits / REFERENCE_BITS)
    p_copies = np.array([[known.p_copies(one, other) for other in models] for one in models])[pairs.one, pairs.other]
    chance = p_copies + (1.0 - p_copies) * pairs.chance
    mean = np.array([LOG_CONCENTRATION[0], GUESSING[0], *[LOG_PULL[0]] * n])
    sd = np.array([LOG_CONCENTRATION[1], GUESSING[1], *[LOG_PULL[1]] * n])

    def loss(at: Array) -> tuple[float, Array]:
        pulls = at[2:]
        s = sigmoid(pulls[pairs.one] + pulls[pairs.other] - at[0] - at[1] * log_bits)
        p = np.clip(chance + (1.0 - chance) * s, 1e-9, 1.0 - 1e-9)
        likelihood = pairs.same * np.log(p) + (1.0 - pairs.same) * np.log(1.0 - p)
        by_margin = pairs.weight * (pairs.same / p - (1.0 - pairs.same) / (1.0 - p)) * (1.0 - chance) * s * (1.0 - s)
        gradient = np.concatenate([[-by_margin.sum(), -(by_margin * log_bits).sum()], np.zeros(n)])
        gradient[2:] = np.bincount(pairs.one, by_margin, n) + np.bincount(pairs.other, by_margin, n)
        beyond = (at - mean) / sd
        return float(0.5 * (beyond**2).sum() - (pairs.weight * likelihood).sum()), beyond / sd - gradient

    found = minimize(loss, mean, jac=True, method="L-BFGS-B").x
    pulls = tuple((name, round(float(np.exp(pull)), 4)) for name, pull in zip(models, found[2:], strict=True))
    return VoteModel(concentration=float(np.exp(found[0])), guessing=float(found[1]), pulls=pulls)


def _fit_copying(pairs: _Pairs, models: tuple[str, ...], model: VoteModel) -> tuple[tuple[str, str, float], ...]:
    """Pairs that said the same wrong answer more often than their pulls explain, by more than one and a half standard
    errors.
    """
    pulls = np.array([model.pull(name) for name in models])
    odds = (
        pulls[pairs.one] * pulls[pairs.other] / (model.concentration * (pairs.bits / REFERENCE_BITS) ** model.guessing)
    )
    expected = pairs.chance + (1.0 - pairs.chance) * odds / (1.0 + odds)
    found = []
    for one, other in combinations(range(len(models)), 2):
        at = (pairs.one == one) & (pairs.other == other)
        p = expected[at]
        excess = pairs.same[at].sum() - p.sum() - ERRORS * np.sqrt((p * (1.0 - p)).sum())
        copies = float(excess / ((1.0 - p).sum() + IMAGINED_PAIRS))
        if copies >= MIN_COPYING:
            found.append((models[one], models[other], round(min(copies, 0.99), 4)))
    return tuple(found)


def scaled(model: VoteModel, believed: Array, right: Flags, weight: Array | float = 1.0) -> VoteModel:
    """`model` with the scaling of its stated confidence under which outcomes are most likely.

    Little is changed by few of them.

    `believed` is P(correct) as the belief has it, `right` whether it was, `weight` how much each counts; shape
    (answers,).
    """
    clipped = np.clip(believed, 1e-6, 1.0 - 1e-6)
    at = np.log(clipped / (1.0 - clipped))
    slope, intercept = fit_logistic(
        np.column_stack([at, np.ones(len(at))]),
        right.astype(float),
        prior_mean=np.array([1.0, 0.0]),
        prior_sd=np.array([0.5, 1.0]),
        weight=weight,
    )
    return replace(model, slope=max(float(slope), 0.05), intercept=float(intercept))


def fit_repeat(drawn: Sequence[tuple[Sequence[str], str | None]], p_success: float, model: VoteModel) -> VoteModel:
    """`model` with the `repeat` under which what was right is most likely, from questions that one model drew several
    answers to.

    Each is the group keys of the answers and the key of the right one (`None`: none of them). Without any, nothing
    changes.
    """
    (right,) = success_given_ease(np.array([p_success]), model)

    def fit(power: float) -> float:
        total = 0.0
        for keys, correct in drawn:
            state = start(model)
            for index, key in enumerate(keys):
                state = vote(state, key, right, model, power=power if index else 1.0)
            row = state.keys.index(correct) if correct is not None else -1
            total += float(np.log(max(state.weights[row].sum() / state.total, 1e-300)))
        return total

    return replace(model, repeat=max(REPEATS, key=fit)) if drawn else model
