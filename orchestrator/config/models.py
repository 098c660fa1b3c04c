"""`orchestrator.yaml`: which models, what memory, what limits.

Every mistake is reported in one pass, with file:line:column and a suggestion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from orchestrator.config import defaults
from orchestrator.config.checks import ChecksConfig
from orchestrator.config.exact import Seconds
from orchestrator.config.fields import PROVIDERS, Address, Kept, Price, Share, Strict, known_encoder, usable_name
from orchestrator.config.model_entry import ModelConfig
from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.config.names import STRATEGY_ALIASES, STRATEGY_NAMES
from orchestrator.config.problems import FieldMistake, describe_problem, fields_at, mistakes_told, relevant_problems
from orchestrator.config.secrets import is_reference
from orchestrator.config.suggestions import suggest
from orchestrator.config.tools import AnyTool
from orchestrator.config.yaml_loader import Located, Unlocated, load_located
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping
from orchestrator.plugins.entry_points import STRATEGIES, plugin_names


class MemoryConfig(Strict):
    """Memory: where it is kept, how texts become vectors, and how much of it a query is given."""

    path: Kept = ".orchestrator/memory.db"
    """A file, or `postgresql://...` (extra `postgres`)."""
    token_budget: Annotated[int, Field(ge=0)] = defaults.MEMORY_TOKENS
    """How many tokens of a prompt memories may fill."""
    encoder: Annotated[str, AfterValidator(known_encoder)] = "static"
    """`static` ships with the package; `minilm` needs the extra `embeddings`, `multilingual` the extra of that name.

    `endpoint` is any server with OpenAI's /embeddings.
    """
    base_url: Address | None = None
    """Of an `endpoint`: the address that ends in `/v1`."""
    model: str | None = None
    """Of an `endpoint`: the model's name there."""
    key: str | None = None
    """`env:NAME` or `file:PATH`, for an endpoint that wants one."""
    encryption_key: str | None = None
    """`env:NAME` or `file:PATH` of 32 random bytes in base64: the file is sealed with them (extra `encryption`)."""
    reranker: str | None = None
    """Folder of a sentence-transformers CrossEncoder that looks again at the best fifty records (extra `embeddings`).
    """


class BudgetConfig(Strict):
    """Limits for one query."""

    usd: Price | None = None
    """At most so many USD."""
    tokens: Annotated[int, Field(ge=0)] | None = None
    """At most so many tokens, read and written."""
    seconds: Price | None = None
    """At most so long; the best answer until then is given."""
    calls: Annotated[int, Field(ge=0)] | None = None
    """At most so many calls of models."""


class PromiseConfig(Strict):
    """A quality that is guaranteed: lose at most `max_loss` against the model `vs`.

    Needs a certificate: `orchestrator certify`.
    """

    max_loss: Share
    """The mean loss of score that is allowed, in (0, 1)."""
    confidence: Share = 0.9
    """How sure that has to be, in (0, 1)."""
    vs: str
    """The reference: a model of this file."""
    kind: Literal["net", "gross"] = "net"
    """`net`: quality lost on balance; `gross`: every query on which the cheaper model was worse."""
    covers: Literal["routing", "search"] = "routing"
    """`routing`: one draft by the routed model.

    `search`: whatever the strategy ends with; certified from recorded answers.
    """


class OnlineConfig(Strict):
    """Learning from one's own traffic.

    Queries are kept in the file at `path`; answers are not, only what they are compared by.
    """

    path: str = ".orchestrator/decisions.db"
    """The decision log: a file, or `postgresql://...`."""
    learn: bool = True
    """Let feedback move the router (never under a promise: its certificate speaks of the router as it was)."""
    explore: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Share of queries that another model than the chosen one is asked first."""
    explore_extra_usd: Price = 0.001
    """What exploring may cost more than the chosen model, for one query."""
    audit: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    """Under a promise: share of the queries answered without the reference that it is asked afterwards, too."""
    audit_usd_per_day: Price = 1.0
    """What audits may cost in 24 hours, in USD."""
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 90.0
    """Older decisions are deleted when a fleet starts."""


def _known_strategy(name: str) -> str:
    name = STRATEGY_ALIASES.get(name, name)
    if name not in STRATEGY_NAMES:
        others = plugin_names(STRATEGIES)
        if name not in others:
            raise ValueError(f"unknown strategy {name!r}{suggest(name, [*STRATEGY_NAMES, *others])}")
    return name


class AuxiliaryConfig(Strict):
    """A model behind /v1/embeddings, /v1/rerank or /v1/moderations; it is asked for nothing else."""

    provider: Literal[PROVIDERS]  # type: ignore[valid-type]
    """Whose API it is."""
    model: str
    """The provider's name for it."""
    base_url: Address | None = None
    """The address that ends in `/v1`, where it is not the provider's own."""
    key: str | None = None
    """`env:NAME`, `file:PATH` or `command:PROGRAM`; else the provider's usual variable."""
    input_usd_per_mtok: Price | None = None
    """USD for a million tokens."""


