"""POST /v1/embeddings: the shipped static encoder, or any server that the configuration names."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from orchestrator.config import EmbeddingConfig, secret
from orchestrator.errors import BackendError, BadResponse, ConfigError
from orchestrator.gateway.endpoint import Endpoint
from orchestrator.gateway.http import JSON, Call
from orchestrator.gateway.problems import Problem
from orchestrator.gateway.tab import Tab
from orchestrator.providers import PROVIDERS
from orchestrator.tokens import bound_tokens, estimate_tokens
from orchestrator.types import Usage
from router import ModelProfile

if TYPE_CHECKING:
    from orchestrator.backends.relay import Relay
    from orchestrator.gateway.app import Gateway

STATIC = "orchestrator/static"
TIMEOUT_S = 120.0


class Embedders:
    """The models behind /v1/embeddings. Raises `ConfigError` on one that cannot be reached by what its entry says."""

    def __init__(self, models: Mapping[str, EmbeddingConfig]) -> None:
        self._models = {name: _made(name, config) for name, config in models.items()}

    @property
    def names(self) -> list[str]:
        return [STATIC, *self._models]

    def find(self, name: str) -> tuple[Relay, ModelProfile] | None:
        return self._models.get(name)


def _made(name: str, config: EmbeddingConfig) -> tuple[Relay, ModelProfile]:
    from orchestrator.backends.relay import Relay
    from orchestrator.backends.replicas import Replica
    from orchestrator.backends.upstream import Upstream

    row = PROVIDERS.get(config.provider)
    base_url = config.base_url or (row.base_url if row else None)
    if row is None or not base_url:
        raise ConfigError(
            f"embeddings.{name}: provider {config.provider!r} needs `base_url`", remedy="For example http://127.0.0.1:11434/v1"
        )
    price = config.input_usd_per_mtok
    if price is None and row.is_local:
        price = 0.0
    key = secret(config.key, row.key_variable)
    profile = ModelProfile(name, price, None if price is None else 0.0)
    return Relay(Upstream(name, row, config.model, [Replica(base_url.rstrip("/"))], key=key)), profile


async def embed(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    name = body["model"]
    tab = call.tab = Tab(gateway.limiter, call, "embeddings", name)
    serving = gateway.serving
    if name not in serving.embedders.names:
        known = ", ".join(serving.embedders.names)
        raise Problem(404, f"there is no embedding model {name!r}. There are: {known}", code="model_not_found", param="model")
    if not call.principal.may_use(name):
        raise Problem(403, f"this key may not use the model {name!r}", code="model_not_allowed", param="model", should_retry=False)
    serving.running += 1
    try:
        found = serving.embedders.find(name)
        content = await (_static(tab, body) if found is None else _relayed(tab, body, *found))
    finally:
        await serving.ended()
    tab.served.model = name
    await call.reply(200, content, [JSON])


async def _static(tab: Tab, body: dict[str, Any]) -> bytes:
    from memory import default_encoder

    texts = _texts(body["input"])
    tokens = sum(map(estimate_tokens, texts))
    await tab.hold(0.0, tokens)
    encoder = await asyncio.to_thread(default_encoder)
    vectors = np.asarray(await asyncio.to_thread(encoder.encode, texts), dtype=np.float32)
    dimensions = None if body.get("dimensions") is None else int(body["dimensions"])
    if dimensions is not None and dimensions > vectors.shape[1]:
        raise Problem(404, f"{STATIC} has {vectors.shape[1]} dimensions, not {dimensions}", code="invalid_dimensions", param="dimensions")
    if dimensions is not None:
        vectors = vectors[:, :dimensions]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    tab.settle(ModelProfile(STATIC, 0.0, 0.0), Usage(tokens))
    as_base64 = body.get("encoding_format") == "base64"
    rows = [base64.b64encode(np.ascontiguousarray(row).tobytes()).decode() if as_base64 else row.tolist() for row in vectors]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return orjson.dumps({"object": "list", "data": data, "model": STATIC, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


async def _relayed(tab: Tab, body: dict[str, Any], relay: Relay, profile: ModelProfile) -> bytes:
    worst = sum(_tokens_in(each, bound_tokens) for each in _listed_input(body["input"]))
    await tab.hold(profile.cost_usd(worst, 0), worst)
    try:
        reply = await relay.post("/embeddings", body, timeout_s=TIMEOUT_S)
        content = await reply.read()
        usage = _usage(content, profile.name, body["input"])
    except BackendError as error:
        tab.failed(error)
        raise
    tab.settle(profile, usage)
    return content


def _usage(content: bytes, model: str, given: Any) -> Usage:
    """What the server tells that it used; an estimate, where it tells nothing (Gemini's compatible API, some local servers)."""
    try:
        payload = orjson.loads(content)
        if not isinstance(payload["data"], list):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadResponse(f"{model}: the answer holds no embeddings", remedy="Check the server") from None
    usage = payload.get("usage")
    told = next((usage[name] for name in ("prompt_tokens", "total_tokens") if usage.get(name)), None) if isinstance(usage, dict) else None
    if isinstance(told, int) and told > 0:
        return Usage(told)
    return Usage(sum(_tokens_in(each, estimate_tokens) for each in _listed_input(given)), estimated=True)


def _listed_input(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _tokens_in(each: Any, count: Callable[[str], int]) -> int:
    """Tokens of one input: a text, a token id, or a list of them."""
    return count(each) if isinstance(each, str) else len(each) if isinstance(each, list) else 1


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise Problem(404, f"{STATIC} takes text, no token ids", code="tokens_not_supported", param="input")
    found: list[str] = texts
    return found


async def models(gateway: Gateway, call: Call, _: Any) -> None:
    await call.reply_json({"object": "list", "data": _listed(gateway, call)})


async def model(gateway: Gateway, call: Call, _: Any) -> None:
    found = next((one for one in _listed(gateway, call) if one["id"] == call.params["model"]), None)
    if found is None:
        raise Problem(404, f"there is no model {call.params['model']!r}", code="model_not_found", param="model")
    await call.reply_json(found)


_STARTED = int(time.time())


def _listed(gateway: Gateway, call: Call) -> list[dict[str, Any]]:
    """What this caller may ask for, in OpenAI's words and with what is known of each model."""
    serving = gateway.serving
    found = []
    for name in (*serving.completions.models, *serving.embedders.names):
        is_own = name.startswith("auto") or name == STATIC
        if not is_own and not call.principal.may_use(name):
            continue
        entry: dict[str, Any] = {"id": name, "object": "model", "created": _STARTED, "owned_by": "orchestrator"}
        backend = serving.engine.backends.get(name)
        if backend is not None:
            p = backend.profile
            entry |= {
                "context_window": p.context_tokens,
                "input_usd_per_mtok": p.input_usd_per_mtok,
                "output_usd_per_mtok": p.output_usd_per_mtok,
            }
            if p.simulated:
                entry["simulated"] = True
        found.append(entry)
    return found


ENDPOINTS = (
    Endpoint("POST", "/v1/embeddings", embed, "Embed texts", "inference", body="EmbeddingsRequest", answer="Embeddings"),
    Endpoint("GET", "/v1/models", models, "The models that this key may use", "inference", answer="Models"),
    Endpoint(
        "GET", "/v1/models/{model}", model, "One model", "inference", answer="Model", path_schemas=(("model", "ModelName"),), errors=(404,)
    ),
)
