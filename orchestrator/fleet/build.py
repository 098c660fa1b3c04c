"""Builds the fleet.

Backends from a configuration, or from whatever is at hand (keys, local servers, else calculator and memory).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import util
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.backends.base import Backend
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.backends.local.extractive import ExtractiveBackend
from orchestrator.config.model_entry import ModelConfig
from orchestrator.config.models import Config
from orchestrator.config.names import PLACEHOLDER
from orchestrator.config.secrets import secret
from orchestrator.errors import ConfigError
from orchestrator.fleet.discovery import LocalServer, find_local_servers, keys_in_environment
from orchestrator.fleet.measured_profiles import Measured, load_measured
from orchestrator.plugins.entry_points import BACKENDS, PluginError, make_plugin
from orchestrator.providers.addresses import is_loopback
from orchestrator.providers.credentials import clean_key
from orchestrator.providers.models import known_of
from orchestrator.providers.prices import list_prices
from orchestrator.providers.provider import DefaultModel, Provider
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile
from orchestrator.router.profile import CACHE_WRITE_1H_FACTOR, CACHE_WRITE_FACTOR, PRICE_FIELDS

if TYPE_CHECKING:
    from orchestrator.backends.http.transport_choice import Way
    from orchestrator.backends.http.upstream import CallSettings

DEFAULT_CONTEXT_TOKENS = 128_000
_DEFAULTS = ("temperature", "top_p", "top_k", "reasoning_effort")
_MEASURED = ("ttft_s", "prefill_tokens_per_s", "tokens_per_s", "effective_context_tokens")

WHAT_TO_ADD = (
    "Add a model: set OPENAI_API_KEY or another provider's key, start a local server (Ollama, llama.cpp, vLLM, "
    "LM Studio), or run orchestrator init"
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Backends by name, and one sentence that says where they came from."""

    backends: dict[str, Backend]
    origin: str


def fleet_from_config(config: Config) -> Fleet:
    """Raises `ConfigError` on models that cannot be built."""
    measured = load_measured(config.profiles)
    backends: dict[str, Backend] = {}
    errors: list[ConfigError] = []
    for name, model in config.models.items():
        try:
            backends[name] = build_backend(name, _filled_in(model, measured.get(name)))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise _all_of(errors)
    return Fleet(backends, "the configuration: " + ", ".join(backends))


def _all_of(errors: Sequence[ConfigError]) -> ConfigError:
    """Every mistake at once: whoever mends them starts again once."""
    told = "; ".join(dict.fromkeys(error.message for error in errors))
    return ConfigError(told, remedy="; ".join(dict.fromkeys(error.remedy for error in errors if error.remedy)))


def profiles_from_config(config: Config) -> dict[str, ModelProfile]:
    """What is known of each model, where nobody is asked: no key is needed. Raises `ConfigError` as the fleet does."""
    measured = load_measured(config.profiles)
    return {
        name: build_backend(name, _filled_in(model, measured.get(name)), api_key="unused").profile
        for name, model in config.models.items()
    }


def _filled_in(config: ModelConfig, measured: Measured | None) -> ModelConfig:
    """With what was measured of the model, where the configuration states nothing."""
    if measured is None:
        return config
    found = {
        name: value
        for name in _MEASURED
        if name not in config.model_fields_set and (value := getattr(measured, name)) is not None
    }
    return config.model_copy(update=found)


async def fleet_at_hand(*, local_servers: bool = True) -> Fleet:
    """Keys in the environment, else local model servers; calculator and extractive always beside them.

    No paid API is contacted.
    """
    backends: dict[str, Backend] = {"calculator": CalculatorBackend(), "extractive": ExtractiveBackend()}
    keyed = keys_in_environment()
    if keyed:
        for provider in keyed:
            for default in provider.defaults:
                backends[f"{provider.name}/{default.model}"] = _default_backend(provider, default)
        return Fleet(backends, "API keys in the environment: " + ", ".join(provider.name for provider in keyed))
    servers = await find_local_servers() if local_servers else []
    for server in servers:
        for model in server.models:
            name = f"{server.provider.name}/{PurePath(model).stem if model.endswith('.gguf') else model}"
            backends[name] = _local_backend(name, server, model)
    if servers:
        return Fleet(backends, "local model servers: " + ", ".join(server.provider.name for server in servers))
    return Fleet(backends, "no key and no model server found: calculator and extractive (answers from memory) only")