class AutoConfig(Strict):
    """What a name `auto:NAME` stands for; what is left out is as the fleet has it."""

    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The P(correct) that is aimed at, in [0, 1]."""
    strategy: Annotated[str, AfterValidator(_known_strategy)] | None = None
    """How the search goes; `single` asks once."""
    objective: Literal["cheapest", "best"] = "cheapest"
    """The cheapest model that will do, or the best one."""


Arm = Literal["control", "variant"]


class ExperimentConfig(Strict):
    """Two ways to answer, compared on live traffic: each caller always gets the same one of them."""

    of: str = "auto"
    """What callers ask for: `auto` or `auto:NAME`. They get it as it is in the arm `control`."""
    against: str
    """What they get instead in the arm `variant`: another `auto:NAME`."""
    share: Share = 0.5
    """Of callers that are in the variant."""
    keys: list[str] = ["*"]
    """Whose requests take part: keys by their id or name."""
    by: Literal["key", "scope"] = "key"
    """What is always in the same arm: a key, or a scope (a user of whoever holds the key)."""

    def arm_of(self, name: str, unit: str) -> Arm:
        """The arm of a unit: decided by a hash of the experiment's name and the unit."""
        digest = hashlib.sha256(f"{name}\n{unit}".encode("utf-8", "replace")).digest()
        return "variant" if int.from_bytes(digest[:8]) < self.share * 2**64 else "control"


class CacheConfig(Strict):
    """Answers that are given again. Never across tenants, scopes, models or settings of a request."""

    semantic: Annotated[float, Field(ge=0.8, le=1)] | None = None
    """Also for questions with the same words, numbers and names that are this similar (cosine); `null`.

    Only for equal ones.
    """
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3_600.0
    """How long an answer may be given again."""
    most_bytes: Annotated[int, Field(gt=0)] = 64_000_000
    """How much the cache may hold."""
    pad_timing: bool = False
    """Let a cached answer take as long as the first one did, so that nobody can tell by a clock what others of the
    scope have asked.
    """


class OidcConfig(Strict):
    """An identity provider that people sign in to the dashboard with (OpenID Connect; extra `oidc`).

    It sends browsers back to `/ui/oidc/callback`.
    """

    issuer: Address
    """The provider's address, under which its metadata lie."""
    client_id: str
    """Under which the gateway is registered there."""
    client_secret: Annotated[str, AfterValidator(is_reference)] | None = None
    """`env:NAME` or `file:PATH`; a public client has none."""
    claim: str = "email"
    """The claim of the ID token that names a person."""
    keys: dict[str, str] = Field(min_length=1)
    """Whose key a person acts with, by its id or as ORGANISATION/NAME: `{"*@example.com": acme/staff}`.

    Who is named counts before the patterns.
    """


class GatewayConfig(Strict):
    """`orchestrator serve`."""

    database: Kept = ".orchestrator/gateway.db"
    """A file, or `postgresql://...` that many replicas share."""
    admin_key: str | None = None
    """`env:NAME` or `file:PATH`; without it one is made at the first start and shown once."""
    autos: dict[str, AutoConfig] = {
        "cheap": AutoConfig(quality=0.6, strategy="single"),
        "best": AutoConfig(quality=0.97, objective="best"),
    }
    """What `auto:NAME` stands for."""
    experiments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")], ExperimentConfig] = {}
    """A/B tests on live traffic, by name: `orchestrator eval ab NAME` says what they show."""
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """The longest that a request may take."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 33_554_432
    """Larger bodies are refused."""
    max_in_flight: Annotated[int, Field(gt=0)] = 2_000
    """Of one worker; what comes beyond is told to come again."""
    drain_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """How long requests may still run when it is told to end."""
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 90.0
    """Older records of requests are deleted."""
    cache: CacheConfig | None = None
    """Answers that are given again; `null`: none are."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """What is logged: this, and what is worse."""
    log_format: Literal["text", "json"] = "text"
    """Of the operator's log on standard error."""
    oidc: OidcConfig | None = None
    """An identity provider that people sign in to the dashboard with."""
    access_log: str | None = None
    """A file, or `-` for standard error: a line of JSON for each request, without its content."""
    tools: dict[str, list[str]] = {}
    """Which keys may have which tools of this file called here: `{"support-*": [orders, refund]}`, keys by id or name.
    """
    remember: bool | list[str] = False
    """Keys, by id or name, whose conversations are kept and remembered unless a request says otherwise; `true`: all."""
    priorities: dict[str, int] = {}
    """How urgent calls are at servers of vLLM and SGLang that schedule by priority, by the id or name of a key, a team
    or an organisation; 0 for all others. What callers themselves state does not count then.
    """
    cors: list[str] = []
    """Origins whose pages may call the gateway (`https://app.example.com`), or `*`.

    A key in a page is known to whoever opens it.
    """
    telemetry: Literal["1.41", "latest"] | None = None
    """OpenTelemetry spans in these GenAI conventions, sent where OTEL_EXPORTER_OTLP_ENDPOINT says (extra `telemetry`).
    """

    @model_validator(mode="after")
    def _experiments_can_be(self) -> Self:
        known = ["auto", *(f"auto:{name}" for name in self.autos)]
        for name, one in self.experiments.items():
            for arm, asked in (("of", one.of), ("against", one.against)):
                if asked not in known:
                    told = f"experiments.{name}: there is no {asked!r}{suggest(asked, known)}"
                    raise FieldMistake(told, "experiments", name, arm)
            if one.of == one.against:
                raise FieldMistake(f"experiments.{name}: both arms are {one.of}", "experiments", name, "against")
        asked_for = [one.of for one in self.experiments.values()]
        if len(set(asked_for)) < len(asked_for):
            told = "experiments: two of them are about the same `of`, and a request can be in one alone"
            raise FieldMistake(told, "experiments")
        return self


