"""What every model of a fleet said to the same questions, and how right that was: what tuning replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.backends.testing.recorded import RecordedAnswer, RecordedModel
from orchestrator.errors import ConfigError
from orchestrator.evaluation.paired import Array
from orchestrator.offline.grading import Graded
from orchestrator.offline.rehearsal import recorded_answer
from orchestrator.router import ModelProfile, Outcome
from orchestrator.search.vote_table import GradedQuestion

RIGHT = 0.5
"""The score from which an answer counts as right where only right and wrong are told apart."""
ANSWERS_NEEDED = '{"query": ..., "outcomes": {MODEL: {"score": 1, "answer": "..."}, ...}} for every model, a line each'


@dataclass(frozen=True, eq=False)
class GradedAnswers:
    """`answers` and `scores` (in [0, 1]) have the shape (questions, models); `profiles` are in order of the columns.

    `repeated_share` of the answers of the log, which are left out here, repeat an earlier query; `remarks` say what
    else is left out of it, or assumed.
    """

    questions: tuple[str, ...]
    profiles: tuple[ModelProfile, ...]
    answers: tuple[tuple[RecordedAnswer, ...], ...]
    scores: Array
    repeated_share: float = 0.0
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in order of the columns."""
        return tuple(profile.name for profile in self.profiles)

    def recorded(self) -> list[RecordedModel]:
        """Models that say these answers, as fast as it goes."""
        return [
            RecordedModel(
                replace(profile, ttft_s=0.0),
                {q.strip(): row[column] for q, row in zip(self.questions, self.answers, strict=True)},
            )
            for column, profile in enumerate(self.profiles)
        ]

    def graded_question(self, row: int, expected_usd: Mapping[str, float]) -> GradedQuestion:
        """A question as calibration takes it; `expected_usd` is what the engine expects each model to cost."""
        texts = {profile.name: answer.text for profile, answer in zip(self.profiles, self.answers[row], strict=True)}
        right = {name: bool(score >= RIGHT) for name, score in zip(self.models, self.scores[row], strict=True)}
        usd = dict(zip(self.models, self.usd(row), strict=True))
        return GradedQuestion.of_texts(self.questions[row], texts, right, usd, expected_usd)

    def usd(self, row: int) -> list[float]:
        """What each model's answer to a question cost, in USD; 0 for a model without known prices."""
        paid = zip(self.profiles, self.answers[row], strict=True)
        return [p.cost_usd(answer.input_tokens, answer.output_tokens) or 0.0 for p, answer in paid]


def answers_of_log(outcomes: Sequence[Outcome], profiles: Mapping[str, ModelProfile]) -> GradedAnswers:
    """The queries of a log that every model of the fleet answered; of an answer graded again, the mean score counts.

    Raises `ConfigError` where there is none, or an answer is without its text.
    """
    by_query: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        if outcome.model in profiles:
            by_query.setdefault(outcome.query, {}).setdefault(outcome.model, []).append(outcome)
    graded = {query: {name: _as_one(each) for name, each in found.items()} for query, found in by_query.items()}
    complete = {query: found for query, found in graded.items() if len(found) == len(profiles)}
    if not complete:
        seen = sorted({outcome.model for outcome in outcomes})
        raise ConfigError(
            f"no query of the log was answered by all models of the fleet ({', '.join(profiles)}); it holds answers of "
            f"{', '.join(seen) or 'none'}",
            remedy=f"Write {ANSWERS_NEEDED}",
        )
    without = next((o for found in complete.values() for o in found.values() if o.answer is None), None)
    if without is not None:
        raise ConfigError(
            f"the log holds no text of the answer of {without.model!r} to {without.query[:60]!r}",
            remedy=f"Write {ANSWERS_NEEDED}",
        )
    return GradedAnswers(
        tuple(complete),
        tuple(profiles.values()),
        tuple(
            tuple(recorded_answer(found[name], profile) for name, profile in profiles.items())
            for found in complete.values()
        ),
        np.array([[found[name].score for name in profiles] for found in complete.values()], dtype=float),
        1.0 - sum(map(len, by_query.values())) / sum(outcome.model in profiles for outcome in outcomes),
        tuple(_remarks(outcomes, profiles, by_query, complete)),
    )


def _as_one(graded: Sequence[Outcome]) -> Outcome:
    return replace(graded[-1], score=sum(each.score for each in graded) / len(graded))


def _remarks(
    outcomes: Sequence[Outcome],
    profiles: Mapping[str, ModelProfile],
    by_query: Mapping[str, Mapping[str, Sequence[Outcome]]],
    complete: Mapping[str, Mapping[str, Outcome]],
) -> Iterator[str]:
    """What of a log is left out or taken for granted, for whoever reads what came of it."""
    unknown = sorted({outcome.model for outcome in outcomes} - profiles.keys())
    if unknown:
        yield f"left out: answers of {', '.join(unknown)}, which the configuration does not have"
    if len(complete) < len(by_query):
        yield f"left out: {len(by_query) - len(complete)} queries that not every model of the configuration answered"
    parted = [
        query for query, found in by_query.items() if any(len({o.score for o in each}) > 1 for each in found.values())
    ]
    if parted:
        yield f"{len(parted)} queries have grades that differ; their mean counts: {parted[0][:60]!r}"
    if any(outcome.output_tokens is None for found in complete.values() for outcome in found.values()):
        assumed = ", ".join(f"{name} {profile.output_tokens:.0f}" for name, profile in profiles.items())
        yield f"costs: the log does not say all output_tokens, so these are assumed for an answer: {assumed}"


def answers_of_fleet(graded: Graded, profiles: Mapping[str, ModelProfile]) -> GradedAnswers:
    """What a fleet just said, graded."""
    return GradedAnswers(
        tuple(reply.question for reply in graded.replies),
        tuple(profiles.values()),
        tuple(
            tuple(RecordedAnswer(reply.texts[name], *reply.tokens[name]) for name in profiles)
            for reply in graded.replies
        ),
        np.array([[float(reply.right[name]) for name in profiles] for reply in graded.replies]),
    )
