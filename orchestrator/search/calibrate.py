"""Fits the search to a fleet and a kind of question, from graded answers of a calibration split alone.

Four things are learned: each model's P(right); how models err together (`VoteModel`, by maximum likelihood of the votes and of what was right); what
a right answer must be worth (`value_usd`) for the best accuracy that a mean price buys (replayed on the calibration answers); and how far the belief
in the answers of that replay can be taken at its word (the scaling of the stated confidence).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from orchestrator.search.belief import Array, VoteModel, VoteState, start, success_given_ease, vote
from orchestrator.search.value import best_purchase
from router.calibration import fit_logistic, logit

SPREADS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
CONCENTRATIONS = (1.0, 2.0, 4.0, 8.0, 16.0)
VALUES_USD = tuple(float(v) for v in np.geomspace(1e-4, 1.0, 33))
MAX_FITTED = 400
BETWEEN = 3
INDIFFERENT = 0.001  # a difference in accuracy that is not paid for


@dataclass(frozen=True, slots=True)
class GradedQuestion:
    """One calibration question: for each model the group key of its answer (`None`: it is none), whether it was right, and what it cost."""

    keys: Mapping[str, str | None]
    right: Mapping[str, bool]
    cost_usd: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """`expected_accuracy` and `expected_usd` are what the replay on the calibration questions gave."""

    p_success: Mapping[str, float]
    cost_usd: Mapping[str, float]
    vote_model: VoteModel
    value_usd: float
    expected_accuracy: float
    expected_usd: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """For each question whether the answer was right, how much it was believed, and what it cost in USD."""

    right: tuple[bool, ...]
    believed: tuple[float, ...]
    usd: tuple[float, ...]

    @property
    def summary(self) -> tuple[float, float]:
        """Accuracy and mean cost."""
        return sum(self.right) / len(self.right), sum(self.usd) / len(self.usd)


def calibrate(questions: Sequence[GradedQuestion], *, max_usd_per_query: float) -> Calibration:
    """Raises `ValueError` without questions. Every question must name the same models."""
    if not questions:
        raise ValueError("calibration needs at least one graded question")
    models = sorted(questions[0].keys)
    n = len(questions)
    p_success = {m: (sum(q.right[m] for q in questions) + 1) / (n + 2) for m in models}
    cost = {m: sum(q.cost_usd[m] for q in questions) / n for m in models}
    vote_model = fit_vote_model(questions[:MAX_FITTED], p_success)
    affordable = _affordable(lambda value_usd: replay_search(questions, p_success, cost, vote_model, value_usd), max_usd_per_query)
    # How many answers were right varies by luck from setting to setting; how much they were believed, scaled by all of them, hardly does.
    right = tuple(ok for _, found in affordable for ok in found.right)
    together = scaled(vote_model, Replayed(right, tuple(p for _, found in affordable for p in found.believed), ()))
    predicted = [sum(map(together.stated, found.believed)) / n for _, found in affordable]
    value_usd, chosen = affordable[next(i for i, p in enumerate(predicted) if p >= max(predicted) - INDIFFERENT)]
    return Calibration(p_success, cost, scaled(vote_model, chosen), value_usd, *chosen.summary)


def _affordable(replayed: Callable[[float], Replayed], max_usd_per_query: float) -> list[tuple[float, Replayed]]:
    """What replays at rising values gave, up to the first that is too dear, and a few between that and the one before; the least value at least."""
    found: list[tuple[float, Replayed]] = []
    values = list(VALUES_USD)
    for at, value_usd in enumerate(values):
        found.append((value_usd, replayed(value_usd)))
        if found[-1][1].summary[1] > max_usd_per_query:
            if at == 0:
                return found
            found.pop()
            between = np.geomspace(values[at - 1], value_usd, BETWEEN + 2)[1:-1].tolist()
            found += [(v, r) for v in between if (r := replayed(v)).summary[1] <= max_usd_per_query]
            break
    return found


def scaled(model: VoteModel, replayed: Replayed) -> VoteModel:
    """`model` with the scaling of its stated confidence under which the outcomes of a replay are most likely; little is changed by few outcomes."""
    believed = np.array([logit(p) for p in replayed.believed])
    x = np.column_stack([believed, np.ones(len(believed))])
    slope, intercept = fit_logistic(
        x, np.array(replayed.right, dtype=float), prior_mean=np.array([1.0, 0.0]), prior_sd=np.array([0.5, 1.0])
    )
    return replace(model, slope=max(float(slope), 0.05), intercept=float(intercept))


def fit_vote_model(questions: Sequence[GradedQuestion], p_success: Mapping[str, float]) -> VoteModel:
    """The spread and concentration on a grid under which all votes, and which of them were right, are most likely."""
    models = sorted(p_success)
    p = np.array([p_success[m] for m in models])

    def log_likelihood(model: VoteModel) -> float:
        right = success_given_ease(p, model)
        total = 0.0
        for question in questions:
            state = start(model)
            for index, name in enumerate(models):
                state = vote(state, question.keys[name], right[index], model)
            correct = next((key for name in models if question.right[name] and (key := question.keys[name]) is not None), None)
            row = state.keys.index(correct) if correct is not None else -1
            total += float(np.log(max(state.weights[row].sum(), 1e-300)))
        return total

    return max((VoteModel(s, c) for s, c in product(SPREADS, CONCENTRATIONS)), key=log_likelihood)


REPEATS = tuple(float(power) for power in np.linspace(0.0, 1.0, 21))


def fit_repeat(drawn: Sequence[tuple[Sequence[str], str | None]], p_success: float, model: VoteModel) -> VoteModel:
    """`model` with the `repeat` under which what was right is most likely, from questions that one model drew several answers to.

    Each is the group keys of the answers and the key of the right one (`None`: none of them). Without any, nothing changes.
    """
    (right,) = success_given_ease(np.array([p_success]), model)

    def log_likelihood(power: float) -> float:
        total = 0.0
        for keys, correct in drawn:
            state = start(model)
            for index, key in enumerate(keys):
                state = vote(state, key, right, model, power=power if index else 1.0)
            row = state.keys.index(correct) if correct is not None else -1
            total += float(np.log(max(state.weights[row].sum() / state.total, 1e-300)))
        return total

    return replace(model, repeat=max(REPEATS, key=log_likelihood)) if drawn else model


def replay_search(
    questions: Sequence[GradedQuestion], p_success: Mapping[str, float], cost_usd: Mapping[str, float], model: VoteModel, value_usd: float
) -> Replayed:
    """What the adaptive strategy does with recorded answers. Decisions depend only on the votes so far, so they are shared."""
    models = sorted(p_success)
    right = success_given_ease(np.array([p_success[m] for m in models]), model)
    prices = np.array([cost_usd[m] for m in models])
    decided: dict[tuple[tuple[int, int], ...], int | None] = {}
    hits, believed, spent = list[bool](), list[float](), list[float]()
    for question in questions:
        state, left = start(model), list(range(len(models)))
        path: tuple[tuple[int, int], ...] = ()
        usd = 0.0
        while True:
            if path not in decided:
                decided[path] = _decide(state, left, right, prices, model, value_usd)
            chosen = decided[path]
            if chosen is None:
                break
            left.remove(chosen)
            key = question.keys[models[chosen]]
            path = (*path, (chosen, -1 if key is None else state.keys.index(key) if key in state.keys else len(state.keys)))
            usd += question.cost_usd[models[chosen]]
            state = vote(state, key, right[chosen], model)
        shares = state.weights[:-1].sum(axis=1)
        if not state.keys:  # nobody answered
            hits.append(False)
            believed.append(0.0)
            spent.append(usd)
            continue
        lead = state.keys[int(np.argmax(shares))]
        said_so = [models[asked] for asked, _ in path if question.keys[models[asked]] == lead]
        hits.append(question.right[max(said_so, key=lambda model: p_success[model])])
        believed.append(state.best)
        spent.append(usd)
    return Replayed(tuple(hits), tuple(believed), tuple(spent))


def _decide(state: VoteState, left: list[int], right: Array, prices: Array, model: VoteModel, value_usd: float) -> int | None:
    if not left:
        return None
    purchase = best_purchase(state, right[left], prices[left].tolist(), model, value_usd=value_usd)
    if purchase.model is not None:
        return left[purchase.model]
    return None if state.keys else left[int(np.argmin(prices[left]))]
