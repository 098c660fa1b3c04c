"""Builds the fleet: backends from a configuration, or from whatever is at hand (keys, local servers, else calculator and memory)."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.backends.base import Backend
from orchestrator.backends.calculator import CalculatorBackend
from orchestrator.backends.extractive import ExtractiveBackend
from orchestrator.backends.prices import list_prices
from orchestrator.backends.providers import PROVIDERS, DefaultModel, LocalServer, Provider, find_local_servers, keys_in_environment
from orchestrator.config import Config, ModelConfig, secret
from orchestrator.errors import ConfigError
from router import ModelProfile

WHAT_TO_ADD = (
    "Add a model: set OPENAI_API_KEY (or another provider's key), start a local server (Ollama on 11434, llama.cpp on 8080, vLLM on 8000, "
    "LM Studio on 1234), or name one in orchestrator.yaml"
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Backends by name, and one sentence that says where they came from."""

    backends: dict[str, Backend]
    origin: str


def fleet_from_config(config: Config) -> Fleet:
    """Raises `ConfigError` on a model that cannot be built."""
    backends = {name: build_backend(name, model) for name, model in config.models.items()}
    return Fleet(backends, "the configuration: " + ", ".join(backends))


async def fleet_at_hand(*, local_servers: bool = True) -> Fleet:
    """Keys in the environment, else local model servers; calculator and extractive always beside them. No paid API is contacted."""
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
            name = f"{server.provider.name}/{model}"
            backends[name] = _local_backend(name, server, model)
    if servers:
        return Fleet(backends, "local model servers: " + ", ".join(server.provider.name for server in servers))
    return Fleet(backends, "no key and no model server found: calculator and extractive (answers from memory) only")


def build_backend(name: str, config: ModelConfig) -> Backend:
    provider = PROVIDERS.get(config.provider)
    profile = ModelProfile(
        name,
        *_prices(name, config),
        config.context_tokens,
        frozenset(config.capabilities) | (provider.capabilities if provider else frozenset()),
        config.skill,
        config.like,
        config.output_tokens,
        config.ttft_s,
        config.tokens_per_s,
        simulated=config.provider == "simulated",
        max_output_tokens=config.max_output_tokens,
    )
    if config.provider == "calculator":
        return CalculatorBackend(name)
    if config.provider == "extractive":
        return ExtractiveBackend(name)
    if config.provider == "simulated":
        return _simulated(name, profile)
    if config.provider == "recorded":
        return _recorded(name, config)
    return _openai_compatible(name, config, profile)


def _prices(name: str, config: ModelConfig) -> tuple[float | None, float | None, float | None]:
    """USD per million tokens read, written and read from the cache: what is stated, else the provider's list prices."""
    stated = config.input_usd_per_mtok, config.output_usd_per_mtok, config.cached_usd_per_mtok
    provider = PROVIDERS.get(config.provider)
    if provider is None or provider.port is not None or config.base_url is not None or (stated[0] is not None and stated[1] is not None):
        return stated
    listed = list_prices(config.provider, config.model or name)
    if listed is None:
        return stated
    known = listed.input_usd_per_mtok, listed.output_usd_per_mtok, listed.cached_usd_per_mtok
    return (
        known[0] if stated[0] is None else stated[0],
        known[1] if stated[1] is None else stated[1],
        known[2] if stated[2] is None else stated[2],
    )


def _simulated(name: str, profile: ModelProfile) -> Backend:
    from orchestrator.backends.simulated import SimulatedBackend, SimulatedModel

    if profile.skill is None:
        raise ConfigError(f"models.{name}: a simulated model needs `skill`", remedy="For example skill: 0.7")
    return SimulatedBackend(SimulatedModel(profile))


def _recorded(name: str, config: ModelConfig) -> Backend:
    from orchestrator.backends.recorded import RecordedBackend, load_recorded

    if not (config.folder and config.task and config.model):
        raise ConfigError(f"models.{name}: a recorded model needs `folder`, `task` and `model`", remedy="See docs/configuration.md")
    models = {model.profile.name: model for model in load_recorded(config.folder, config.task)}
    if config.model not in models:
        raise ConfigError(f"models.{name}: no recordings of {config.model!r}", remedy=f"There are: {', '.join(models)}")
    return RecordedBackend(models[config.model])


def _openai_compatible(name: str, config: ModelConfig, profile: ModelProfile) -> Backend:
    from orchestrator.backends.openai import OpenAIBackend

    provider = PROVIDERS.get(config.provider)
    base_url = config.base_url or (provider.base_url if provider else None)
    if base_url is None:
        raise ConfigError(f"models.{name}: provider `compatible` needs `base_url`", remedy="For example http://127.0.0.1:8000/v1")
    variable = provider.key_variable if provider else None
    key = secret(config.key, variable)
    if variable and key is None and config.base_url is None:
        raise ConfigError(f"models.{name}: no API key for {config.provider}", remedy=f"export {variable}=... or write key: env:NAME")
    token_field = provider.token_field if provider else "max_tokens"
    return OpenAIBackend(profile, base_url=base_url, model=config.model or name, key=key, token_field=token_field)


def _default_backend(provider: Provider, default: DefaultModel) -> Backend:
    from orchestrator.backends.openai import OpenAIBackend

    profile = ModelProfile(
        f"{provider.name}/{default.model}",
        default.input_usd_per_mtok,
        default.output_usd_per_mtok,
        capabilities=provider.capabilities,
        skill=default.skill,
    )
    key = secret(None, provider.key_variable)
    return OpenAIBackend(profile, base_url=provider.base_url, model=default.model, key=key, token_field=provider.token_field)


def _local_backend(name: str, server: LocalServer, model: str) -> Backend:
    from orchestrator.backends.openai import OpenAIBackend

    profile = ModelProfile(name, 0.0, 0.0, capabilities=server.provider.capabilities, skill=0.7)
    return OpenAIBackend(profile, base_url=server.provider.base_url, model=model)
