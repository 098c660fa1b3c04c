"""Recipes: changes to a configuration that tuning tries, in ladders from the safest to the cheapest.

A recipe makes its change from graded questions, so that it can be made from some of them and tried on the others. The
order of a ladder is fixed before anything is seen, which is what allows its rungs to be tested one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from orchestrator.backends.base import estimate_prompt_tokens
from orchestrator.config.models import Config
from orchestrator.jsontypes import JsonValue
from orchestrator.search.calibration.calibrate import Comparison, compare_policies
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.policies import ByValue
from orchestrator.search.calibration.vote_fitting import fit_vote_model
from orchestrator.search.lengths import fit_sharing
from orchestrator.search.prompts import draft_messages
from orchestrator.search.vote_table import GradedQuestion, VoteTable
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.trial import Proposal, Rows
from orchestrator.types import Query

TAUGHT_VALUE_SHARES = (0.5, 0.3, 0.18, 0.11, 0.06)
COST_SHARES = (0.7, 0.5, 0.35, 0.2)
QUALITY_SHARES = (0.9, 0.75)


class Recipe(Protocol):
    """How a change is made of graded questions."""

    @property
    def name(self) -> str:
        """In words; no two recipes of a run have the same."""

    def make(self, answers: GradedAnswers, rows: Rows) -> Proposal:
        """The change, from the questions number `rows`. Must be cheap to make again from the same rows."""


@dataclass(frozen=True, slots=True)
class PlainChange:
    """Other values of settings; learns nothing."""

    name: str
    changes: tuple[tuple[str, JsonValue], ...]

    def make(self, answers: GradedAnswers, rows: Rows) -> Proposal:
        """The change."""
        return Proposal(self.name, dict(self.changes))


@dataclass(frozen=True, slots=True)
class Without:
    """A fleet without the models that another one beats: as often right for less, or more often for no more."""

    name: str
    kept: tuple[str, ...] = ()

    def make(self, answers: GradedAnswers, rows: Rows) -> Proposal:
        """The change; none where no model is beaten."""
        beaten = [name for name in dominated_models(answers, rows) if name not in self.kept]
        return Proposal(self.name, {f"models.{name}": None for name in beaten})


@dataclass(frozen=True, slots=True)
class TaughtFleet:
    """The router taught by the graded questions, how models err together learned from them, and another value of a
    right answer.
    """

    value_usd: float

    @property
    def name(self) -> str:
        """In words."""
        return f"router and search taught, a right answer worth {self.value_usd:g} USD"

    def make(self, answers: GradedAnswers, rows: Rows) -> Proposal:
        """The change."""
        table = VoteTable.of(graded_questions(answers, rows))
        vote_model = replace(fit_vote_model(table), length_sharing=fit_sharing(table))
        shares = dict(zip(table.models, table.p_success.tolist(), strict=True))
        prices = dict(zip(table.models, table.mean_usd.tolist(), strict=True))
        policy = ByValue(self.value_usd)
        calibration = Calibration(shares, prices, vote_model, policy, self.value_usd, 0.0, 0.0)
        return Proposal(self.name, {"strategy": None}, calibration, taught_by=tuple(rows.tolist()))


@dataclass(frozen=True, slots=True)
class CalibratedPolicy:
    """The policy of the search that is estimated to be most accurate for a mean price."""

    share: float
    usd: float

    @property
    def name(self) -> str:
        """In words."""
        return f"search calibrated to {self.share:.0%} of the present cost"

    def make(self, answers: GradedAnswers, rows: Rows) -> Proposal:
        """The change."""
        calibration = _compared(answers, tuple(rows.tolist()), self.usd).choose(self.share * self.usd)
        return Proposal(f"{self.name}: {calibration.policy.in_words}", {"strategy": None}, calibration)


@lru_cache(maxsize=4)
def _compared(answers: GradedAnswers, rows: tuple[int, ...], usd: float) -> Comparison:
    """One comparison serves all rungs."""
    return compare_policies(graded_questions(answers, np.array(rows)), max_usd_per_query=usd)


def ladders(config: Config, usd: float) -> list[list[Recipe]]:
    """What is tried, the most promising ladder first; `usd` is what a question costs at present."""
    taught: list[Recipe] = [TaughtFleet(float(f"{share * config.value_usd:.3g}")) for share in TAUGHT_VALUE_SHARES]
    policies: list[Recipe] = [CalibratedPolicy(share, usd) for share in COST_SHARES]
    assert isinstance(config.quality, float)
    qualities = [round(share * config.quality, 3) for share in QUALITY_SHARES]
    plain: list[Recipe] = [
        Without("without models that others beat", tuple(config.fallbacks)),
        *(PlainChange(f"quality {quality:g}", (("quality", quality),)) for quality in qualities),
    ]
    return [taught, policies, plain]


def dominated_models(answers: GradedAnswers, rows: Rows) -> list[str]:
    """The models that some other one beats on these questions: as often right for less, or more often for no more."""
    score = answers.scores[rows].mean(axis=0)
    usd = np.array([answers.usd(row) for row in rows.tolist()]).mean(axis=0)
    beats = (score[:, None] >= score) & (usd[:, None] <= usd) & ((score[:, None] > score) | (usd[:, None] < usd))
    return [name for column, name in enumerate(answers.models) if beats[:, column].any()]


def graded_questions(answers: GradedAnswers, rows: Rows) -> list[GradedQuestion]:
    """These questions as calibration takes them, with what the engine expects each model to cost."""
    lengths = np.array([[a.output_tokens for a in answers.answers[row]] for row in rows.tolist()]).mean(axis=0)
    profiles = [replace(p, output_tokens=float(n)) for p, n in zip(answers.profiles, lengths, strict=True)]
    questions = []
    for row in rows.tolist():
        tokens = estimate_prompt_tokens(draft_messages(Query.parse(answers.questions[row]), None))
        expected = {p.name: p.cost_usd(tokens, p.output_tokens) or 0.0 for p in profiles}
        questions.append(answers.graded_question(row, expected))
    return questions
