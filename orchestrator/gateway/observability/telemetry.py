"""OpenTelemetry spans of what was served, in the GenAI conventions.

Made after the answer, from its record, so that a request waits for none.

`1.41` are the names that most back ends read (github.com/open-telemetry/semantic-conventions v1.41), `latest` those of
open-telemetry/semantic-conventions-genai. No content is ever in a span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.requests import ServedRequest
from orchestrator.telemetry import Telemetry, response_attributes
from orchestrator.telemetry.spans import NS

OPERATIONS = {
    "embeddings": "embeddings",
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "answer": "chat",
    "systemone": "chat",
}


class Spans:
    """Exports through the OpenTelemetry SDK, to OTEL_EXPORTER_OTLP_ENDPOINT; `exporter` replaces that, for tests.

    `server_of` tells (host, port) of the one server that a model is asked at, or `None`: spans go to the operator
    alone.
    """

    def __init__(
        self,
        conventions: Literal["1.41", "latest"],
        server_of: Callable[[str], tuple[str, int] | None],
        *,
        exporter: Any = None,
    ) -> None:
        self._bridge = Telemetry(conventions, exporter=exporter, owns=True)
        self._is_latest = self._bridge.is_latest
        self._server_of = server_of
        self._tracer = self._bridge.tracer

    def export(self, served: Iterable[ServedRequest]) -> None:
        """Exports requests as spans of OpenTelemetry."""
        for one in served:
            self._export(one)

    def _export(self, one: ServedRequest) -> None:
        from opentelemetry import trace  # optional: extra `telemetry`

        operation = OPERATIONS.get(one.api, one.api)
        parent = _parent((one.trace or {}).get("traceparent"))
        began = int(one.at * NS)
        span = self._tracer.start_span(
            f"{operation} {one.asked}",
            parent,
            kind=trace.SpanKind.SERVER,
            attributes=self._attributes(one, operation),
            start_time=began,
        )
        self._export_attempts(one, operation, self._bridge.within(span), began)
        self._bridge.end(span, began + int(one.latency_s * NS), one.error)

    def _export_attempts(self, one: ServedRequest, operation: str, context: Any, began: int) -> None:
        """A span for each call of a model, one after the other.

        What was used is known of the request: it is one call's where there was no other.
        """
        attempts = (one.trace or {}).get("attempts", ())
        for attempt in attempts:
            attributes = {"gen_ai.operation.name": operation, "gen_ai.request.model": attempt["model"]}
            server = self._server_of(attempt["model"])
            if server is not None:
                attributes |= {"server.address": server[0], "server.port": server[1]}
            if all("error" in other for other in attempts if other is not attempt) and "error" not in attempt:
                attributes |= _answered(one)
            inner = self._bridge.start(f"{operation} {attempt['model']}", context, attributes, began, calls=True)
            began += int(attempt["seconds"] * NS)
            self._bridge.end(inner, began, attempt.get("error", ""))

    def _attributes(self, one: ServedRequest, operation: str) -> JsonObject:
        found: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "orchestrator",
            "gen_ai.request.model": one.asked,
            **_answered(one),
            "orchestrator.request_id": one.id,
            "http.response.status_code": one.status,
            "orchestrator.org": one.org,
            "orchestrator.key": one.key,
            "orchestrator.cached": one.cached,
        }
        if one.ttft_s is not None:
            found["gen_ai.response.time_to_first_chunk" if self._is_latest else "gen_ai.server.time_to_first_token"] = (
                one.ttft_s
            )
        if one.cost_nano is not None:
            found["orchestrator.cost_usd"] = one.cost_nano / NS
        if not self._is_latest:
            found["gen_ai.system"] = "orchestrator"
        return found


def _answered(one: ServedRequest) -> JsonObject:
    """What is told of an answer: who gave it, its name, what it used."""
    found = response_attributes(one.model, one.prefill_tokens, one.output_tokens, one.cached_tokens)
    if (one.trace or {}).get("response_id"):
        found["gen_ai.response.id"] = (one.trace or {})["response_id"]
    return found


def _parent(traceparent: str | None) -> Any:
    """The client's own span, if it named one."""
    if not traceparent:
        return None
    from opentelemetry import trace  # optional: extra `telemetry`

    _, trace_id, span_id, flags = traceparent.split("-")
    context = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context))