def build_backend(name: str, config: ModelConfig, *, api_key: str | None = None) -> Backend:
    """The backend that a model of the configuration stands for. Raises `ConfigError`.

    `api_key` is the key itself, where the program holds it; else the configuration says where it is found.
    """
    profile = profile_of(name, config)
    if config.provider == "calculator":
        return CalculatorBackend(name)
    if config.provider == "extractive":
        return ExtractiveBackend(name)
    if config.provider == "simulated":
        return _simulated(name, profile)
    if config.provider == "recorded":
        return _recorded(name, config)
    if config.provider == "student":
        return _student(name, config)
    if config.provider not in PROVIDERS:
        return _foreign(name, config, profile)
    return _remote(name, config, profile, PROVIDERS[config.provider], api_key)


def profile_of(name: str, config: ModelConfig) -> ModelProfile:
    """What the configuration states of a model, and what is known of it besides.

    Raises `ConfigError` where it still has the placeholder that `init` writes.
    """
    if config.model == PLACEHOLDER:
        remedy = "Write the name of a model that the provider, or your server, has"
        raise ConfigError(f"models.{name}: {PLACEHOLDER} stands for a model's name", remedy=remedy)
    row = PROVIDERS.get(config.provider)
    prices = prices_of(name, config)
    return ModelProfile(
        name,
        prices.input_usd_per_mtok,
        prices.output_usd_per_mtok,
        prices.cached_usd_per_mtok,
        config.context_tokens or prices.context_tokens or DEFAULT_CONTEXT_TOKENS,
        _capabilities(config, row),
        config.skill,
        config.like,
        config.output_tokens,
        config.ttft_s,
        config.tokens_per_s,
        simulated=config.provider == "simulated",
        effective_context_tokens=config.effective_context_tokens,
        max_output_tokens=config.max_output_tokens,
        cache_write_usd_per_mtok=prices.cache_write_usd_per_mtok,
        cache_write_1h_usd_per_mtok=prices.cache_write_1h_usd_per_mtok,
        audio_input_usd_per_mtok=prices.audio_input_usd_per_mtok,
        audio_output_usd_per_mtok=prices.audio_output_usd_per_mtok,
        price_steps=prices.price_steps,
        prefill_tokens_per_s=config.prefill_tokens_per_s,
    )


def _capabilities(config: ModelConfig, row: Provider | None) -> frozenset[str]:
    """What the configuration states, else what is known of the model; and what everything of its provider can do."""
    own = row.capabilities if row else frozenset[str]()
    if "capabilities" in config.model_fields_set:
        return own | frozenset(config.capabilities)
    address = config.base_url or config.via or next((each.base_url for each in config.replicas), None)
    return own | known_of(row, config.model or "", base_url=address)


BACKEND_NEEDS = ("profile", "complete", "stream", "estimate", "aclose")


def _foreign(name: str, config: ModelConfig, profile: ModelProfile) -> Backend:
    """A backend of another package, which makes it of the model's configuration and profile."""
    try:
        made: Backend = make_plugin(BACKENDS, config.provider, config, profile, needs=BACKEND_NEEDS)
    except PluginError as error:
        raise ConfigError(f"models.{name}: the provider {error}", remedy="Look at its package") from None
    return made


def prices_of(name: str, config: ModelConfig) -> ModelProfile:
    """Prices as a profile has them: what is stated, else the provider's list prices.

    Steps for long prompts are the list's, unless a price is stated.
    """
    stated = {field: value for field in PRICE_FIELDS if (value := getattr(config, field)) is not None}
    row = PROVIDERS.get(config.provider)
    is_listed = row is not None and not row.is_local and config.base_url is None and not config.replicas
    listed = list_prices(row.prices or row.name, config.model or name) if is_listed and row is not None else None
    if listed is None and not stated and row is not None and row.is_local and _is_on_this_machine(row, config):
        return ModelProfile(name, 0.0, 0.0)  # nobody sends a bill for it
    if listed is None:
        return ModelProfile(name, **stated)
    known = {field: getattr(listed, field) for field in PRICE_FIELDS} | stated
    if listed.context_tokens:
        known["context_tokens"] = listed.context_tokens
    return ModelProfile(name, **known, price_steps=() if stated else listed.price_steps)


