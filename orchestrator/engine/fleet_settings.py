"""Everything that a fleet can be set up with, in Python; the configuration file has the same words."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from orchestrator.budget import BudgetLike
from orchestrator.config.models import DistillConfig, OnlineConfig
from orchestrator.decisions import ProbabilityCalibration
from orchestrator.engine.settings import check_listener
from orchestrator.engine.storage import EngineStorage
from orchestrator.engine.trace_log import TraceLog
from orchestrator.errors import InvalidArgument
from orchestrator.learning.shadow_audits import Grader
from orchestrator.router import Router
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.search.revisions import RevisionOdds
from orchestrator.search.state import Strategy
from orchestrator.search.vote_model import VoteModel
from orchestrator.telemetry import Telemetry
from orchestrator.tools import ToolLike
from orchestrator.tools.catalog import ToolCatalog
from orchestrator.trace import Event
from orchestrator.verifiers import Ensemble, Verifier

if TYPE_CHECKING:
    from orchestrator.fleet.named import ModelLike
    from orchestrator.memory import Memory


class FleetSettings(TypedDict, total=False):
    """The settings of `Orchestrator`; what is left out has the default of docs/configuration.md."""

    backends: Mapping[str, ModelLike]
    """More models, by the names that the fleet gives them."""
    memory: Memory | str | Path | None
    """A memory, or the path of its file."""
    router: Router | None
    """Decides which models are adequate; the shipped one by default."""
    budget: BudgetLike | None
    """Limits of every query, unless it brings tighter ones: `0.02`, `"$0.02"`, `{"usd": 0.02, "seconds": 10}`."""
    quality: float
    """P(correct) in [0, 1] at which a search stops."""
    guarantee: Guard | None
    """Answers within a certificate instead of by `quality`, unless a query names its own quality or strategy."""
    value_usd: float
    """What a right answer is worth: a draft is bought only if it raises P(correct) by more than its price over this."""
    strategy: str | Strategy
    """How answers are searched for; `single` asks one model once."""
    max_tokens: int
    """The longest answer, in tokens."""
    memory_tokens: int
    """How many tokens of a prompt memories may fill."""
    vote_model: VoteModel | None
    """How likely two wrong answers are the same."""
    verifiers: Sequence[Verifier]
    """What every answer is checked by."""
    ensemble: Ensemble | None
    """What verdicts are worth."""
    revisions: Mapping[str, RevisionOdds] | None
    """What a revision by each model was worth before."""
    usd_per_second: float
    """What a second less to wait is worth, in USD."""
    online: OnlineConfig | str | Path | None
    """Keeps every decision, learns from `feedback`, explores and audits: settings, or just the path of a log."""
    distill: DistillConfig | str | Path | None
    """Students that learn from this fleet: settings, or just the path where what they do is kept."""
    grader: Grader | None
    """Compares answers in audits."""
    rng: random.Random | None
    """Where chance comes from."""
    calibrations: Mapping[str, ProbabilityCalibration] | None
    """How far models' stated probabilities can be believed."""
    origin: str
    """Where the models came from, in a sentence."""
    fallbacks: Sequence[str]
    """Models that are asked, in this order, only when the others failed."""
    timeout: float | None
    """The longest that one try of a call to a model may take, in seconds; for the whole query: `budget`."""
    retries: int | None
    """How often a call that failed without an answer is made again."""
    telemetry: Telemetry | bool | Literal["1.41", "latest"] | None
    """OpenTelemetry spans of every query and run, to the program's own tracer provider (extra `telemetry`)."""
    tools: Sequence[ToolLike]
    """What models may call in every query that names no tools of its own."""
    catalog: ToolCatalog | None
    """Tools that queries may name: those of a configuration."""
    storage: EngineStorage | str | Path | None
    """A file, or a postgresql:// address, for conversations and for runs that use tools: they outlive the process."""
    traces: TraceLog | str | Path | None
    """A file, or a postgresql:// address, where every query's trace is kept: `orchestrator ui` shows them."""
    on_event: Callable[[Event], None] | None
    """Told of everything that happens in every query, as it happens."""


