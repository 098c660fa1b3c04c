"""From settings in Python, or from a configuration, to the parts of an `Orchestrator`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from orchestrator.backends.base import Backend
from orchestrator.backends.local.student import StudentBackend
from orchestrator.budget import Budget
from orchestrator.budget.limits import plain_number
from orchestrator.config import defaults
from orchestrator.config.distill_job import load_job
from orchestrator.config.models import Config, DistillConfig, OnlineConfig, PromiseConfig
from orchestrator.decisions.calibration import load_calibrations
from orchestrator.engine.execute import Executor
from orchestrator.engine.fleet_settings import FleetSettings, check_fleet_settings
from orchestrator.engine.plan import find_strategy
from orchestrator.engine.planner import Planner, QueryDefaults
from orchestrator.engine.settings import check_models, check_strategy
from orchestrator.engine.trace_log import TraceLog
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.fleet.build import WHAT_TO_ADD, Fleet, fleet_from_config
from orchestrator.fleet.memory import open_memory
from orchestrator.fleet.named import Model, ModelLike, connect_fleet
from orchestrator.jsontypes import JsonObject
from orchestrator.learning.certificates import load_guarantee, trained_router
from orchestrator.learning.online import OnlineLearner
from orchestrator.learning.shadow_audits import Grader, ShadowAudits
from orchestrator.learning.student_watch import StudentWatch
from orchestrator.router import Router
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.speed import Speeds
from orchestrator.search.calibration.calibration import calibrated_settings
from orchestrator.search.state import SearchState
from orchestrator.search.vote_model import VoteModel
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import StudentLog
from orchestrator.verification.from_config import checks_from_config
from orchestrator.verifiers import Ensemble

if TYPE_CHECKING:
    from orchestrator.memory import Memory

T = TypeVar("T")


def settings_from_config(config: Config, overrides: FleetSettings) -> JsonObject:
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
    if config.traces.path is not None and "traces" not in overrides:
        settings["traces"] = TraceLog.of_config(config)
    if config.tools and "catalog" not in overrides:
        from orchestrator.tools.catalog import ToolCatalog

        settings["catalog"] = ToolCatalog(config.tools, config.folder)
    if isinstance(config.quality, PromiseConfig) and "guarantee" not in overrides:
        profiles = {name: backend.profile for name, backend in fleet.backends.items()}
        settings["guarantee"] = load_guarantee(config, profiles, settings["router"])
    settings.update(overrides)
    return settings


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
        "fallbacks": config.fallbacks,
        "storage": config.storage,
        "distill": config.distill,
    }


@dataclass(frozen=True, slots=True)
class Assembled:
    """The parts of an engine."""

    backends: dict[str, Backend]
    memory: Memory | None
    router: Router
    budget: Budget
    speeds: Speeds
    executor: Executor
    search: SearchState
    planner: Planner
    fallbacks: tuple[str, ...]


def assemble(models: Sequence[ModelLike | Mapping[str, ModelLike]], settings: FleetSettings) -> Assembled:
    """Checks what a fleet was set up with, and makes its parts.

    Raises `InvalidArgument`, `InvalidBudget`, `UnknownModel` or `ConfigError`, each with what to write instead.
    """
    settings = cast("FleetSettings", {name: plain_number(value) for name, value in settings.items()})
    check_fleet_settings(settings)
    backends = connect_fleet([*models, settings.get("backends") or {}])
    check_fleet(backends)
    budget = Budget.parse(settings.get("budget"))
    check_prices(models, backends, budget)
    fallbacks = tuple(settings.get("fallbacks") or ())
    check_models(fallbacks, backends)
    if fallbacks and set(fallbacks) >= backends.keys():
        raise InvalidArgument("every model of the fleet is a fallback", remedy="Leave at least one out of fallbacks")
    router = settings.get("router") or Router()
    memory = _memory(settings.get("memory"))
    speeds = Speeds(backend.profile for backend in backends.values())
    guarantee, rng = settings.get("guarantee"), settings.get("rng")
    online, grader = settings.get("online"), settings.get("grader")
    executor = make_executor(backends, router, speeds, guarantee, online, grader, rng)
    executor.students = watch_students(backends, settings.get("distill"), rng)
    search = SearchState(
        "",
        (),
        {},
        value_usd=_or(settings.get("value_usd"), defaults.VALUE_USD),
        usd_per_second=settings.get("usd_per_second") or 0.0,
        vote_model=settings.get("vote_model") or VoteModel(),
        ensemble=settings.get("ensemble") or Ensemble(),
        revisions=dict(settings.get("revisions") or {}),
    )
    of_query = QueryDefaults(
        _or(settings.get("quality"), defaults.QUALITY),
        find_strategy(check_strategy(settings.get("strategy") or defaults.STRATEGY)),
        settings.get("max_tokens") or defaults.MAX_TOKENS,
        _or(settings.get("memory_tokens"), defaults.MEMORY_TOKENS),
        budget,
        tuple(settings.get("verifiers") or ()),
        fallbacks,
        settings.get("timeout"),
        settings.get("retries"),
    )
    planner = Planner(backends, router, memory, of_query, search, speeds=speeds, promises=executor)
    return Assembled(backends, memory, router, budget, speeds, executor, search, planner, fallbacks)


def _or(stated: T | None, default: T) -> T:
    return default if stated is None else stated


def _memory(stated: Memory | str | Path | None) -> Memory | None:
    if not isinstance(stated, str | Path):
        return stated
    from orchestrator.memory import Memory  # FAISS is loaded only where there is a memory

    return Memory(stated)


def check_fleet(backends: Mapping[str, Backend]) -> None:
    """Raises `ConfigError` on a fleet without models, or with a backend under another name than its own."""
    if not backends:
        raise ConfigError(
            "the fleet is empty",
            remedy='Name a model, Orchestrator("openai/gpt-5-mini"), or await Orchestrator.at_hand(). ' + WHAT_TO_ADD,
        )
    for name, backend in backends.items():
        if backend.profile.name != name:
            raise ConfigError(
                f"the backend under {name!r} is called {backend.profile.name!r}", remedy="Give both the same name"
            )


def check_prices(
    stated: Sequence[ModelLike | Mapping[str, ModelLike]], backends: Mapping[str, Backend], budget: Budget
) -> None:
    """Raises `ConfigError` where a model is named whose price nobody knows, and money is limited: it never answers."""
    if budget.usd is None:
        return
    for one in stated:
        for name, model in one.items() if isinstance(one, Mapping) else [(None, one)]:
            if not isinstance(model, str | Model):
                continue
            key = name or (model if isinstance(model, str) else model.alias or model.name)
            if backends[key].profile.input_usd_per_mtok is None:
                whole = model if isinstance(model, str) else model.name
                raise ConfigError(
                    f"the price of {whole} is unknown, so under a budget of money it could never be asked",
                    remedy=f"State it in a configuration, or Model({whole!r}, input_usd_per_mtok=..., "
                    "output_usd_per_mtok=...); 0 for a server of your own",
                )


def watch_students(
    backends: Mapping[str, Backend], stated: DistillConfig | str | Path | None, rng: random.Random | None
) -> StudentWatch | None:
    """What watches the fleet's students, where it has any or will have; `None` for a fleet without."""
    students = {name: backend for name, backend in backends.items() if isinstance(backend, StudentBackend)}
    if stated is None and not students:
        return None
    settings = stated if isinstance(stated, DistillConfig) else DistillConfig()
    path = str(stated) if isinstance(stated, str | Path) else settings.path
    tasks = {job.name: job.task.as_task() for job in map(load_job, settings.jobs)}
    return StudentWatch(StudentLog(path), students, tasks, backends, rng)


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