def _is_on_this_machine(row: Provider, config: ModelConfig) -> bool:
    stated = [replica.base_url for replica in config.replicas] or [config.base_url or row.base_url]
    return all(is_loopback(urlsplit(address).hostname or "") for address in stated)


def _simulated(name: str, profile: ModelProfile) -> Backend:
    from orchestrator.backends.testing.simulated import SimulatedBackend, SimulatedModel  # numpy

    if profile.skill is None:
        raise ConfigError(f"models.{name}: a simulated model needs `skill`", remedy="For example skill: 0.7")
    return SimulatedBackend(SimulatedModel(profile))


def _student(name: str, config: ModelConfig) -> Backend:
    from orchestrator.backends.local.student import StudentBackend

    if config.file is None:
        raise ConfigError(
            f"models.{name}: a student needs `file`", remedy="orchestrator distill JOB.yaml makes one: docs/distill.md"
        )
    return StudentBackend(name, config.file, config.audits)


def _recorded(name: str, config: ModelConfig) -> Backend:
    from orchestrator.backends.testing.recorded import RecordedBackend, load_recorded  # numpy

    if not (config.folder and config.task and config.model):
        raise ConfigError(
            f"models.{name}: a recorded model needs `folder`, `task` and `model`", remedy="See docs/configuration.md"
        )
    models = {model.profile.name: model for model in load_recorded(config.folder, config.task)}
    if config.model not in models:
        raise ConfigError(f"models.{name}: no recordings of {config.model!r}", remedy=f"There are: {', '.join(models)}")
    return RecordedBackend(models[config.model])


def _remote(
    name: str, config: ModelConfig, profile: ModelProfile, row: Provider, api_key: str | None = None
) -> Backend:
    from orchestrator.backends.http.replicas import Replica  # the HTTP client
    from orchestrator.backends.http.server_group import ServerGroup
    from orchestrator.backends.remote import RemoteBackend

    if config.base_url and config.replicas:
        message = f"models.{name}: `base_url` and `replicas` exclude each other"
        raise ConfigError(message, remedy="Name every server under `replicas`")
    servers = [
        Replica(replica.base_url.rstrip("/"), replica.pool, kv_events=replica.kv_events or "")
        for replica in config.replicas
    ]
    _check_serving(name, config)
    base_url = config.base_url or row.base_url
    if not servers and not base_url:
        hint = "https://NAME.openai.azure.com/openai/v1" if row.name == "azure" else "http://127.0.0.1:8000/v1"
        raise ConfigError(f"models.{name}: provider `{row.name}` needs `base_url`", remedy=f"For example {hint}")
    key = secret(config.key, row.key_variable) if api_key is None else clean_key(api_key, f"the api_key of {name}")
    if row.key_variable and key is None and not config.base_url and not servers:
        message = f"models.{name}: no API key for {row.name}"
        raise ConfigError(message, remedy=f"export {row.key_variable}=... or write key: env:NAME")
    profile = _with_write_prices(profile, row, config)
    return RemoteBackend(
        profile,
        provider=row,
        base_url=base_url,
        model=config.model or name,
        key=key,
        replicas=servers,
        attempts=config.retries + 1,
        hedge=config.hedge,
        cache=config.cache,
        settings=_call_settings(config),
        serving=ServerGroup((config.via or "").rstrip("/"), config.hands_over, config.reads_load),
        way=_way(name, config),
    )


