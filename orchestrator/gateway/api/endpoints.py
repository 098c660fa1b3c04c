"""Every operation of the API, in the order of the document."""

from __future__ import annotations

from orchestrator.gateway.api import (
    admin,
    anthropic,
    batches,
    chat,
    decisions,
    mcp,
    memories,
    native,
    ranking,
    response_threads,
    responses,
    students,
    text_completions,
)
from orchestrator.gateway.api import embeddings as embedding
from orchestrator.gateway.api import pipelines as pipeline_runs

ENDPOINTS = (
    *chat.ENDPOINTS,
    *responses.ENDPOINTS,
    *response_threads.ENDPOINTS,
    *text_completions.ENDPOINTS,
    *embedding.ENDPOINTS,
    *ranking.ENDPOINTS,
    *anthropic.ENDPOINTS,
    *decisions.ENDPOINTS,
    *native.ENDPOINTS,
    *pipeline_runs.ENDPOINTS,
    *memories.ENDPOINTS,
    *mcp.ENDPOINTS,
    *batches.ENDPOINTS,
    *admin.ENDPOINTS,
    *students.ENDPOINTS,
)
