"""Searches a whole configuration on graded answers, and says which change may be made.

Recipes of changes are tried by the real engine over the recorded answers, each question by a change that was made from
others, until they lose too much (`promotion`). No model is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.config.models import Config, PromiseConfig
from orchestrator.errors import ConfigError
from orchestrator.router import Router
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.promotion import TestedRecipe, judge, level_of, loses_too_much
from orchestrator.tuning.recipes import Recipe, ladders
from orchestrator.tuning.stage import PRESENT, Stage, TrialPool
from orchestrator.tuning.trial import Proposal, Rows, Trial

FEWEST = 60
"""Questions: fewer can show nothing of a loss of a few points."""
FEWEST_RIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    `tested` are the recipes that were tried, ladder by ladder; `present_*` is the present configuration on all
    questions; `made` is the promoted recipe, made from all of them.
    """

    questions: int
    present_score: float
    present_usd: float
    tested: tuple[TestedRecipe, ...]
    made: Proposal | None
    seconds: float

    @property
    def promoted(self) -> TestedRecipe | None:
        """The change that may be made, if there is one."""
        return next((found for found in self.tested if found.outcome == "promoted"), None)


def tune(
    config: Config,
    answers: GradedAnswers,
    *,
    max_loss: float = 0.03,
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
    check_config(config)
    _check_grades(answers)
    order = np.random.default_rng(seed).permutation(len(answers))
    with TrialPool(Stage(config, answers, router), workers) as pool:
        tell(f"trying the present configuration on {len(answers)} questions")
        present = pool.trial(PRESENT, order)()
        rungs = ladders(config, float(present.usd.mean()))
        each_s = time.perf_counter() - began
        tell(f"that took {each_s:.0f} s, a change takes about as long; at most {sum(map(len, rungs))} are tried")
        climbed = _climb(pool, rungs, present, order, max_loss=max_loss, confidence=confidence, tell=tell)
    judged = judge(present, climbed, max_loss=max_loss, confidence=confidence, seed=seed)
    best = next((each for each in judged if each.outcome == "promoted"), None)
    made = None
    if best is not None:
        name = best.trial.proposal.name
        recipe = next(recipe for ladder in rungs for recipe in ladder if recipe.name == name)
        made = recipe.make(answers, order)
    return Tuned(
        len(answers),
        float(present.score.mean()),
        float(present.usd.mean()),
        tuple(judged),
        made,
        time.perf_counter() - began,
    )


def _climb(
    pool: TrialPool,
    rungs: Sequence[Sequence[Recipe]],
    present: Trial,
    order: Rows,
    *,
    max_loss: float,
    confidence: float,
    tell: Callable[[str], None],
) -> list[list[Trial]]:
    """Trials of each ladder up to the first that may lose too much; the ladders side by side."""
    climbed: list[list[Trial]] = [[] for _ in rungs]
    going = list(range(len(rungs)))
    while going:
        tell(f"trying: {', '.join(rungs[ladder][len(climbed[ladder])].name for ladder in going)}")
        begun = [(ladder, pool.cross_trial(rungs[ladder][len(climbed[ladder])], order)) for ladder in going]
        for ladder, trial in begun:
            climbed[ladder].append(trial())
        going = [
            ladder
            for ladder in going
            if len(climbed[ladder]) < len(rungs[ladder])
            and not loses_too_much(present, climbed[ladder][-1], max_loss=max_loss, level=level_of(ladder, confidence))
        ]
    return climbed


def _check_grades(answers: GradedAnswers) -> None:
    """Raises `ConfigError` on too few questions, and where hardly an answer is right: there is nothing to lose then."""
    check_count(len(answers))
    shares = dict(zip(answers.models, answers.scores.mean(axis=0).tolist(), strict=True))
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < FEWEST_RIGHT:
        raise ConfigError(
            f"hardly an answer is right: the best model, {best}, has a mean score of {shares[best]:.3f}",
            remedy="Look at the grades; give answers that can be compared: numbers, choices, dates, names",
        )


def check_config(config: Config) -> None:
    """Raises `ConfigError` on a configuration under a promise."""
    if isinstance(config.quality, PromiseConfig):
        raise ConfigError(
            "quality is a promise, whose certificate speaks of this very configuration",
            remedy="Tune with a plain quality: 0.85, then certify what was promoted",
        )


def check_count(questions: int) -> None:
    """Raises `ConfigError` on too few questions."""
    if questions < FEWEST:
        raise ConfigError(
            f"{questions} different graded questions are too few, {FEWEST} are needed",
            remedy="Grade more; some 300 show a loss of 3 points",
        )
