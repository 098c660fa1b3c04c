"""Certificates of a configured fleet.

Made from a log of graded outcomes, kept beside the router, checked when the fleet starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from orchestrator.config.models import Config, PromiseConfig
from orchestrator.errors import ConfigError
from orchestrator.router import ModelProfile, Outcome, Router, SuccessModel
from orchestrator.router.guarantee.certificate import (
    Certificate,
    Promise,
    Refusal,
    certify_settings,
    data_hash,
    fleet_settings,
)
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.tokens.estimate import estimate_tokens

FILE_NAME = "certificate.json"
HOW = "Make one with: orchestrator certify LOG"


def trained_router(folder: str) -> Router:
    """The router in `folder`. Raises `ConfigError`."""
    from orchestrator.memory import EncoderMismatch, encoder_for  # numpy

    try:
        trained_with = SuccessModel.encoder_of(folder)
        return Router(SuccessModel.load(folder, encoder=encoder_for(trained_with) if trained_with else None))
    except (OSError, ValueError, KeyError, ImportError, EncoderMismatch) as error:
        raise ConfigError(
            f"router: {folder!r} cannot be loaded: {error}", remedy="Make it with: orchestrator train-router LOG"
        ) from None


def certify_fleet(
    router: Router,
    profiles: Mapping[str, ModelProfile],
    promise: Promise,
    outcomes: Sequence[Outcome],
    versions: Mapping[str, str],
) -> tuple[Certificate | Refusal, int]:
    """A certificate from the queries that every model answered and the router was not trained on.

    And how many those are.

    Raises `ConfigError` if the reference is not in the fleet or a model has no price.
    """
    if promise.vs not in profiles:
        raise ConfigError(f"quality.vs: {promise.vs!r} is not in this fleet", remedy=f"It has: {', '.join(profiles)}")
    unpriced = [name for name, profile in profiles.items() if profile.cost_usd(1.0) is None]
    if unpriced:
        raise ConfigError(
            f"no price is known for {', '.join(unpriced)}", remedy="State input_usd_per_mtok and output_usd_per_mtok"
        )
    queries, graded = unseen_and_complete(router, list(profiles), outcomes)
    if not queries:
        return certify_settings((), promise), 0
    observed = np.array([[outcome.score for outcome in row] for row in graded])
    fleet = list(profiles.values())
    predicted, tokens, _ = router.success.assess(queries, fleet)
    lengths = np.tile([profile.output_tokens for profile in fleet], (len(queries), 1)) if tokens is None else tokens
    cost = np.array(
        [
            [p.cost_usd(estimate_tokens(q), n) or 0.0 for p, n in zip(fleet, row, strict=True)]
            for q, row in zip(queries, lengths, strict=True)
        ]
    )
    settings = fleet_settings(predicted, observed, cost, list(profiles).index(promise.vs))
    hashed = data_hash(predicted, observed)
    found = certify_settings(
        settings, promise, data_hash=hashed, policy_hash=policy_hash(router, profiles), model_versions=versions
    )
    return found, len(queries)


def unseen_and_complete(
    router: Router, models: Sequence[str], outcomes: Sequence[Outcome]
) -> tuple[list[str], list[list[Outcome]]]:
    """The queries that every model answered and the router was not trained on, and their outcomes in the order of
    `models`.

    Raises `ConfigError` if a model has no outcomes at all.
    """
    by_query: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        by_query.setdefault(outcome.query, {})[outcome.model] = outcome
    ungraded = [name for name in models if not any(name in graded for graded in by_query.values())]
    if ungraded:
        raise ConfigError(
            f"the logs hold no outcomes of {', '.join(ungraded)}",
            remedy="Grade every model of the fleet on the same queries",
        )
    complete = [query for query, graded in by_query.items() if all(name in graded for name in models)]
    queries = [query for query, seen in zip(complete, router.success.was_trained_on(complete), strict=True) if not seen]
    return queries, [[by_query[query][name] for name in models] for query in queries]


def policy_hash(router: Router, profiles: Mapping[str, ModelProfile], search: object = None) -> str:
    """Changes whenever a decision could.

    The router's weights, the fleet, its prices, and the settings of the search if those are covered.
    """
    prices = [
        (name, p.input_usd_per_mtok, p.output_usd_per_mtok, p.output_tokens, p.like, p.skill)
        for name, p in sorted(profiles.items())
    ]
    described = repr(prices) if search is None else repr((prices, search))
    return f"{router.success.fingerprint}-{data_hash(np.frombuffer(described.encode(), dtype=np.uint8))}"


def covered_search(config: Config) -> object:
    """What of the search a certificate depends on; `None` if it speaks of routing alone."""
    covers_search = isinstance(config.quality, PromiseConfig) and config.quality.covers == "search"
    if not covers_search:
        return None
    stated = config.strategy, config.value_usd, config.max_tokens
    return stated if config.search is None else (*stated, hashlib.sha256(Path(config.search).read_bytes()).hexdigest())


def model_versions(config: Config) -> dict[str, str]:
    """What each model of the configuration stands for: provider and model name."""
    return {name: f"{model.provider}/{model.model or name}" for name, model in config.models.items()}


def load_guarantee(config: Config, profiles: Mapping[str, ModelProfile], router: Router | None) -> Guard:
    """The guard of a configuration whose `quality` is a promise.

    Raises `ConfigError` when no valid certificate backs it.
    """
    assert isinstance(config.quality, PromiseConfig)
    if router is None or config.router is None:
        message = "quality: a promise needs a router trained on your own outcomes"
        raise ConfigError(message, remedy="Set router: FOLDER (orchestrator train-router LOG)")
    path = Path(config.router) / FILE_NAME
    try:
        certificate = Certificate.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"quality: {path} is missing, so nothing backs this promise", remedy=HOW) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"quality: {path} cannot be read: {error}", remedy=HOW) from None
    if certificate.promise != promised(config.quality):
        raise ConfigError(f"quality: {path} certifies another promise, {certificate.promise}", remedy=HOW)
    if not certificate.is_valid(
        now=datetime.now(UTC),
        policy_hash=policy_hash(router, graded_profiles(config, profiles), covered_search(config)),
        model_versions=model_versions(config),
    ):
        message = f"quality: {path} is void: it expired, or the router, the models or their prices changed"
        raise ConfigError(message, remedy=HOW)
    return Guard.of(certificate)


TELL_THEMSELVES = ("calculator", "extractive")
"""Providers whose models know whether they can answer."""


def graded_profiles(config: Config, profiles: Mapping[str, ModelProfile]) -> dict[str, ModelProfile]:
    """The models whose quality is a matter of outcomes.

    All but those that tell by themselves whether they can answer.
    """
    return {name: profile for name, profile in profiles.items() if config.models[name].provider not in TELL_THEMSELVES}


def promised(config: PromiseConfig) -> Promise:
    """The promise that a configuration states."""
    return Promise(config.max_loss, config.confidence, config.vs, config.kind, config.covers)
