"""POST /v1/rerank (the form of Cohere and Jina, which llama.cpp, vLLM and others serve) and POST /v1/moderations
(OpenAI's), where a model of the configuration does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.gateway.api.auxiliary import listed, serve
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services


async def rank(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Ranks documents by a query, in the form of Cohere and Jina."""
    texts = [
        text for document in body["documents"] for text in (body["query"], document)
    ]  # the query is read with each
    await serve(services, call, "rerank", services.serving.rerankers, "/rerank", body, texts, "results")


async def moderate(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's moderations, by a model of the configuration."""
    models = services.serving.moderations
    if body.get("model") is None:  # OpenAI's clients may leave it out
        body = {**body, "model": next(iter(models.names), "")}
    await serve(services, call, "moderations", models, "/moderations", body, listed(body["input"]), "results")


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/rerank", rank, "Rank documents for a query", "inference", body="RerankRequest", answer="Results"
    ),
    Endpoint(
        "POST",
        "/v1/moderations",
        moderate,
        "Judge texts and pictures",
        "inference",
        body="ModerationRequest",
        answer="Results",
    ),
)
