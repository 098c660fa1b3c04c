"""Fits the search to a fleet and a kind of question, from graded answers of a calibration split alone.

Learned are each model's P(correct) and price; how models err together (`fit_vote_model`); the policy that is most
accurate for a mean price, among fixed orders (single models, majorities, cascades that stop at agreement), the search
by value, and mixtures of two of them; and how far the belief in its answers can be taken at its word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.evidence_fitting import fit_evidence
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Mixture, Policy
from orchestrator.search.calibration.policy_choice import Tried, best_within, estimate
from orchestrator.search.calibration.policy_replay import KnownFleet, Replayed, replay_by_value, replay_order
from orchestrator.search.calibration.vote_fitting import fit_vote_model, scaled
from orchestrator.search.lengths import fit_sharing
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import GradedQuestion, VoteTable
from orchestrator.verifiers import Ensemble

VALUES_USD = tuple(float(v) for v in np.geomspace(1e-4, 1.0, 33))
MAJORITIES = (3, 5, 7, 9, 11)
FOLDS = 5
MAX_ORDERED = (
    12  # models of which all cascades are tried; of larger fleets those that are most often right for their price
)


@dataclass(frozen=True)
class Comparison:
    """What every policy did on the same graded questions: any price limit can be chosen for, without another replay."""

    table: VoteTable
    fleet: KnownFleet
    tried: tuple[Tried, ...]
    ensemble: Ensemble | None = None

    def choose(self, max_usd_per_query: float) -> Calibration:
        """The policy that is estimated to be most accurate within a mean price in USD.

        Raises `ValueError` on a price that is none.
        """
        _check_limit(max_usd_per_query)
        table, fleet = self.table, self.fleet
        policy, parts = best_within(self.tried, max_usd_per_query)
        return Calibration(
            dict(zip(table.models, fleet.p_success.tolist(), strict=True)),
            dict(zip(table.models, fleet.mean_usd.tolist(), strict=True)),
            fleet.vote_model,
            policy,
            _value_of(policy, self.tried, max_usd_per_query),
            min(max(sum(share * part.accuracy for part, share in parts), 0.0), 1.0),
            sum(share * part.usd for part, share in parts),
            self.ensemble,
        )


def calibrate(questions: Sequence[GradedQuestion], *, max_usd_per_query: float) -> Calibration:
    """The policy that is most accurate within a mean price in USD.

    Raises `ValueError` without questions, where they do not name the same models, and on prices that are none.
    """
    return compare_policies(questions, max_usd_per_query=max_usd_per_query).choose(max_usd_per_query)


def compare_policies(questions: Sequence[GradedQuestion], *, max_usd_per_query: float) -> Comparison:
    """Tries all fixed orders, and the search by rising values up to the first that costs more than `max_usd_per_query`.

    Raises as `calibrate`.
    """
    _check_limit(max_usd_per_query)
    ensemble = fit_evidence(questions)
    table = VoteTable.of(questions, ensemble)
    vote_model = replace(fit_vote_model(table), length_sharing=fit_sharing(table))
    orders = list(fixed_orders(table))
    fleet = KnownFleet.of(table, _scaled_on_held_out(table, vote_model, orders))
    policies, replays = _try_all(table, fleet, orders, max_usd_per_query)
    stated = [found.stated(fleet.vote_model) for found in replays]
    return Comparison(table, fleet, tuple(estimate(policies, replays, stated)), ensemble)


def _check_limit(max_usd_per_query: float) -> None:
    if not max_usd_per_query >= 0 or math.isinf(max_usd_per_query):
        raise ValueError(f"max_usd_per_query must be a number of USD, at least 0, not {max_usd_per_query!r}")


def _scaled_on_held_out(table: VoteTable, vote_model: VoteModel, orders: Sequence[FixedOrder]) -> VoteModel:
    """`vote_model` with the scaling of its confidence under which answers to each fifth of the questions are likely, by
    what the others tell.

    All orders count, for the outcomes of the best are luck in part; together they count as every question once.
    """
    fold = np.arange(len(table)) % min(FOLDS, len(table))
    found: list[Replayed] = []
    for each in range(min(FOLDS, len(table))):
        known, held_out = table.rows(np.flatnonzero(fold != each)), table.rows(np.flatnonzero(fold == each))
        if len(known):
            fleet = KnownFleet.of(known, fit_vote_model(known))
            found += [replay_order(held_out, fleet, order) for order in orders]
    if not found:
        return vote_model
    several = np.concatenate([r.votes for r in found]) > 1  # one vote is believed as its model's share of right answers
    believed, right = (
        np.concatenate([r.believed for r in found])[several],
        np.concatenate([r.right for r in found])[several],
    )
    return scaled(vote_model, believed, right, len(table) / max(len(believed), 1))


def _try_all(
    table: VoteTable, fleet: KnownFleet, orders: Sequence[FixedOrder], max_usd: float
) -> tuple[list[FixedOrder | ByValue], list[Replayed]]:
    policies: list[FixedOrder | ByValue] = [*orders]
    replays = [replay_order(table, fleet, order) for order in orders]
    for value_usd in VALUES_USD:
        policies.append(ByValue(value_usd))
        replays.append(replay_by_value(table, fleet, value_usd))
        if replays[-1].summary[1] > max_usd:
            break
    return policies, replays


def fixed_orders(table: VoteTable) -> Iterator[FixedOrder]:
    """Single models, majorities of those that are most often right, and all cascades whose third model is asked where
    the first two differ.
    """
    by_accuracy = np.argsort(-table.p_success, kind="stable").tolist()
    for column in by_accuracy:
        yield FixedOrder((table.models[column],))
    for k in MAJORITIES:
        if k <= len(by_accuracy):
            yield FixedOrder(tuple(table.models[column] for column in by_accuracy[:k]), k // 2 + 1)
    for one, other in combinations(_worth_ordering(table), 2):
        for third in _worth_ordering(table):
            if third not in (one, other):
                yield FixedOrder((table.models[one], table.models[other], table.models[third]), 2)


def _worth_ordering(table: VoteTable) -> list[int]:
    """At most `MAX_ORDERED` models.

    In turn the most accurate, and the most accurate of those that cost at most half as much as the last.
    """
    left = list(range(len(table.models)))
    chosen: list[int] = []
    p, usd = table.p_success, table.mean_usd
    most = np.inf
    while left and len(chosen) < MAX_ORDERED:
        affordable = [column for column in left if usd[column] <= most]
        if not affordable:
            most = np.inf
            continue
        best = max(affordable, key=lambda column: float(p[column]))
        chosen.append(best)
        left.remove(best)
        most = usd[best] / 2
    return sorted(chosen)


def _value_of(policy: Policy, tried: Sequence[Tried], max_usd: float) -> float:
    """The dearest value in the policy, else the highest whose search keeps to the price."""
    parts = (policy.first, policy.second) if isinstance(policy, Mixture) else (policy,)
    named = [part.value_usd for part in parts if isinstance(part, ByValue)]
    within = [t.policy.value_usd for t in tried if isinstance(t.policy, ByValue) and t.usd <= max_usd]
    return max(named or within or [VALUES_USD[0]])