class TracesConfig(Strict):
    """What is kept of each request: its steps, and, if you say so, its texts."""

    path: Kept | None = None
    """Where the SDK and the commands keep traces: a file, or `postgresql://...`. None are kept unless named.

    The gateway keeps its own in `gateway.database`, always.
    """
    sample: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of requests whose steps are kept. What failed, and what took more than one model, is always kept."""
    content: bool = False
    """Whether questions, drafts and answers are kept as text. Whoever may see traces can read them then."""
    redact: str | None = None
    """`package.module:function`, called with each text before it is kept; gives what is kept instead."""
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """Of steps and texts. The row of each request, which money is counted by, stays `gateway.keep_days`."""


class DistillConfig(Strict):
    """Students that learn from this fleet."""

    path: str = ".orchestrator/students.db"
    """Where is kept what students did and what teachers said: a file, or `postgresql://...`."""
    jobs: list[str] = []
    """Files of jobs: what the fleet answers to queries of their tasks is kept, and the next student learns from it."""
    every: Seconds | None = None
    """How often the gateway makes new students of what was kept: `24h`, `7d`. Never unless named."""

    @model_validator(mode="after")
    def _has_jobs(self) -> Self:
        if self.every is not None and not self.jobs:
            raise ValueError("distill.every makes students of jobs, and none is named: jobs: [JOB.yaml]")
        return self


class Config(Strict):
    """The whole file."""

    _folder: Path = PrivateAttr(default_factory=Path)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where the file is: files and functions that its tools name are looked for there."""
        return self._folder

    @property
    def file(self) -> Path | None:
        """The file; `None` where the configuration was stated in Python."""
        return self._file

    version: Literal[1] = 1
    """Of this format; 1 is the only one."""
    models: dict[Annotated[str, AfterValidator(usable_name)], ModelConfig] = Field(min_length=1)
    """The fleet: a name for each model."""
    memory: MemoryConfig | None = MemoryConfig()
    """What is remembered, and where; `null`: nothing."""
    router: str | None = None
    """Folder of a router made by `orchestrator train-router`; without it the shipped one is used."""
    budget: BudgetConfig = BudgetConfig()
    """Limits of one query; nothing is begun that could exceed them."""
    online: OnlineConfig | None = None
    """Keep decisions, learn from feedback, explore, audit. Off unless named; `online: {}` takes the defaults."""
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | PromiseConfig = defaults.QUALITY
    """A target for P(correct), or a promise."""
    profiles: str = ".orchestrator/profiles.json"
    """What `orchestrator probe` measured of models; it fills in what is not stated here."""
    calibration: str = ".orchestrator/calibration.json"
    """What `orchestrator calibrate` found of how far models' stated probabilities can be believed."""
    search: str | None = None
    """What `orchestrator calibrate-search` found of the fleet: whom to ask, how models err together, when to stop."""
    checks: ChecksConfig | None = None
    """What every answer is checked for."""
    embeddings: dict[str, AuxiliaryConfig] = {}
    """Models for /v1/embeddings, beside the shipped one."""
    rerankers: dict[str, AuxiliaryConfig] = {}
    """Models for /v1/rerank."""
    moderations: dict[str, AuxiliaryConfig] = {}
    """Models for /v1/moderations; a request that names none is for the first."""
    gateway: GatewayConfig = GatewayConfig()
    """What `orchestrator serve` does."""
    pipelines: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")], str] = {}
    """Files of pipelines that the gateway serves, by the name behind `pipeline:`."""
    traces: TracesConfig = TracesConfig()
    """What is kept of each request, for the dashboard."""
    tools: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")], AnyTool] = {}
    """What models may call where a query, or a key of the gateway, names it."""
    distill: DistillConfig | None = None
    """Students that learn from this fleet; on with its defaults where a model is a student."""
    storage: Kept | None = None
    """A file, or `postgresql://...`, for conversations and for runs that use tools: they outlive the process."""
    value_usd: Price = defaults.VALUE_USD
    """What a right answer is worth.

    Another call is made if it raises P(correct) by more than its price divided by this.
    """
    usd_per_second: Price = 0.0
    """What a second less to wait is worth."""
    strategy: Annotated[str, AfterValidator(_known_strategy)] = defaults.STRATEGY
    """How a search decides what to ask next: `adaptive`, `single`, `cascade`, ..."""
    fallbacks: list[str] = []
    """Models of this file that are asked, in this order, only when the others failed."""
    max_tokens: Annotated[int, Field(gt=0)] = defaults.MAX_TOKENS
    """The longest answer, in tokens; its price is held back before each call."""


