"""From a configuration, or from what is found on this machine, to the settings of an `Orchestrator`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.backends.base import Backend
from orchestrator.budget import Budget
from orchestrator.config import defaults
from orchestrator.config.models import Config, OnlineConfig, PromiseConfig
from orchestrator.decisions.calibration import load_calibrations
from orchestrator.engine.execute import Executor
from orchestrator.errors import ConfigError
from orchestrator.fleet.build import WHAT_TO_ADD, Fleet, fleet_from_config
from orchestrator.fleet.memory import open_memory
from orchestrator.jsontypes import JsonObject
from orchestrator.learning.certificates import load_guarantee, trained_router
from orchestrator.learning.online import OnlineLearner
from orchestrator.learning.shadow_audits import Grader, ShadowAudits
from orchestrator.router import Router
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.speed import Speeds
from orchestrator.search.calibration.calibration import calibrated_settings
from orchestrator.storage import DecisionLog
from orchestrator.verification.from_config import checks_from_config


def settings_from_config(config: Config, overrides: JsonObject) -> JsonObject:
    """The arguments of `Orchestrator` that a configuration stands for.

    `overrides` win, and what they replace is not built.

    Raises `ConfigError`.
    """
    fleet = fleet_from_config(config)
    settings: dict[str, Any] = {"backends": fleet.backends, **_plain_settings(config, fleet)}
    if config.memory is not None and "memory" not in overrides:
        settings["memory"] = open_memory(config.memory)
    if config.checks is not None and "verifiers" not in overrides:
        settings["verifiers"] = checks_from_config(config.checks, fleet.backends)
    if config.search is not None and "strategy" not in overrides:
        settings |= calibrated_settings(config, fleet.backends)
    if config.router is not None and "router" not in overrides:
        settings["router"] = trained_router(config.router)
    if isinstance(config.quality, PromiseConfig) and "guarantee" not in overrides:
        profiles = {name: backend.profile for name, backend in fleet.backends.items()}
        settings["guarantee"] = load_guarantee(config, profiles, settings["router"])
    return {**settings, **overrides}


def _plain_settings(config: Config, fleet: Fleet) -> JsonObject:
    """What a configuration states as it is needed."""
    return {
        "router": None,
        "memory": None,
        "budget": Budget(**config.budget.model_dump()),
        "quality": config.quality if isinstance(config.quality, float) else defaults.QUALITY,
        "value_usd": config.value_usd,
        "usd_per_second": config.usd_per_second,
        "strategy": config.strategy,
        "max_tokens": config.max_tokens,
        "memory_tokens": config.memory.token_budget if config.memory else 0,
        "online": config.online,
        "calibrations": load_calibrations(config.calibration),
        "origin": fleet.origin,
    }


def check_fleet(backends: Mapping[str, Backend]) -> None:
    """Raises `ConfigError` on a fleet without models, or with a backend under another name than its own."""
    if not backends:
        raise ConfigError("the fleet is empty", remedy=WHAT_TO_ADD)
    for name, backend in backends.items():
        if backend.profile.name != name:
            raise ConfigError(
                f"the backend under {name!r} is called {backend.profile.name!r}", remedy="Give both the same name"
            )


def make_executor(
    backends: Mapping[str, Backend],
    router: Router,
    speeds: Speeds,
    guarantee: Guard | None,
    online: OnlineConfig | str | Path | None,
    grader: Grader | None,
    rng: random.Random | None,
) -> Executor:
    """What carries out plans, with a decision log (settings, or the path of one) and audits where they are asked
    for.
    """
    if online is None:
        return Executor(backends, speeds=speeds, online=None, audits=None, promised=guarantee)
    settings = online if isinstance(online, OnlineConfig) else OnlineConfig(path=str(online))
    decisions = DecisionLog(settings.path, keep_days=settings.keep_days)
    learner = OnlineLearner(decisions, router, settings=settings, is_frozen=guarantee is not None, rng=rng)
    learner.start({name: backend.profile for name, backend in backends.items()})
    audits = None
    if guarantee is not None:
        audits = ShadowAudits(guarantee, decisions, dict(backends), settings, grader=grader, rng=rng)
    return Executor(backends, speeds=speeds, online=learner, audits=audits, promised=guarantee)
