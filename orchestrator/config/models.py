"""`orchestrator.yaml`: which models, what memory, what limits.

Every mistake is reported in one pass, with file:line:column and a suggestion.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.config.names import STRATEGY_ALIASES, STRATEGY_NAMES
from orchestrator.config.yaml_loader import Located, load_located
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.plugins.entry_points import BACKENDS, ENCODERS, STRATEGIES, plugin_names
from orchestrator.providers.table import PROVIDERS as _HOSTED
from orchestrator.verifiers.registry import read_settings, verifier_names

ENCODER_NAMES = ("static", "minilm", "endpoint")
PROVIDERS = ("calculator", "extractive", "simulated", "recorded", *_HOSTED)
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
COMMAND_S = 30.0
MAX_NAMED = 6  # of the names that a mistake might have meant
MAX_CHOICES = 12  # of the values of one field
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,128}")
_OUR_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)
_COUNTED_FIELDS = frozenset(
    (
        "model messages input contents prompt stream n candidatecount bestof maxtokens maxcompletiontokens "
        "maxoutputtokens"
    ).split()
)
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _sendable_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise ValueError(
                f"{name!r} is no header that can be sent: names are letters, digits and -, values printable ASCII"
            )
        if name.lower() in _OUR_HEADERS:
            raise ValueError(f"the header {name!r} is set for each call anew and cannot be stated")
    return {name.lower(): value for name, value in headers.items()}


def _harmless_body(body: JsonObject) -> JsonObject:
    for name, value in body.items():
        if name.lower().replace("_", "") in _COUNTED_FIELDS:
            raise ValueError(
                f"{name!r} cannot be stated in extra_body: what a call may cost is reckoned from it. Use max_tokens of "
                "the request, or "
                "max_output_tokens of the model"
                if "token" in name.lower()
                else f"{name!r} cannot be stated in extra_body: it is set for each call anew"
            )
        if isinstance(value, dict):
            _harmless_body(value)
    return body


def _web_address(stated: str) -> str:
    from orchestrator.providers.addresses import checked_address

    return checked_address(stated)


def _known_provider(name: str) -> str:
    return _known("provider", name, PROVIDERS, BACKENDS)


def _known_encoder(name: str) -> str:
    return _known("encoder", name, ENCODER_NAMES, ENCODERS)


def _known(what: str, name: str, ours: Sequence[str], group: str) -> str:
    """A name of ours, or one that another package registers. Raises `ValueError` with a suggestion."""
    if name not in ours and name not in (others := plugin_names(group)):
        raise ValueError(f"unknown {what} {name!r}{_suggest(name, [*ours, *others], most=MAX_CHOICES)}")
    return name


Address = Annotated[str, AfterValidator(_web_address)]


class TlsConfig(_Strict):
    """Certificates.

    `ca` is a file of those that are trusted instead of the usual ones, `cert` and `key` are files of the client's own.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class ReplicaConfig(_Strict):
    """One of several servers of the same model."""

    base_url: Address
    pool: Literal["any", "prefill", "decode"] = "any"
    """Which calls it is for: those that are mostly reading, mostly writing, or all."""


