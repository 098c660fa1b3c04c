"""Searches a whole configuration on graded answers, and says which change may be made.

One half of the questions, drawn at random, selects: every change is tried there by the real engine over the recorded
answers. The other half tests the few that looked best (`promotion`). No model is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.config.models import Config, PromiseConfig
from orchestrator.errors import ConfigError
from orchestrator.router import Router
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.promotion import TestedProposal, judge, most_hopeful, shortlist
from orchestrator.tuning.proposals import dominated_models, graded_questions, simple_proposals, taught_proposals
from orchestrator.tuning.stage import Stage, TrialPool
from orchestrator.tuning.trial import Proposal

PRESENT = Proposal("present configuration")
FEWEST = 60
"""Questions: half of them select, and fewer than thirty can show nothing of a loss of a few points."""
FIRST_LOOK = 50  # questions after which changes that look hopeless are dropped
SELECT_SHARE = 0.4  # of the questions; showing that little is lost takes more of them than finding what is cheap


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    `judged` are the proposals that were tested, in the order of the tests; `present_*` is the present configuration on
    the test questions.
    """

    questions: int
    tested_on: int
    tried: int
    present_score: float
    present_usd: float
    judged: tuple[TestedProposal, ...]
    seconds: float

    @property
    def promoted(self) -> TestedProposal | None:
        """The change that may be made, if there is one."""
        return next((found for found in self.judged if found.outcome == "promoted"), None)


def tune(
    config: Config,
    answers: GradedAnswers,
    *,
    max_loss: float = 0.02,
    confidence: float = 0.9,
    seed: int = 0,
    router: Router | None = None,
    workers: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """The change to `config` that is cheapest among those shown to lose at most `max_loss` of the mean score.

    `router` stands in for the configuration's. With several `workers` trials run in processes of their own.

    Raises `ConfigError` under a promise, and where too little is graded.
    """
    began = time.perf_counter()
    check_tunable(config, len(answers))
    order = np.random.default_rng(seed).permutation(len(answers))
    cut = round(SELECT_SHARE * len(order))
    select, test = order[:cut], order[cut:]
    with TrialPool(Stage(config, answers, select, router), workers) as pool:
        tell(f"trying the present configuration on {len(answers)} questions, and other settings on {len(select)}")
        simple = list(simple_proposals(config, dominated_models(answers, select)))
        questions = graded_questions(answers, select)
        simple += taught_proposals(questions, config.value_usd)
        early, late = select[:FIRST_LOOK], select[FIRST_LOOK:]
        (present,) = pool.trials([(PRESENT, order)])
        selected, tested = present.rows(np.arange(cut)), present.rows(np.arange(cut, len(order)))
        calibrated = pool.policies(questions, float(selected.usd.mean()))
        first = pool.trials([(proposal, early) for proposal in simple])
        hopeful = most_hopeful(selected.rows(np.arange(len(early))), first, max_loss=max_loss)
        policies = calibrated()
        tell(f"trying {len(hopeful)} of {len(simple)} settings that look well, and {len(policies)} policies")
        again = pool.trials([*((p, select) for p in policies), *((trial.proposal, late) for trial in hopeful)])
        trials = again[: len(policies)] + [
            trial.and_then(more) for trial, more in zip(hopeful, again[len(policies) :], strict=True)
        ]
        chosen = shortlist(selected, trials, max_loss=max_loss)
        tell(f"testing {len(chosen)} of {len(simple) + len(policies)} on the other {len(test)} questions")
        last = pool.trials([(trial.proposal, test) for trial in chosen])
    judged = judge(tested, last, max_loss=max_loss, confidence=confidence, seed=seed)
    return Tuned(
        len(answers),
        len(test),
        len(simple) + len(policies),
        float(tested.score.mean()),
        float(tested.usd.mean()),
        tuple(judged),
        time.perf_counter() - began,
    )


def check_tunable(config: Config, questions: int) -> None:
    """Raises `ConfigError` on a configuration under a promise, and on too few questions."""
    if isinstance(config.quality, PromiseConfig):
        raise ConfigError(
            "quality is a promise, whose certificate speaks of this very configuration",
            remedy="Tune with a plain quality: 0.85, then certify what was promoted",
        )
    if questions < FEWEST:
        raise ConfigError(
            f"{questions} graded questions are too few, {FEWEST} are needed: half of them test",
            remedy="Grade more; some 300 show a loss of 2 points",
        )
