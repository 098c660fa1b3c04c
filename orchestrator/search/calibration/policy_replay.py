"""What a policy would have done with graded answers.

Who is asked, what is then believed, whether that was right, and what it cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.search.belief import VoteState, start, success_given_ease, vote
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Policy
from orchestrator.search.lengths import length_factor
from orchestrator.search.value import best_purchase
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import NO_ANSWER, Flags, Votes, VoteTable
from orchestrator.search.wrong_answers import Array, Indices


@dataclass(frozen=True)
class Replayed:
    """For each question whether the answer was right, how much it was believed, what it cost in USD, and how many
    models were asked; all of shape (questions,).
    """

    right: Flags
    believed: Array
    usd: Array
    votes: Indices

    def stated(self, model: VoteModel) -> Array:
        """The confidence that `model` would state, shape (questions,)."""
        return np.array(
            [model.stated(p, votes) for p, votes in zip(self.believed.tolist(), self.votes.tolist(), strict=True)]
        )

    @property
    def summary(self) -> tuple[float, float]:
        """Accuracy and mean cost in USD."""
        return float(self.right.mean()), float(self.usd.mean())


@dataclass(frozen=True)
class KnownFleet:
    """What is known of the models of a table.

    P(correct), mean price, and price as it is expected before asking, of shape (models,), and how they err together.
    """

    p_success: Array
    mean_usd: Array
    expected_usd: Array
    vote_model: VoteModel

    @classmethod
    def of(cls, table: VoteTable, vote_model: VoteModel) -> KnownFleet:
        """What `table` tells of its models."""
        return cls(table.p_success, table.mean_usd, table.expected_usd.mean(axis=0), vote_model)


def replay_policy(table: VoteTable, fleet: KnownFleet, policy: Policy, questions: Sequence[str]) -> Replayed:
    """Any policy; `questions` are the texts by which a mixture decides, in order of the table."""
    if isinstance(policy, FixedOrder):
        return replay_order(table, fleet, policy)
    if isinstance(policy, ByValue):
        return replay_by_value(table, fleet, policy.value_usd)
    is_second = np.array([policy.policy_for(question) == policy.second for question in questions], dtype=bool)
    found = Replayed(*(np.zeros(len(table), dtype=kind) for kind in (bool, float, float, int)))
    for part, rows in ((policy.first, np.flatnonzero(~is_second)), (policy.second, np.flatnonzero(is_second))):
        if len(rows):
            replayed = replay_policy(table.rows(rows), fleet, part, ())
            found.right[rows], found.believed[rows] = replayed.right, replayed.believed
            found.usd[rows], found.votes[rows] = replayed.usd, replayed.votes
    return found


def replay_order(table: VoteTable, fleet: KnownFleet, policy: FixedOrder) -> Replayed:
    """A fixed order, on all questions at once."""
    columns = [table.models.index(model) for model in policy.models]
    few = table.only(columns)
    rights = success_given_ease(fleet.p_success[columns], fleet.vote_model, policy.models)
    votes = Votes(few, fleet.vote_model)
    counts = np.zeros(few.groups.shape)
    asked = np.zeros(few.groups.shape, dtype=bool)
    going = np.ones(len(table), dtype=bool)
    for column, right in enumerate(rights):
        votes.add(column, right, going)
        asked[:, column] = going
        spoke = going & (few.groups[:, column] != NO_ANSWER)
        counts[spoke, few.groups[spoke, column]] += 1
        going = going & (counts.max(axis=1) < policy.agree)
    leader, believed = votes.believed()
    speaks = asked & (few.groups == leader[:, None]) & (leader != NO_ANSWER)[:, None]
    best = np.where(speaks, fleet.p_success[columns], -1.0).argmax(axis=1)
    right = few.right[np.arange(len(table)), best] & speaks.any(axis=1)
    return Replayed(
        right, np.where(leader == NO_ANSWER, 0.0, believed), (few.usd * asked).sum(axis=1), asked.sum(axis=1)
    )


def replay_by_value(table: VoteTable, fleet: KnownFleet, value_usd: float) -> Replayed:
    """The strategy `adaptive`.

    Decisions depend only on the votes so far and on how long they are, so that they are shared.
    """
    right = success_given_ease(fleet.p_success, fleet.vote_model, table.models)
    decided: dict[tuple[float, tuple[tuple[int, int, float, float], ...]], int | None] = {}
    sharing, longer = (
        fleet.vote_model.length_sharing,
        np.log(np.maximum(table.usd, 1e-12) / np.maximum(fleet.mean_usd, 1e-12)),
    )
    hits, believed, spent, votes = (np.zeros(len(table), dtype=kind) for kind in (bool, float, float, int))
    for row in range(len(table)):
        state, asked = start(fleet.vote_model), list[int]()
        path: tuple[tuple[int, int, float, float], ...] = ()
        while True:
            factor = length_factor(longer[row, asked].tolist(), sharing)
            if (factor, path) not in decided:
                decided[factor, path] = _decide(table.models, state, asked, right, fleet, value_usd, factor)
            column = decided[factor, path]
            if column is None:
                break
            group = int(table.groups[row, column])
            key = None if group == NO_ANSWER else table.keys[row][group]
            place = -1 if key is None else state.keys.index(key) if key in state.keys else len(state.keys)
            ratio = float(table.evidence[row, column])
            told = 0.0 if key is None else float(table.bits[row, group])
            path = (*path, (column, place, told, round(2 * math.log(ratio)) / 2))
            spent[row] += table.usd[row, column]
            asked.append(column)
            state = vote(state, key, right[column], fleet.vote_model, voter=table.models[column], ratio=ratio)
        if state.keys:
            lead = state.keys[int(np.argmax(state.weights[:-1].sum(axis=1)))]
            said_so = [column for column in asked if table.groups[row, column] == table.keys[row].index(lead)]
            hits[row] = table.right[row, max(said_so, key=lambda column: float(fleet.p_success[column]))]
            believed[row] = state.best
        votes[row] = len(asked)
    return Replayed(hits, believed, spent, votes)


def _decide(
    models: tuple[str, ...],
    state: VoteState,
    asked: list[int],
    right: Array,
    fleet: KnownFleet,
    value_usd: float,
    factor: float,
) -> int | None:
    left = [column for column in range(len(models)) if column not in asked]
    if not left:
        return None
    prices, names = factor * fleet.expected_usd[left], [models[column] for column in left]
    purchase = best_purchase(state, right[left], prices.tolist(), fleet.vote_model, value_usd=value_usd, names=names)
    if purchase.model is not None:
        return left[purchase.model]
    return None if asked else left[int(np.argmin(prices))]  # the first answer is not weighed against silence