def read_config(stated: str | Path | JsonMapping | Config) -> Config:
    """A configuration from its file, from the same words as a mapping, or as it is.

    Raises `ConfigError` that lists every mistake in it.
    """
    if isinstance(stated, Config):
        return stated
    if isinstance(stated, str | Path):
        return load_config(stated)
    if not isinstance(stated, Mapping):
        raise ConfigError(
            f"a configuration must be a path, a dict or a Config, not {type(stated).__name__}",
            remedy='Orchestrator.from_config("orchestrator.yaml")',
        )
    return _validated(Unlocated(dict(stated)))


def load_config(path: str | Path) -> Config:
    """Reads a file. Raises `ConfigError` that lists every mistake in it."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", remedy="Check the path; orchestrator init writes one") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", remedy="Save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", remedy="Check the path and its permissions"
        ) from None
    config = _with_files_beside(parse_config(text, str(path)), path.parent)
    config._file = path.resolve()
    config._folder = config._file.parent
    return config


def _with_files_beside(config: Config, folder: Path) -> Config:
    """What was made for the configuration and lies beside it is used, wherever the program runs."""
    stated = {name: getattr(config, name) for name in ("router", "search", "profiles", "calibration")}
    beside = {name: str(folder / found) for name, found in stated.items() if found and (folder / found).exists()}
    return config.model_copy(update=beside) if beside else config


def parse_config(text: str, name: str = "<config>") -> Config:
    """The configuration in a text. Raises `ConfigError` with file, line and column of every mistake."""
    located = load_located(text, name)
    if not isinstance(located.value, dict):
        raise ConfigError(f"{name}:1:1: the file is empty or not a mapping", remedy="Start with `models:`")
    return _validated(located)


def _validated(located: Located | Unlocated) -> Config:
    try:
        config = Config.model_validate(located.value)
        problems = [
            *_unknown_fallbacks(located, config),
            *_unknown_tools(located, config),
            *_unknown_teachers(located, config),
        ]
    except ValidationError as error:
        problems = [
            describe_problem(located, problem, lambda where: fields_at(Config, where))
            for problem in relevant_problems(error, located.value)
        ]
    if problems:
        raise mistakes_told(problems) from None
    return config


def _unknown_fallbacks(located: Located | Unlocated, config: Config) -> Iterator[str]:
    for number, name in enumerate(config.fallbacks):
        if name not in config.models:
            yield located.describe(("fallbacks", number), f"unknown model {name!r}{suggest(name, list(config.models))}")
    if config.fallbacks and set(config.fallbacks) >= config.models.keys():
        yield located.describe(("fallbacks",), "every model is a fallback: leave at least one out")


def _unknown_teachers(located: Located | Unlocated, config: Config) -> Iterator[str]:
    for name, model in config.models.items():
        teacher = model.audits.teacher
        if teacher is not None and (teacher not in config.models or teacher == name):
            others = [other for other in config.models if other != name]
            told = f"unknown teacher {teacher!r}{suggest(teacher, others)}"
            yield located.describe(("models", name, "audits", "teacher"), told)


def _unknown_tools(located: Located | Unlocated, config: Config) -> Iterator[str]:
    for keys, names in config.gateway.tools.items():
        for number, name in enumerate(names):
            if name not in config.tools:
                told = f"unknown tool {name!r}{suggest(name, list(config.tools))}"
                yield located.describe(("gateway", "tools", keys, number), told)