class ModelConfig(_Strict):
    """One model of the fleet."""

    provider: Annotated[str, AfterValidator(_known_provider)]
    """Whose API; `compatible` is any OpenAI-compatible server at `base_url`.

    `orchestrator doctor --providers` lists them.
    """
    model: str | None = None
    """The provider's own name for the model."""
    base_url: Address | None = None
    """`${NAME}` in it is a variable of the environment."""
    replicas: list[ReplicaConfig] = []
    """Several servers of this model: calls go to the one that holds their prefix. Instead of `base_url`."""
    key: str | None = None
    """`env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENTS`; never the key itself.

    Default: the provider's usual environment variable.
    """
    input_usd_per_mtok: Price | None = None
    output_usd_per_mtok: Price | None = None
    cached_usd_per_mtok: Price | None = None
    cache_write_usd_per_mtok: Price | None = None
    """What the provider takes for writing a prefix to its cache for five minutes (OpenAI: thirty)."""
    cache_write_1h_usd_per_mtok: Price | None = None
    audio_input_usd_per_mtok: Price | None = None
    audio_output_usd_per_mtok: Price | None = None
    cache: Literal["auto", "off", "5m", "1h"] = "auto"
    """When a prefix is marked to be kept by the provider.

    Where that is expected to pay, never, or always for so long.
    """
    hedge: bool = False
    """Make a call again that takes longer than 95 % of those before it, and take the answer that comes first.

    Its worst case is reserved twice.
    """
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    """Default: as the price list has it, else 128,000."""
    effective_context_tokens: Annotated[int, Field(gt=0)] | None = None
    """How much of it the model uses well (`orchestrator probe`); longer prompts are trimmed to what matters."""
    capabilities: list[str] = []
    skill: Share | None = None
    """Expected share of right answers, in (0, 1)."""
    like: str | None = None
    output_tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 250.0
    max_output_tokens: Annotated[int, Field(gt=0)] = 8_192
    """The longest answer; what a caller of the gateway who has a budget but states no `max_tokens` is held to."""
    ttft_s: Price = 0.5
    tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    prefill_tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How fast it reads what no cache holds (`orchestrator probe`)."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """This and the next three hold for requests that state none of their own."""
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The longest that one call may take."""
    headers: Annotated[dict[str, str], AfterValidator(_sendable_headers)] = {}
    """Sent with every call. A value may be a reference, as `key`."""
    proxy: str | None = None
    """`http://host:port` or `socks5://host:port`, or `none`: that of the environment is not used.

    Default: `HTTPS_PROXY` and its kin.
    """
    tls: TlsConfig | None = None
    http2: bool = False
    extra_body: Annotated[dict[str, Any], AfterValidator(_harmless_body)] = {}
    """Laid over the body of every call, in the words of the provider."""
    folder: str | None = None
    """Recorded models: the folder of the recordings."""
    task: str | None = None
    """Recorded models: which recordings (`gsm`, `crux`)."""


class MemoryConfig(_Strict):
    """Memory: where it is kept, how texts become vectors, and how much of it a query is given."""

    path: str = ".orchestrator/memory.db"
    token_budget: Annotated[int, Field(ge=0)] = 800
    encoder: Annotated[str, AfterValidator(_known_encoder)] = "static"
    """`static` ships with the package; `minilm` needs the extra `embeddings`.

    `endpoint` is any server with OpenAI's /embeddings.
    """
    base_url: Address | None = None
    model: str | None = None
    key: str | None = None
    """`env:NAME` or `file:PATH`, for an endpoint that wants one."""
    encryption_key: str | None = None
    """`env:NAME` or `file:PATH` of 32 random bytes in base64: the file is sealed with them (extra `encryption`)."""
    reranker: str | None = None
    """Folder of a sentence-transformers CrossEncoder that looks again at the best fifty records (extra `embeddings`).
    """


class BudgetConfig(_Strict):
    """Limits for one query."""

    usd: Price | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    seconds: Price | None = None
    calls: Annotated[int, Field(ge=0)] | None = None


class PromiseConfig(_Strict):
    """A quality that is guaranteed: lose at most `max_loss` against the model `vs`.

    Needs a certificate: `orchestrator certify`.
    """

    max_loss: Share
    confidence: Share = 0.9
    vs: str
    kind: Literal["net", "gross"] = "net"
    covers: Literal["routing", "search"] = "routing"
    """`routing`: one draft by the routed model.

    `search`: whatever the strategy ends with; certified from recorded answers.
    """