FLEET_SETTINGS = FleetSettings.__annotations__


def check_fleet_settings(settings: FleetSettings) -> None:
    """Raises `InvalidArgument` on a value of another kind than its setting takes, with what to write instead."""
    for name, (is_right, what, remedy) in _KINDS.items():
        value: Any = settings.get(name)
        if value is not None and not is_right(value):
            kind = (
                f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} ({value!r:.40})"
            )
            raise InvalidArgument(f"{name} must be {what}, not {kind}", remedy=remedy)
    check_listener("on_event", settings.get("on_event"), "an Event")
    for number, verifier in enumerate(settings.get("verifiers", ())):
        if isinstance(verifier, type):
            raise InvalidArgument(
                f"verifiers[{number}] is the class {verifier.__name__}, not a verifier",
                remedy=f"Make one: {verifier.__name__}(...)",
            )
        if not callable(getattr(verifier, "verify", None)) or not hasattr(verifier, "name"):
            raise InvalidArgument(
                f"verifiers[{number}] is no verifier but {type(verifier).__name__}",
                remedy="A verifier has a name and a coroutine verify(query, candidate): docs/plugins.md",
            )


def _is_number(least: float, most: float) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return check


def _is_count(least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _has(*methods: str) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, type) and all(hasattr(value, method) for method in methods)


_LARGE = 1e12
_DOLLARS = ("a number of dollars, at least 0", "value_usd=0.05 is 5 cents")
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "backends": (lambda value: isinstance(value, Mapping), "a mapping from names to models", 'backends={"fast": ...}'),
    "memory": (
        lambda value: isinstance(value, str | Path) or _has("recall", "remember")(value),
        "a Memory or the path of its file",
        'memory="memory.db", or memory=Memory("memory.db")',
    ),
    "router": (_has("assess"), "a Router", "Leave it out for the shipped one"),
    "quality": (_is_number(0, 1), "a probability in [0, 1]", "0.9 asks for a 90 % chance of being right"),
    "guarantee": (_has("certificate", "threshold"), "a Guard", "docs/router.md tells how a promise is made"),
    "value_usd": (_is_number(0, _LARGE), *_DOLLARS),
    "usd_per_second": (_is_number(0, _LARGE), *_DOLLARS),
    "max_tokens": (_is_count(1), "a whole number of tokens, at least 1", "max_tokens=500"),
    "memory_tokens": (_is_count(0), "a whole number of tokens, at least 0", "0 gives a prompt no memories"),
    "verifiers": (
        lambda value: isinstance(value, Sequence) and not isinstance(value, str),
        "a list",
        "verifiers=[...]",
    ),
    "revisions": (lambda value: isinstance(value, Mapping), "a mapping from models to RevisionOdds", "Leave it out"),
    "online": (
        lambda value: isinstance(value, str | Path | OnlineConfig),
        "an OnlineConfig or the path of a decision log",
        'online="decisions.db"',
    ),
    "grader": (callable, "a function", "Leave it out for the usual one"),
    "rng": (_has("random"), "a random.Random", "rng=random.Random(1)"),
    "calibrations": (lambda value: isinstance(value, Mapping), "a mapping", "Leave it out"),
    "origin": (lambda value: isinstance(value, str), "text", "Leave it out"),
    "fallbacks": (
        lambda value: isinstance(value, Sequence) and not isinstance(value, str),
        "a list of names of models",
        'fallbacks=["openai/gpt-5-mini"]',
    ),
    "timeout": (lambda value: _is_number(0, _LARGE)(value) and value > 0, "a number of seconds above 0", "timeout=30"),
    "storage": (
        lambda value: isinstance(value, str | Path | EngineStorage),
        "the path of a file, or a postgresql:// address",
        'storage="orchestrator.db"',
    ),
    "traces": (
        lambda value: isinstance(value, str | Path | TraceLog),
        "the path of a file, or a postgresql:// address",
        'traces="traces.db"',
    ),
    "retries": (lambda value: _is_count(0)(value) and value <= 20, "a whole number from 0 to 20", "retries=2"),
}
