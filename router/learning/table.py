"""Outcomes as arrays, for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.router.calibration import Array, logit
from orchestrator.router.features.features import Integers
from orchestrator.router.outcome import Outcome


@dataclass(frozen=True, slots=True)
class DomainOutcome(Outcome):
    """An outcome and the data set that its query comes from, for the table of the model card."""

    domain: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Outcomes as arrays of shape (queries, models).

    `score` is the weighted mean of repeated outcomes, `weight` is 0 where there is none, `tokens` may be NaN. `groups`
    numbers the data set of each query, 0 the reference. `anchors`: log-odds of each model's public score, else NaN.
    """

    queries: list[str]
    models: tuple[str, ...]
    score: Array
    weight: Array
    tokens: Array
    groups: Integers
    anchors: Array

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], skills: Mapping[str, float] | None = None, reference: str = "") -> Table:
        """`skills` are public scores of models on the data set `reference`.

        Raises `ValueError` on scores that are not finite numbers in [0, 1], and without any outcome.
        """
        if not outcomes:
            raise ValueError("no outcomes to train on")
        for outcome in outcomes:
            outcome.check()
        queries = list(dict.fromkeys(o.query for o in outcomes))
        models = tuple(sorted({o.model for o in outcomes}))
        row_of = {query: row for row, query in enumerate(queries)}
        column_of = {model: column for column, model in enumerate(models)}
        total, weight = np.zeros((len(queries), len(models))), np.zeros((len(queries), len(models)))
        tokens = np.full((len(queries), len(models)), np.nan)
        for outcome in outcomes:
            at = row_of[outcome.query], column_of[outcome.model]
            total[at] += outcome.weight * outcome.score
            weight[at] += outcome.weight
            if outcome.output_tokens is not None:
                tokens[at] = outcome.output_tokens
        domain_of = {o.query: o.domain if isinstance(o, DomainOutcome) else reference for o in outcomes}
        number = {name: n for n, name in enumerate(dict.fromkeys((reference, *domain_of.values())))}
        groups = np.array([number[domain_of[query]] for query in queries])
        anchors = np.array([logit(skills[name]) if skills and name in skills else np.nan for name in models])
        score = total / np.where(weight > 0, weight, 1.0)
        return cls(queries, models, score, np.minimum(weight, 1.0), tokens, groups, anchors)
