"""A search rehearsed on recorded answers.

What the fleet would have ended with at each target, without asking any model.

This is how a promise about a whole search is certified: the real engine runs over the answers in a log, from the safest
target to the cheapest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

import numpy as np

from orchestrator.backends.testing.recorded import RecordedAnswer, RecordedBackend, RecordedModel
from orchestrator.config.models import Config
from orchestrator.engine.fleet_settings import FleetSettings
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import ConfigError
from orchestrator.learning.certificates import covered_search, policy_hash, unseen_and_complete
from orchestrator.router import ModelProfile, Outcome, Router
from orchestrator.router.calibration import Array
from orchestrator.router.guarantee.certificate import (
    Certificate,
    Promise,
    Refusal,
    Setting,
    certify_settings,
    data_hash,
)
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Answer

TARGETS = (0.999, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.87, 0.84, 0.8, 0.75, 0.7, 0.6, 0.5)
AT_ONCE = 64


ANSWERS_NEEDED = 'Certify a search from answers: {"query": ..., "outcomes": {model: {"score": ..., "answer": ...}}}'


def certify_search(
    config: Config,
    router: Router,
    profiles: Mapping[str, ModelProfile],
    promise: Promise,
    outcomes: Sequence[Outcome],
    versions: Mapping[str, str],
) -> tuple[Certificate | Refusal, int]:
    """A certificate for the target at which the configured search stops, and from how many queries.

    Raises `ConfigError` if the reference is not in the fleet, or an outcome comes without the text of its answer.
    """
    if promise.vs not in profiles:
        raise ConfigError(f"quality.vs: {promise.vs!r} is not in this fleet", remedy=f"It has: {', '.join(profiles)}")
    queries, graded = unseen_and_complete(router, list(profiles), outcomes)
    without = next((outcome for row in graded for outcome in row if outcome.answer is None), None)
    if without is not None:
        message = f"the log holds no text of the answer of {without.model!r} to {without.query[:60]!r}"
        raise ConfigError(message, remedy=ANSWERS_NEEDED)
    scores = np.array([[outcome.score for outcome in row] for row in graded]).reshape(len(queries), len(profiles))
    settings = _settings(config, router, profiles, promise.vs, queries, graded, scores) if queries else iter(())
    hashed = policy_hash(router, profiles, covered_search(config))
    return certify_settings(
        settings, promise, data_hash=data_hash(scores), policy_hash=hashed, model_versions=versions
    ), len(queries)


def _settings(
    config: Config,
    router: Router,
    profiles: Mapping[str, ModelProfile],
    vs: str,
    queries: list[str],
    graded: list[list[Outcome]],
    scores: Array,
) -> Iterator[Setting]:
    names = list(profiles)
    models = [
        RecordedModel(
            replace(profile, ttft_s=0.0),
            {row[column].query.strip(): recorded_answer(row[column], profile) for row in graded},
        )
        for column, profile in enumerate(profiles.values())
    ]
    for target in TARGETS:
        found = asyncio.run(_answer_all(config, router, models, target, queries))
        final = np.array([row[names.index(model)] for row, (model, _) in zip(scores, found, strict=True)])
        without_reference = sum(vs not in asked for _, asked in found) / len(found)
        yield Setting(1.0 - target, scores[:, names.index(vs)] - final, without_reference)


async def _answer_all(
    config: Config, router: Router, models: Sequence[RecordedModel], target: float, queries: Sequence[str]
) -> list[tuple[str, frozenset[str]]]:
    """For each query the model whose answer was given, and all that were asked."""
    answers = await rehearse(
        models,
        queries,
        router=router,
        quality=target,
        strategy=config.strategy,
        value_usd=config.value_usd,
        max_tokens=config.max_tokens,
    )
    return [(answer.model, frozenset(candidate.model for candidate in answer.candidates)) for answer in answers]


async def rehearse(
    models: Sequence[RecordedModel], queries: Sequence[str], **settings: Unpack[FleetSettings]
) -> list[Answer]:
    """What an engine with these settings answers to each query, from recorded answers alone.

    Raises as `Orchestrator.answer` does, at the first query that cannot be answered.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    backends = {model.profile.name: RecordedBackend(model) for model in models}
    async with Orchestrator(backends, **settings) as engine:

        async def one(query: str) -> Answer:
            async with gate:
                return await engine.answer(query)

        return list(await asyncio.gather(*(one(query) for query in queries)))


def recorded_answer(outcome: Outcome, profile: ModelProfile) -> RecordedAnswer:
    """A graded answer of a log as a model says it; tokens that the log does not tell are estimated."""
    tokens = profile.output_tokens if outcome.output_tokens is None else outcome.output_tokens
    return RecordedAnswer(outcome.answer or "", estimate_tokens(outcome.query), round(tokens))
