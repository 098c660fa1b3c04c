"""The tables of requests, version by version."""

from __future__ import annotations

from orchestrator.storage import rollups
from orchestrator.storage.database import Database

FIRST = """
CREATE TABLE requests (
    id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, org TEXT NOT NULL, team TEXT, key TEXT NOT NULL,
    api TEXT NOT NULL, asked TEXT NOT NULL,
    model TEXT NOT NULL, status BIGINT NOT NULL, prefill_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cost_nano BIGINT, latency_s DOUBLE PRECISION NOT NULL, ttft_s DOUBLE PRECISION, cached TEXT NOT NULL,
    scope TEXT NOT NULL,
    error TEXT NOT NULL, trace TEXT NOT NULL
);
CREATE INDEX requests_by_org ON requests (org, at);
CREATE INDEX requests_by_time ON requests (at)
"""
_WITH_SPANS = """
ALTER TABLE requests ADD COLUMN confidence DOUBLE PRECISION;
ALTER TABLE requests ADD COLUMN drafts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN escalated BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN simulated BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN reference_nano BIGINT;
ALTER TABLE requests ADD COLUMN spans BIGINT NOT NULL DEFAULT 0;
CREATE INDEX requests_by_model ON requests (model, at);
CREATE INDEX requests_by_key ON requests (key, at);
CREATE INDEX requests_by_scope ON requests (scope, at);
CREATE INDEX requests_failed ON requests (at) WHERE error <> '';
CREATE INDEX requests_by_cost ON requests (cost_nano);
CREATE INDEX requests_by_latency ON requests (latency_s);
CREATE TABLE trace_parts (
    request TEXT NOT NULL, part BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL, content {blob} NOT NULL,
    PRIMARY KEY (request, part)
);
CREATE INDEX trace_parts_by_time ON trace_parts (at);
CREATE TABLE trace_contents (
    request TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, org TEXT NOT NULL, scope TEXT NOT NULL,
    content {blob} NOT NULL
);
CREATE INDEX trace_contents_by_scope ON trace_contents (org, scope);
"""


def request_schemas(database: Database) -> list[str]:
    """What leads from no tables to those of today, step by step (`orchestrator.storage.migrations`)."""
    return [FIRST, _WITH_SPANS.format(blob=database.blob) + rollups.schema(database)]
