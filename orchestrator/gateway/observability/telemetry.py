"""OpenTelemetry spans of what was served, in the GenAI conventions.

Made after the answer, from its record, so that a request waits for none.

`1.41` are the names that most back ends read (github.com/open-telemetry/semantic-conventions v1.41), `latest` those of
open-telemetry/semantic-conventions-genai. No content is ever in a span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.requests import ServedRequest

OPERATIONS = {
    "embeddings": "embeddings",
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "answer": "chat",
    "systemone": "chat",
}
_NS = 1_000_000_000


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
        try:
            from opentelemetry.sdk.resources import Resource  # optional: extra `telemetry`
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        except ImportError:
            raise ConfigError(
                "gateway.telemetry needs OpenTelemetry", remedy="pip install 'compound-orchestrator[telemetry]'"
            ) from None
        self._is_latest = conventions == "latest"
        self._server_of = server_of
        provider = TracerProvider(resource=Resource.create({"service.name": "orchestrator"}))
        provider.add_span_processor(BatchSpanProcessor(_otlp()) if exporter is None else SimpleSpanProcessor(exporter))
        self._tracer = provider.get_tracer("orchestrator.gateway")

    def export(self, served: Iterable[ServedRequest]) -> None:
        """Exports requests as spans of OpenTelemetry."""
        for one in served:
            self._export(one)

    def _export(self, one: ServedRequest) -> None:
        from opentelemetry import trace  # optional: extra `telemetry`

        operation = OPERATIONS.get(one.api, one.api)
        parent = _parent((one.trace or {}).get("traceparent"))
        began = int(one.at * _NS)
        span = self._tracer.start_span(
            f"{operation} {one.asked}",
            parent,
            kind=trace.SpanKind.SERVER,
            attributes=self._attributes(one, operation),
            start_time=began,
        )
        if one.error:
            span.set_attribute("error.type", one.error)
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._export_attempts(one, operation, trace.set_span_in_context(span), began)
        span.end(began + int(one.latency_s * _NS))

    def _export_attempts(self, one: ServedRequest, operation: str, context: Any, began: int) -> None:
        """A span for each call of a model, one after the other.

        What was used is known of the request: it is one call's where there was no other.
        """
        from opentelemetry import trace  # optional: extra `telemetry`

        attempts = (one.trace or {}).get("attempts", ())
        for attempt in attempts:
            attributes = {"gen_ai.operation.name": operation, "gen_ai.request.model": attempt["model"]}
            server = self._server_of(attempt["model"])
            if server is not None:
                attributes |= {"server.address": server[0], "server.port": server[1]}
            name, kind = f"{operation} {attempt['model']}", trace.SpanKind.CLIENT
            inner = self._tracer.start_span(name, context, kind=kind, attributes=attributes, start_time=began)
            if "error" in attempt:
                inner.set_attribute("error.type", attempt["error"])
                inner.set_status(trace.Status(trace.StatusCode.ERROR))
            elif all("error" in other for other in attempts if other is not attempt):
                inner.set_attributes(_answered(one))
            began += int(attempt["seconds"] * _NS)
            inner.end(began)

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
            found["orchestrator.cost_usd"] = one.cost_nano / _NS
        if not self._is_latest:
            found["gen_ai.system"] = "orchestrator"
        return found


def _answered(one: ServedRequest) -> JsonObject:
    """What is told of an answer: who gave it, its name, what it used."""
    found: dict[str, Any] = {
        "gen_ai.response.model": one.model,
        "gen_ai.usage.input_tokens": one.prefill_tokens,
        "gen_ai.usage.output_tokens": one.output_tokens,
    }
    if one.cached_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = one.cached_tokens
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


def _otlp() -> Any:
    try:
        # Optional: extra `telemetry`.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError(
            "gateway.telemetry needs the OTLP exporter", remedy="pip install 'compound-orchestrator[telemetry]'"
        ) from None
    return OTLPSpanExporter()
