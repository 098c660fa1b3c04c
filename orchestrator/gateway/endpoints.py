"""Every operation of the API, in the order of the document."""

from __future__ import annotations

from orchestrator.gateway import admin, anthropic, batches, chat, decisions, embedding, memories, native, pipelines, responses

ENDPOINTS = (
    *chat.ENDPOINTS,
    *responses.ENDPOINTS,
    *embedding.ENDPOINTS,
    *anthropic.ENDPOINTS,
    *decisions.ENDPOINTS,
    *native.ENDPOINTS,
    *pipelines.ENDPOINTS,
    *memories.ENDPOINTS,
    *batches.ENDPOINTS,
    *admin.ENDPOINTS,
)
