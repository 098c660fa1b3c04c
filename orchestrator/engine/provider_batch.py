"""One answer of a provider's batch as the fleet sees it: what is handed in, what was said, what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.backends.batches import PRICE_SHARE
from orchestrator.backends.provider_batches import BatchResult
from orchestrator.backends.remote import RemoteBackend
from orchestrator.config import defaults
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.prices import billed_usd

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator

UNKNOWN_SKILL = 0.8


def batch_backend(fleet: Orchestrator, model: str) -> RemoteBackend:
    """The model that is handed batches. Raises `ConfigError` for one whose provider takes none."""
    backend = fleet.backends[model]
    if not isinstance(backend, RemoteBackend):
        raise ConfigError(f"{model} has no provider that takes batches", remedy="Ask one by one, or name another model")
    return backend


def batch_body(
    backend: RemoteBackend, query: str, *, system: str | None, max_tokens: int | None, temperature: float | None = None
) -> JsonObject:
    """A chat completion to be handed in."""
    rules = [] if system is None else [{"role": "system", "content": system}]
    body: JsonObject = {
        "model": backend.upstream.model,
        "messages": [*rules, {"role": "user", "content": query}],
        "max_tokens": max_tokens or defaults.MAX_TOKENS,
    }
    return body if temperature is None else body | {"temperature": temperature}


def batch_text(result: BatchResult) -> str | None:
    """What was said; `None` where nothing was."""
    try:
        content = {} if result.completion is None else result.completion["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None


def batch_usd(backend: RemoteBackend, result: BatchResult) -> float:
    """What an answer cost, at the price of batches; 0 where no usage is told."""
    return 0.0 if result.usage is None else PRICE_SHARE * (billed_usd(backend.profile, result.usage) or 0.0)


def lone_confidence(fleet: Orchestrator, model: str) -> float:
    """What is believed of a lone answer of a model, where no search looked at it."""
    return fleet.backends[model].profile.skill or UNKNOWN_SKILL
