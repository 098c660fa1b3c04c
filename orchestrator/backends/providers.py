"""The provider table: where each API is, which variable holds its key, and its quirks. Adding a provider is adding a row."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenAI-compatible API. `port` marks a server that one runs oneself; `defaults` are models offered when only a key is found.

    `several` says that it gives several answers to one prompt (`n`), which is then read and paid once.
    """

    name: str
    base_url: str
    key_variable: str | None = None
    token_field: str = "max_tokens"
    port: int | None = None
    probe: str = "/models"
    defaults: tuple[DefaultModel, ...] = ()
    several: bool = False

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"n"} if self.several else ())


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """List prices in USD per million tokens, from the providers' public price pages; state your own in the configuration."""

    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    skill: float


PROVIDERS: Mapping[str, Provider] = {
    row.name: row
    for row in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            token_field="max_completion_tokens",
            defaults=(DefaultModel("gpt-4o-mini", 0.15, 0.60, 0.80), DefaultModel("gpt-4o", 2.50, 10.00, 0.88)),
            several=True,
        ),
        Provider(
            "groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", defaults=(DefaultModel("llama-3.3-70b-versatile", 0.59, 0.79, 0.82),)
        ),
        Provider("together", "https://api.together.ai/v1", "TOGETHER_API_KEY"),
        Provider(
            "mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", defaults=(DefaultModel("mistral-small-latest", 0.10, 0.30, 0.78),)
        ),
        Provider("deepseek", "https://api.deepseek.com", "DEEPSEEK_API_KEY", defaults=(DefaultModel("deepseek-chat", 0.28, 0.42, 0.86),)),
        Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        Provider("ollama", "http://127.0.0.1:11434/v1", port=11434),
        Provider("llamacpp", "http://127.0.0.1:8080/v1", port=8080),
        Provider("vllm", "http://127.0.0.1:8000/v1", port=8000, several=True),
        Provider("lmstudio", "http://127.0.0.1:1234/v1", port=1234),
    )
}
PROBE_TIMEOUT_S = 0.4


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server that answers on its usual port, and the models that it lists."""

    provider: Provider
    models: tuple[str, ...]


def keys_in_environment() -> list[Provider]:
    """Providers whose key variable is set and that have default models."""
    return [p for p in PROVIDERS.values() if p.key_variable and os.environ.get(p.key_variable) and p.defaults]


async def find_local_servers() -> list[LocalServer]:
    """Asks the usual ports on this machine for their models, all at once, for at most 0.4 s each. Nothing else is contacted."""
    found = await asyncio.gather(*(_probe(provider) for provider in PROVIDERS.values() if provider.port is not None))
    return [server for server in found if server is not None]


async def _probe(provider: Provider) -> LocalServer | None:
    try:
        # A bare connection first: it costs nothing when the port is closed, and spares the HTTP library's import.
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", provider.port), PROBE_TIMEOUT_S)
    except (OSError, TimeoutError):
        return None
    writer.close()
    import httpx

    try:
        async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
            listed = (await client.get(provider.base_url + provider.probe)).json()["data"]
        models = tuple(str(model["id"]) for model in listed if isinstance(model, dict) and "embed" not in str(model.get("id", "")))
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return LocalServer(provider, models) if models else None