def _check_serving(name: str, config: ModelConfig) -> None:
    """Raises `ConfigError` on servers that cannot work together as it is stated."""
    pools = {replica.pool for replica in config.replicas}
    if config.hands_over and not {"prefill", "decode"} <= pools:
        message = f"models.{name}: `hands_over` needs replicas of the pools `prefill` and `decode`"
        raise ConfigError(message, remedy="Write pool: prefill and pool: decode under `replicas`")
    if config.via and not config.replicas:
        message = f"models.{name}: `via` needs the servers behind the proxy"
        raise ConfigError(message, remedy="Name every server under `replicas`, or write the proxy as `base_url`")


def _way(name: str, config: ModelConfig) -> Way:
    """How its servers are reached.

    Raises `ConfigError` on what cannot be used here: before the first call, not in it.
    """
    from orchestrator.backends.http.transport_choice import DIRECT, Tls, Way  # the HTTP client

    way = Way(config.proxy, None if config.tls is None else Tls(**config.tls.model_dump()), config.http2)
    if way.tls is not None:
        try:
            way.tls.context()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            message = f"models.{name}.tls: the certificates cannot be used: {error}"
            raise ConfigError(message, remedy="Check the files") from None
    if config.http2 and util.find_spec("h2") is None:
        message = f"models.{name}: http2 needs the package h2"
        raise ConfigError(message, remedy="pip install 'compound-orchestrator[transports]'")
    if (config.proxy or "").startswith("socks") and util.find_spec("socksio") is None:
        message = f"models.{name}: a SOCKS proxy needs the package socksio"
        raise ConfigError(message, remedy="pip install 'compound-orchestrator[transports]'")
    if config.proxy not in (None, DIRECT) and not config.proxy.startswith(
        ("http://", "https://", "socks5://", "socks5h://")
    ):
        message = f"models.{name}.proxy: {config.proxy!r} is no proxy"
        raise ConfigError(message, remedy="Write http://host:port, socks5://host:port, or none")
    return way


def _call_settings(config: ModelConfig) -> CallSettings | None:
    from orchestrator.backends.http.upstream import CallSettings  # the HTTP client

    defaults = {name: value for name in _DEFAULTS if (value := getattr(config, name)) is not None}
    headers = {name: _header(value) for name, value in config.headers.items()}
    if not (defaults or headers or config.extra_body or config.timeout_s or config.rpm):
        return None
    return CallSettings(defaults, config.extra_body, headers, config.timeout_s, config.rpm)


def _header(value: str) -> str:
    """A header's value, or what it refers to."""
    return secret(value, None) or "" if value.startswith(("env:", "file:", "command:")) else value


def _with_write_prices(profile: ModelProfile, row: Provider, config: ModelConfig) -> ModelProfile:
    """What is written to a cache on our demand has a price, if only one that is bounded from above.

    It is reserved before every call.
    """
    if (
        profile.input_usd_per_mtok is None
        or config.cache == "off"
        or row.cache not in ("anthropic", "openai", "gemini")
    ):
        return profile
    short, long = profile.cache_write_usd_per_mtok, profile.cache_write_1h_usd_per_mtok
    return replace(
        profile,
        cache_write_usd_per_mtok=profile.input_usd_per_mtok * CACHE_WRITE_FACTOR if short is None else short,
        cache_write_1h_usd_per_mtok=profile.input_usd_per_mtok * CACHE_WRITE_1H_FACTOR
        if long is None and max(row.cache_minutes) >= 60
        else long,
    )


def _default_backend(provider: Provider, default: DefaultModel) -> Backend:
    stated: dict[str, Any] = {"provider": provider.name, "model": default.model, "skill": default.skill}
    if list_prices(provider.prices or provider.name, default.model) is None:
        stated |= {"input_usd_per_mtok": default.input_usd_per_mtok, "output_usd_per_mtok": default.output_usd_per_mtok}
    return build_backend(f"{provider.name}/{default.model}", ModelConfig(**stated))


def _local_backend(name: str, server: LocalServer, model: str) -> Backend:
    from orchestrator.backends.remote import RemoteBackend  # the HTTP client

    able = server.provider.capabilities | known_of(server.provider, model, base_url=None)
    window = server.windows.get(model, DEFAULT_CONTEXT_TOKENS)
    profile = ModelProfile(name, 0.0, 0.0, None, window, able, skill=0.7)
    return RemoteBackend(profile, provider=server.provider, model=model)
