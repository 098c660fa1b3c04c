"""Where configurations are tried: recorded models under the real engine, in this process or in several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import cached_property, partial, reduce
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

import numpy as np

from orchestrator.budget import Budget
from orchestrator.config.models import Config
from orchestrator.engine.fleet_settings import FleetSettings
from orchestrator.learning.certificates import trained_router
from orchestrator.offline.rehearsal import rehearse
from orchestrator.router import Outcome, Router
from orchestrator.search.calibration.calibration import calibrated_settings
from orchestrator.search.vote_table import GradedQuestion
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.proposals import policy_proposals
from orchestrator.tuning.trial import Proposal, Rows, Trial

CHUNK = 50  # questions of one task of a pool
MODEL = "models."


class Stage:
    """Tries changes to `config` on recorded answers; `select` are the rows that a router may be taught by."""

    def __init__(self, config: Config, answers: GradedAnswers, select: Rows, router: Router | None = None) -> None:
        self._config, self._answers, self._select = config, answers, select
        self._stated = router

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

    @cached_property
    def taught_router(self) -> Router:
        """The configuration's, after it was told how every model did on the selection questions."""
        router = Router(self.router.success)
        answers = self._answers
        outcomes = [
            Outcome(answers.questions[row], name, float(score))
            for row in self._select.tolist()
            for name, score in zip(answers.models, answers.scores[row].tolist(), strict=True)
        ]
        router.learn(outcomes, {profile.name: profile for profile in answers.profiles})
        return router

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
        if proposal.is_taught:
            stated["router"] = self.taught_router
        settings: FleetSettings = stated  # type: ignore[assignment]  # the names are those of FleetSettings
        return settings


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

    def trials(self, wanted: Sequence[tuple[Proposal, Rows]]) -> list[Trial]:
        """A trial of each proposal on its questions, in the given order."""
        if self._executor is None:
            return [self._stage.trial(proposal, rows) for proposal, rows in wanted]
        parts: list[list[Future[Trial]]] = []
        for proposal, rows in wanted:
            chunks = np.array_split(rows, max(1, len(rows) // CHUNK))
            parts.append([self._executor.submit(_trial, proposal, chunk) for chunk in chunks])
        # A trial comes back with a copy of its proposal: the one that was sent stands for it.
        return [
            Trial(proposal, found.score, found.usd)
            for (proposal, _), futures in zip(wanted, parts, strict=True)
            for found in (reduce(Trial.and_then, [future.result() for future in futures]),)
        ]

    def policies(self, questions: Sequence[GradedQuestion], usd_per_query: float) -> Callable[[], list[Proposal]]:
        """Begins to calibrate policies of the search on `questions`; they are had by calling what it gives."""
        if self._executor is None:
            return partial(policy_proposals, questions, usd_per_query)
        return self._executor.submit(policy_proposals, questions, usd_per_query).result


_stages: list[Stage] = []  # of a worker's process: the one that it was begun with


def _begin(stage: Stage) -> None:
    _stages[:] = [stage]


def _trial(proposal: Proposal, rows: Rows) -> Trial:
    return _stages[0].trial(proposal, rows)
