"""POST /v1/embeddings: the shipped static encoder, or any server that the configuration names."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api.auxiliary import listed, opened, serve
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.request import JSON
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

STATIC = "orchestrator/static"


async def embed(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's embeddings, by the encoder that comes with the package or by a model of the configuration."""
    models = services.serving.embedders
    if body["model"] != STATIC:
        if body["model"] not in models.names:
            known = ", ".join((STATIC, *models.names))
            raise GatewayError(
                404,
                f"there is no embedding model {body['model']!r}. There are: {known}",
                code="model_not_found",
                param="model",
            )
        await serve(services, call, "embeddings", models, "/embeddings", body, listed(body["input"]), "data")
        return
    tab = opened(services, call, "embeddings", STATIC)
    content = await _static(tab, body)
    tab.served.model = STATIC
    await call.reply(200, content, [JSON])


async def _static(tab: RequestAccount, body: JsonObject) -> bytes:
    from orchestrator.memory import default_encoder  # numpy

    texts = _texts(body["input"])
    tokens = sum(map(estimate_tokens, texts))
    await tab.hold(0.0, tokens)
    encoder = await asyncio.to_thread(default_encoder)
    vectors = np.asarray(await asyncio.to_thread(encoder.encode, texts), dtype=np.float32)
    dimensions = None if body.get("dimensions") is None else int(body["dimensions"])
    if dimensions is not None and dimensions > vectors.shape[1]:
        message = f"{STATIC} has {vectors.shape[1]} dimensions, not {dimensions}"
        raise GatewayError(404, message, code="invalid_dimensions", param="dimensions")
    if dimensions is not None:
        vectors = vectors[:, :dimensions]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    tab.settle(ModelProfile(STATIC, 0.0, 0.0), Usage(tokens))
    as_base64 = body.get("encoding_format") == "base64"
    rows = [
        base64.b64encode(np.ascontiguousarray(row).tobytes()).decode() if as_base64 else row.tolist() for row in vectors
    ]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return orjson.dumps(
        {"object": "list", "data": data, "model": STATIC, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    )


def _texts(given: JsonValue) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise GatewayError(404, f"{STATIC} takes text, no token ids", code="tokens_not_supported", param="input")
    found: list[str] = texts
    return found


async def models(services: Services, call: ClientRequest, _: object) -> None:
    """Lists the models that the key may use."""
    await call.reply_json({"object": "list", "data": _listed(services, call)})


async def model(services: Services, call: ClientRequest, _: object) -> None:
    """Describes one model."""
    found = next((one for one in _listed(services, call) if one["id"] == call.params["model"]), None)
    if found is None:
        raise GatewayError(404, f"there is no model {call.params['model']!r}", code="model_not_found", param="model")
    await call.reply_json(found)


_STARTED = int(time.time())


def _listed(services: Services, call: ClientRequest) -> list[JsonObject]:
    """What this caller may ask for, in OpenAI's words and with what is known of each model."""
    serving = services.serving
    found = []
    for name in (*serving.completions.models, STATIC, *serving.auxiliary_names):
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
    Endpoint(
        "POST", "/v1/embeddings", embed, "Embed texts", "inference", body="EmbeddingsRequest", answer="Embeddings"
    ),
    Endpoint("GET", "/v1/models", models, "The models that this key may use", "inference", answer="Models"),
    Endpoint(
        "GET",
        "/v1/models/{model}",
        model,
        "One model",
        "inference",
        answer="Model",
        path_schemas=(("model", "ModelName"),),
        errors=(404,),
    ),
)
