"""Where configurations are tried: recorded models under the real engine, in this process or in several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cached_property, partial
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self, cast

import numpy as np

from orchestrator.budget import Budget
from orchestrator.config.models import Config
from orchestrator.engine.fleet_settings import FleetSettings
from orchestrator.learning.certificates import trained_router
from orchestrator.offline.rehearsal import rehearse
from orchestrator.router import Outcome, Router
from orchestrator.search.calibration.calibration import calibrated_settings
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.recipes import Recipe
from orchestrator.tuning.trial import Proposal, Rows, Trial

PRESENT = Proposal("present configuration")
FOLDS = 2
CHUNK = 50  # questions of one task of a pool
MODEL = "models."


class Stage:
    """Tries changes to `config` on recorded answers; `router` stands in for the configuration's."""

    def __init__(self, config: Config, answers: GradedAnswers, router: Router | None = None) -> None:
        self._config, self._answers, self._stated = config, answers, router
        self._taught: dict[tuple[int, ...], Router] = {}

    def cross_trial(self, recipe: Recipe, rows: Rows, fold: int, folds: int) -> Trial:
        """What a recipe does to the questions of one fold of `rows`, made from those of the others."""
        in_fold = np.arange(len(rows)) % folds == fold
        return self.trial(recipe.make(self._answers, rows[~in_fold]), rows[in_fold])

    def trial(self, proposal: Proposal, rows: Rows) -> Trial:
        """What the configuration does to the questions number `rows` with the proposed change."""
        column = {name: index for index, name in enumerate(self._answers.models)}
        left_out = {path.removeprefix(MODEL) for path in proposal.changes if path.startswith(MODEL)}
        models = [model for model in self._recorded if model.profile.name not in left_out]
        queries = [self._answers.questions[row] for row in rows.tolist()]
        answers = asyncio.run(rehearse(models, queries, **self._settings(proposal)))
        score = [self._answers.scores[row, column[a.model]] for row, a in zip(rows.tolist(), answers, strict=True)]
        return Trial(proposal, np.array(score, dtype=float), np.array([a.cost_usd or 0.0 for a in answers]))

    @cached_property
    def _recorded(self) -> list[Any]:
        return self._answers.recorded()

    @cached_property
    def router(self) -> Router:
        """The configuration's."""
        if self._stated is not None:
            return self._stated
        return trained_router(self._config.router) if self._config.router is not None else Router()

    def taught_router(self, rows: Sequence[int]) -> Router:
        """The configuration's, after it was told how every model did on these questions."""
        if tuple(rows) not in self._taught:
            router, answers = Router(self.router.success), self._answers
            outcomes = [
                Outcome(answers.questions[row], name, float(score))
                for row in rows
                for name, score in zip(answers.models, answers.scores[row].tolist(), strict=True)
            ]
            router.learn(outcomes, {profile.name: profile for profile in answers.profiles})
            self._taught[tuple(rows)] = router
        return self._taught[tuple(rows)]

    def _settings(self, proposal: Proposal) -> FleetSettings:
        config = self._config
        stated: dict[str, Any] = {
            "budget": Budget(**config.budget.model_dump()),
            "quality": config.quality,
            "value_usd": config.value_usd,
            "usd_per_second": config.usd_per_second,
            "strategy": config.strategy,
            "max_tokens": config.max_tokens,
            "router": self.router,
            "fallbacks": [name for name in config.fallbacks if name in self._answers.models],
        }
        if config.search is not None and proposal.calibration is None:
            stated |= calibrated_settings(config, self._answers.models)
        if config.router is not None:
            stated["router"] = self.router  # it counts beside a calibration, as it does in a configuration
        stated |= {name: value for name, value in proposal.changes.items() if name in stated and value is not None}
        if proposal.calibration is not None:
            stated |= proposal.calibration.settings
        if proposal.taught_by:
            stated["router"] = self.taught_router(proposal.taught_by)
        return cast(FleetSettings, stated)


class TrialPool:
    """Runs trials side by side, each in chunks of its questions; with one worker in this process."""

    def __init__(self, stage: Stage, workers: int = 1) -> None:
        self._stage = stage
        self._executor: Executor | None = None
        if workers > 1:
            self._executor = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (stage,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def trial(self, proposal: Proposal, rows: Rows) -> Callable[[], Trial]:
        """Begins to try a change; the trial is had by calling what it gives."""
        futures = [self._submit(_trial, proposal, chunk) for chunk in np.array_split(rows, max(1, len(rows) // CHUNK))]
        return lambda: _joined(proposal, [future() for future in futures])

    def cross_trial(self, recipe: Recipe, rows: Rows, folds: int = FOLDS) -> Callable[[], Trial]:
        """Begins to try a recipe on each fold of the questions, made from the others.

        The trial that is had by calling what it gives is in order of `rows`.
        """
        futures = [self._submit(_cross_trial, recipe, rows, fold, folds) for fold in range(folds)]

        def gathered() -> Trial:
            found = [future() for future in futures]
            score, usd = np.zeros(len(rows)), np.zeros(len(rows))
            for fold, trial in enumerate(found):
                score[fold::folds], usd[fold::folds] = trial.score, trial.usd
            return Trial(Proposal(recipe.name), score, usd)

        return gathered

    def _submit(self, task: Callable[..., Trial], *arguments: Any) -> Callable[[], Trial]:
        if self._executor is not None:
            return self._executor.submit(task, *arguments).result
        return partial(task, *arguments, stage=self._stage)


def _joined(proposal: Proposal, trials: Sequence[Trial]) -> Trial:
    return Trial(proposal, np.concatenate([t.score for t in trials]), np.concatenate([t.usd for t in trials]))


_stages: list[Stage] = []  # of a worker's process: the one that it was begun with


def _begin(stage: Stage) -> None:
    _stages[:] = [stage]


def _trial(proposal: Proposal, rows: Rows, stage: Stage | None = None) -> Trial:
    return (stage or _stages[0]).trial(proposal, rows)


def _cross_trial(recipe: Recipe, rows: Rows, fold: int, folds: int, stage: Stage | None = None) -> Trial:
    return (stage or _stages[0]).cross_trial(recipe, rows, fold, folds)
