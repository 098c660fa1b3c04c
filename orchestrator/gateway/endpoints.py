"""Every operation of the API, in the order of the document."""

from __future__ import annotations

from orchestrator.gateway import (
    admin,
    anthropic,
    batches,
    chat,
    decisions,
    embedding,
    memories,
    native,
    pipeline_runs,
    ranking,
    responses,
    text_completions,
)

ENDPOINTS = (
    *chat.ENDPOINTS,
    *responses.ENDPOINTS,
    *text_completions.ENDPOINTS,
    *embedding.ENDPOINTS,
    *ranking.ENDPOINTS,
    *anthropic.ENDPOINTS,
    *decisions.ENDPOINTS,
    *native.ENDPOINTS,
    *pipeline_runs.ENDPOINTS,
    *memories.ENDPOINTS,
    *batches.ENDPOINTS,
    *admin.ENDPOINTS,
)