class OnlineConfig(_Strict):
    """Learning from one's own traffic.

    Queries are kept in the file at `path`; answers are not, only what they are compared by.
    """

    path: str = ".orchestrator/decisions.db"
    learn: bool = True
    """Let feedback move the router (never under a promise: its certificate speaks of the router as it was)."""
    explore: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Share of queries that another model than the chosen one is asked first."""
    explore_extra_usd: Price = 0.001
    """What exploring may cost more than the chosen model, for one query."""
    audit: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    """Under a promise: share of the queries answered without the reference that it is asked afterwards, too."""
    audit_usd_per_day: Price = 1.0
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 90.0


class LengthConfig(_Strict):
    """Limits on the length of an answer."""

    min_words: Annotated[int, Field(ge=0)] = 0
    max_words: Annotated[int, Field(ge=0)] | None = None
    max_chars: Annotated[int, Field(ge=0)] | None = None


class SafetyConfig(_Strict):
    """What no answer may hold."""

    forbidden: list[str] = []
    """Texts that no answer may hold, a system prompt for example."""
    decisive: bool = False
    """Rule such answers out, instead of believing them less."""


class JudgeConfig(_Strict):
    """A model of the fleet that judges answers."""

    model: str
    """A model of this fleet."""
    criteria: dict[str, str] = {}
    """Name: what is asked of an answer. Default: correct, complete, clear."""
    rubric: str | None = None
    """Instead of criteria: all that is asked of an answer, in one text."""
    at_least: Share = 0.7


def _usable_settings(stated: Any, about: ValidationInfo) -> Any:
    """Settings of the check that a field is named after."""
    if stated is not None and stated is not False:
        read_settings(str(about.field_name).rstrip("_"), stated)
    return stated


def _known_plugins(stated: JsonObject) -> JsonObject:
    for name, settings in stated.items():
        if name not in verifier_names():
            raise ValueError(f"no package registers a verifier {name!r}{_suggest(name, list(verifier_names()))}")
        read_settings(name, settings)
    return stated


CheckSettings = Annotated[Any, AfterValidator(_usable_settings)]


class ChecksConfig(_Strict):
    """What every answer is checked for, beside what a query asks for itself (a schema, options, sources)."""

    regex: str | None = None
    length: LengthConfig | None = None
    personal_data: bool = False
    safety: SafetyConfig | None = None
    language: str | None = None
    """`query`, or two letters (`de`). Needs the extra `language`."""
    judge: JudgeConfig | None = None
    arithmetic: CheckSettings = None
    """These and the following take `true`, the first setting alone, or a mapping of settings.

    See docs/verification.md.
    """
    choice: CheckSettings = None
    cites: CheckSettings = None
    json_: CheckSettings = Field(default=None, alias="json")
    mathematics: CheckSettings = None
    number: CheckSettings = None
    numeric: CheckSettings = None
    quantity: CheckSettings = None
    sql: CheckSettings = None
    tests: CheckSettings = None
    plugins: Annotated[dict[str, Any], AfterValidator(_known_plugins)] = {}
    """Verifiers of other packages, by the names that they register, with their settings."""

    def stated(self) -> JsonObject:
        """The checks that are asked for, by name, with their settings."""
        found: dict[str, Any] = {}
        for field, described in type(self).model_fields.items():
            value = getattr(self, field)
            if field != "plugins" and value not in (None, False):
                found[described.alias or field] = value.model_dump() if isinstance(value, BaseModel) else value
        if found.get("language") == "query":
            found["language"] = True
        return found | self.plugins


def _known_strategy(name: str) -> str:
    name = STRATEGY_ALIASES.get(name, name)
    if name not in STRATEGY_NAMES:
        others = plugin_names(STRATEGIES)
        if name not in others:
            raise ValueError(f"unknown strategy {name!r}{_suggest(name, [*STRATEGY_NAMES, *others])}")
    return name


class AuxiliaryConfig(_Strict):
    """A model behind /v1/embeddings, /v1/rerank or /v1/moderations; it is asked for nothing else."""

    provider: Literal[PROVIDERS]  # type: ignore[valid-type]
    model: str
    base_url: Address | None = None
    key: str | None = None
    input_usd_per_mtok: Price | None = None


class AutoConfig(_Strict):
    """What a name `auto:NAME` stands for; what is left out is as the fleet has it."""

    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    strategy: Annotated[str, AfterValidator(_known_strategy)] | None = None
    objective: Literal["cheapest", "best"] = "cheapest"


class CacheConfig(_Strict):
    """Answers that are given again. Never across tenants, scopes, models or settings of a request."""

    semantic: Annotated[float, Field(ge=0.8, le=1)] | None = None
    """Also for questions with the same words, numbers and names that are this similar (cosine); `null`.

    Only for equal ones.
    """
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3_600.0
    most_bytes: Annotated[int, Field(gt=0)] = 64_000_000
    pad_timing: bool = False
    """Let a cached answer take as long as the first one did, so that nobody can tell by a clock what others of the
    scope have asked.
    """


class GatewayConfig(_Strict):
    """`orchestrator serve`."""

    database: str = ".orchestrator/gateway.db"
    """A file, or `postgresql://...` that many replicas share."""
    admin_key: str | None = None
    """`env:NAME` or `file:PATH`; without it one is made at the first start and shown once."""
    autos: dict[str, AutoConfig] = {
        "cheap": AutoConfig(quality=0.6, strategy="single"),
        "best": AutoConfig(quality=0.97, objective="best"),
    }
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """The longest that a request may take."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 33_554_432
    max_in_flight: Annotated[int, Field(gt=0)] = 2_000
    """Of one worker; what comes beyond is told to come again."""
    drain_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 90.0
    cache: CacheConfig | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    log_format: Literal["text", "json"] = "text"
    """Of the operator's log on standard error."""
    access_log: str | None = None
    """A file, or `-` for standard error: a line of JSON for each request, without its content."""
    cors: list[str] = []
    """Origins whose pages may call the gateway (`https://app.example.com`), or `*`.

    A key in a page is known to whoever opens it.
    """
    telemetry: Literal["1.41", "latest"] | None = None
    """OpenTelemetry spans in these GenAI conventions, sent where OTEL_EXPORTER_OTLP_ENDPOINT says (extra `telemetry`).
    """


