"""Which providers can be asked from here: by a key in the environment, or by a server that answers on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.backends.http.transport_choice import environment_proxy
from orchestrator.backends.provider_errors import error_of
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.addresses import address_of
from orchestrator.providers.auth import headers_for
from orchestrator.providers.credentials import clean_key
from orchestrator.providers.provider import Provider
from orchestrator.providers.table import PROVIDERS

PROBE_TIMEOUT_S = 0.4
LIST_TIMEOUT_S = 10.0
_WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server that answers on its usual port, the models that it lists, and their windows, where it tells."""

    provider: Provider
    models: tuple[str, ...]
    windows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of trying a provider: the models that it lists, or why it does not.

    `limits` are its headers about rate limits, `windows` the context windows that it tells, in tokens.
    """

    provider: Provider
    models: tuple[str, ...] = ()
    problem: str = ""
    limits: tuple[tuple[str, str], ...] = ()
    windows: Mapping[str, int] = field(default_factory=dict)


def key_of(provider: Provider) -> str | None:
    """The key of a provider in the environment; `None` where it is not set, or empty."""
    found = os.environ.get(provider.key_variable) if provider.key_variable else None
    return clean_key(found) or None if found is not None else None


def keys_in_environment() -> list[Provider]:
    """Providers whose key variable is set and that have default models."""
    return [provider for provider in PROVIDERS.values() if key_of(provider) and provider.defaults]


async def find_local_servers() -> list[LocalServer]:
    """Asks the usual ports on this machine for their models, all at once, for at most 0.4 s each.

    Nothing else is contacted.

    Several kinds of server use port 8000: the first row of the table that names a port stands for whatever answers
    there.
    """
    by_port: dict[int, Provider] = {}
    for provider in PROVIDERS.values():
        if provider.port is not None:
            by_port.setdefault(provider.port, provider)
    found = await asyncio.gather(*(_local(provider) for provider in by_port.values()))
    return [
        LocalServer(reached.provider, reached.models, reached.windows)
        for reached in found
        if reached is not None and reached.models
    ]


async def reach(
    provider: Provider, *, base_url: str | None = None, timeout_s: float = LIST_TIMEOUT_S, key: str | None = None
) -> Reached:
    """Asks a provider for its models, with `key` or the one from the environment: costs nothing anywhere.

    Never raises for what the other side does.
    """
    import httpx  # heavy: 60 ms

    at = (base_url or provider.base_url).rstrip("/")
    url, key = address_of(at, provider.models_path), key or key_of(provider)
    try:
        async with httpx.AsyncClient(timeout=timeout_s, trust_env=environment_proxy(at) is not None) as client:
            if provider.health_path is not None:
                health = await client.get(at.removesuffix("/v1") + provider.health_path)
                if health.status_code == 503:
                    return Reached(provider, problem="it is not ready yet: it loads its model")
            reply = await client.get(url, headers=headers_for(provider, key))
        if reply.status_code != 200:
            return Reached(
                provider,
                problem=error_of(provider.name, reply.status_code, reply.headers, reply.content, key=key).message,
            )
        listed = reply.json()
        models, windows = _listed(listed), _windows(listed)
    except httpx.HTTPError as error:
        return Reached(provider, problem=f"{type(error).__name__}: {url}")
    except (ValueError, KeyError, TypeError):
        return Reached(provider, problem=f"{url} does not list models")
    prefix = provider.limit_headers
    limits = tuple((name, value) for name, value in reply.headers.items() if prefix and name.startswith(prefix))
    return Reached(provider, models, limits=limits, windows=windows)


async def port_answers(port: int) -> bool:
    """Whether anything listens on a port of this machine.

    A bare connection: it costs nothing when the port is closed.
    """
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), PROBE_TIMEOUT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _local(provider: Provider) -> Reached | None:
    assert provider.port is not None
    return await reach(provider, timeout_s=PROBE_TIMEOUT_S) if await port_answers(provider.port) else None


def _listed(payload: JsonValue) -> tuple[str, ...]:
    """The names in a list of models.

    OpenAI's and Anthropic's `data` of `id`, Gemini's `models` of `name`, or a bare list.
    """
    names = [_name_of(row) for row in _rows(payload)]
    return tuple(name for name in names if name and "embed" not in name)


def _windows(payload: JsonValue) -> dict[str, int]:
    """The windows in a list of models, in tokens: vLLM, SGLang, OpenRouter, Groq, Mistral and llama.cpp tell them."""
    found: dict[str, int] = {}
    for row in _rows(payload):
        meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
        told = next((row[name] for name in _WINDOW_FIELDS if row.get(name)), meta.get("n_ctx"))
        if isinstance(told, int) and not isinstance(told, bool) and told > 0:
            found[_name_of(row)] = told
    return found


def _rows(payload: JsonValue) -> list[JsonObject]:
    rows = payload if isinstance(payload, list) else payload.get("data", payload.get("models"))
    return [row for row in rows if isinstance(row, dict)]


def _name_of(row: JsonObject) -> str:
    return str(row.get("id") or row.get("name") or "").removeprefix("models/")
