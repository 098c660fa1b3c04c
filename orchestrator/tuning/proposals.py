"""Changes to a configuration that tuning tries: thresholds, strategies, models, and policies of the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from orchestrator.backends.base import estimate_prompt_tokens
from orchestrator.config.models import Config
from orchestrator.jsontypes import JsonValue
from orchestrator.search.calibration.calibrate import compare_policies
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.policies import ByValue, Policy
from orchestrator.search.calibration.vote_fitting import fit_vote_model
from orchestrator.search.lengths import fit_sharing
from orchestrator.search.prompts import draft_messages
from orchestrator.search.vote_table import GradedQuestion, VoteTable
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.trial import Proposal, Rows
from orchestrator.types import Query

QUALITIES = (0.7, 0.8, 0.9)
VALUE_SHARES = (0.05, 0.2)
TAUGHT_VALUE_SHARES = (1.0, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05)
COST_SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
FEWEST_COMPARED = 30  # questions that a policy of the search is calibrated on


def simple_proposals(config: Config, dominated: Sequence[str]) -> Iterator[Proposal]:
    """Other thresholds and strategies, each alone and where two of them belong together.

    `dominated` are models that another one beats in price and quality: the fleet may do without them.
    """
    for quality in QUALITIES:
        if quality != config.quality:
            yield _proposal({"quality": quality})
    for share in VALUE_SHARES:
        yield _proposal({"value_usd": float(f"{share * config.value_usd:.3g}")})
    if config.strategy != "single":
        for quality in (0.8, 0.95):
            yield _proposal({"strategy": "single", "quality": quality})
    without: dict[str, JsonValue] = {f"models.{name}": None for name in dominated if name not in config.fallbacks}
    if without:
        yield _proposal(without)
        yield _proposal({**without, "value_usd": float(f"{0.2 * config.value_usd:.3g}")})


def _proposal(changes: Mapping[str, JsonValue]) -> Proposal:
    left_out = [path.removeprefix("models.") for path in changes if path.startswith("models.")]
    told = [f"{path} {value}" for path, value in changes.items() if not path.startswith("models.")]
    if left_out:
        told.append(f"without {', '.join(left_out)}")
    return Proposal(", ".join(told), changes)


def dominated_models(answers: GradedAnswers, rows: Rows) -> list[str]:
    """The models that some other one beats on these questions: as often right for less, or more often for no more."""
    score = answers.scores[rows].mean(axis=0)
    usd = _paid(answers, rows).mean(axis=0)
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


def policy_proposals(questions: Sequence[GradedQuestion], usd_per_query: float) -> list[Proposal]:
    """For shares of the present cost, the policy of the search that is estimated to be most accurate there."""
    if len(questions) < FEWEST_COMPARED:
        return []
    compared = compare_policies(questions, max_usd_per_query=usd_per_query)
    found: dict[Policy, Proposal] = {}
    for share in COST_SHARES:
        calibration = compared.choose(share * usd_per_query)
        found.setdefault(calibration.policy, Proposal(calibration.policy.in_words, {"strategy": None}, calibration))
    return list(found.values())


def taught_proposals(questions: Sequence[GradedQuestion], value_usd: float) -> list[Proposal]:
    """The router taught by these questions, how models err together learned from them, and several values of a right
    answer.
    """
    table = VoteTable.of(questions)
    vote_model = replace(fit_vote_model(table), length_sharing=fit_sharing(table))
    shares, prices = (
        dict(zip(table.models, values.tolist(), strict=True)) for values in (table.p_success, table.mean_usd)
    )
    found = []
    for share in TAUGHT_VALUE_SHARES:
        value = float(f"{share * value_usd:.3g}")
        calibration = Calibration(shares, prices, vote_model, ByValue(value), value, 0.0, 0.0)
        name = f"router and search taught, a right answer worth {value:g} USD"
        found.append(Proposal(name, {"strategy": None}, calibration, is_taught=True))
    return found


def _paid(answers: GradedAnswers, rows: Rows) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array(
        [
            [
                profile.cost_usd(answer.input_tokens, answer.output_tokens) or 0.0
                for profile, answer in zip(answers.profiles, answers.answers[row], strict=True)
            ]
            for row in rows.tolist()
        ]
    )