class Config(_Strict):
    """The whole file."""

    version: Literal[1] = 1
    models: dict[str, ModelConfig] = Field(min_length=1)
    memory: MemoryConfig | None = MemoryConfig()
    router: str | None = None
    """Folder of a router made by `orchestrator train-router`; without it the shipped one is used."""
    budget: BudgetConfig = BudgetConfig()
    online: OnlineConfig | None = None
    """Keep decisions, learn from feedback, explore, audit. Off unless named; `online: {}` takes the defaults."""
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | PromiseConfig = 0.85
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
    pipelines: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")], str] = {}
    """Files of pipelines that the gateway serves, by the name behind `pipeline:`."""
    value_usd: Price = 0.05
    """What a right answer is worth.

    Another call is made if it raises P(correct) by more than its price divided by this.
    """
    usd_per_second: Price = 0.0
    """What a second less to wait is worth."""
    strategy: Annotated[str, AfterValidator(_known_strategy)] = "adaptive"
    max_tokens: Annotated[int, Field(gt=0)] = 1_024


def load_config(path: str | Path) -> Config:
    """Reads a file. Raises `ConfigError` that lists every mistake in it."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file", remedy="Write one (see docs/configuration.md), or leave out --config"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", remedy="Save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", remedy="Check the path and its permissions"
        ) from None
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "<config>") -> Config:
    """The configuration in a text. Raises `ConfigError` with file, line and column of every mistake."""
    located = load_located(text, name)
    if not isinstance(located.value, dict):
        raise ConfigError(f"{name}:1:1: the file is empty or not a mapping", remedy="Start with `models:`")
    try:
        return Config.model_validate(located.value)
    except ValidationError as error:
        problems = [_describe(located, problem) for problem in _relevant(error)]
        raise ConfigError(
            "\n".join(problems), remedy="" if len(problems) == 1 else f"{len(problems)} mistakes in all"
        ) from None


def secret(reference: str | None, default_variable: str | None) -> str | None:
    """The key behind `env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENTS` (its output.

    No shell), or the provider's usual variable.

    Raises `ConfigError` when it is named but cannot be had.
    """
    from orchestrator.providers.credentials import clean_key

    if reference is None:
        found = os.environ.get(default_variable) if default_variable else None
        return (clean_key(found, f"the environment variable {default_variable}") or None) if found is not None else None
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        value = clean_key(os.environ.get(where, ""), f"the environment variable {where}")
        if not value:
            raise ConfigError(f"the environment variable {where} is not set", remedy=f"export {where}=... first")
        return value
    if kind == "file" and where:
        try:
            return clean_key(Path(where).read_text(encoding="utf-8"), f"the key file {where}")
        except OSError as error:
            raise ConfigError(
                f"the key file {where} cannot be read: {error.strerror}", remedy="Check the path"
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(f"the key file {where} is not UTF-8 text", remedy="Save the key as plain text") from None
    if kind == "command" and where.strip():
        return clean_key(_printed_by(where), f"what the key command {where!r} printed")
    raise ConfigError(
        "a key must be a reference, never the key itself", remedy="Write key: env:NAME, file:PATH or command:PROGRAM"
    )


def _printed_by(command: str) -> str:
    import shlex
    import subprocess

    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"the key command {command!r} cannot be run: {type(error).__name__}", remedy="Run it by hand first"
        ) from None
    if done.returncode or not done.stdout.strip():
        raise ConfigError(
            f"the key command {command!r} gave no key (exit code {done.returncode})", remedy="Run it by hand first"
        )
    return done.stdout.strip()


def _relevant(error: ValidationError) -> list[JsonObject]:
    """The problems of the alternative that the author meant.

    A mapping under `quality` is a promise, anything else a number.
    """
    relevant = []
    for found in error.errors():
        problem: dict[str, Any] = dict(found)
        where = problem["loc"]
        if where[0] == "quality" and len(where) > 1:
            meant_promise = where[1] == PromiseConfig.__name__
            is_mapping = len(where) > 2 or isinstance(problem["input"], dict)
            if meant_promise != is_mapping:
                continue
            problem["loc"] = (where[0], *where[2:])
        relevant.append(problem)
    return relevant


def _describe(located: Located, problem: JsonObject) -> str:
    path = tuple(part for part in problem["loc"] if not (isinstance(part, str) and part == "[key]"))
    kind, context = problem["type"], problem.get("ctx", {})
    where = ".".join(map(str, path))
    if kind == "extra_forbidden":
        known = _fields_at(path[:-1])
        return located.describe(path, f"unknown field {path[-1]!r}{_suggest(str(path[-1]), known)}", key=True)
    if kind == "missing":
        return located.describe(
            path[:-1],
            f"the field {path[-1]!r} is missing" + (f" in {'.'.join(map(str, path[:-1]))}" if path[:-1] else ""),
        )
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'|(\d+)", str(context.get("expected", "")))
        known = [text or number for text, number in choices]
        return located.describe(
            path, f"unknown {path[-1]} {problem['input']!r}{_suggest(str(problem['input']), known, most=MAX_CHOICES)}"
        )
    if kind == "value_error":  # raised by a check of our own, in words of our own
        return located.describe(path, str(context["error"]))
    return located.describe(
        path, f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {_short(problem['input'])}"
    )


def _fields_at(path: tuple[Any, ...]) -> list[str]:
    if not path:
        return list(Config.model_fields)
    section: dict[str, type[BaseModel]] = {
        "models": ModelConfig,
        "memory": MemoryConfig,
        "budget": BudgetConfig,
        "quality": PromiseConfig,
        "online": OnlineConfig,
        "checks": ChecksConfig,
        "checks.length": LengthConfig,
        "checks.safety": SafetyConfig,
        "checks.judge": JudgeConfig,
        "embeddings": AuxiliaryConfig,
        "rerankers": AuxiliaryConfig,
        "moderations": AuxiliaryConfig,
        "gateway": GatewayConfig,
        "gateway.autos": AutoConfig,
        "gateway.cache": CacheConfig,
    }
    within: dict[str, type[BaseModel]] = {"tls": TlsConfig, "replicas": ReplicaConfig}
    if path[0] == "models" and len(path) > 2 and path[2] in within:
        return list(within[path[2]].model_fields)
    name = ".".join(map(str, path[:2])) if path[0] in ("checks", "gateway") else path[0]
    return list(section[name].model_fields) if name in section else []


def _suggest(word: str, known: list[str], most: int = MAX_NAMED) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f". Did you mean {close[0]!r}?"
    beginnings = sorted(known, key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())
    if len(known) <= most:
        return f". Known: {', '.join(known)}" if known else ""
    return f". Known are {', '.join(beginnings[:most])} and {len(known) - most} more: docs/configuration.md"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
