"""From what was done for a query, or in a run of a pipeline, to spans of OpenTelemetry.

Spans are made when a query or a step has ended, from what it kept anyway, so that nothing waits for them. `1.41` are
the names that most back ends read (github.com/open-telemetry/semantic-conventions v1.41), `latest` those of
open-telemetry/semantic-conventions-genai. No prompt, answer or feedback is ever in a span.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.trace import Event, Span, Trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

Conventions = Literal["1.41", "latest"]
NS = 1_000_000_000
_CALLS = frozenset(("draft", "revise", "critique", "compare", "combine"))  # spans of a trace that are calls of a model
_KEPT = frozenset(("cost_usd", "records", "tokens", "chosen", "score", "passed", "worst_case", "trimmed_tokens"))


class Telemetry:
    """Makes spans with a tracer.

    Args:
        conventions: Which names attributes have.
        exporter: Where spans go: through a provider of our own. By default they go to the tracer provider that the
            program has set up, as other libraries' spans do.
        owns: Sends them by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT, through a provider of our own.

    Raises `ConfigError` where OpenTelemetry is not installed (extra `telemetry`).
    """

    def __init__(
        self, conventions: Conventions = "1.41", *, exporter: SpanExporter | None = None, owns: bool = False
    ) -> None:
        self.is_latest = conventions == "latest"
        self.tracer = _own_tracer(exporter) if owns or exporter is not None else _global_tracer()

    @classmethod
    def parse(cls, stated: object) -> Telemetry | None:
        """`True`, the name of conventions, or a `Telemetry`; `None` and `False` are none.

        Raises `InvalidArgument`.
        """
        if stated is None or stated is False:
            return None
        if isinstance(stated, Telemetry):
            return stated
        if stated is True:
            return cls()
        if stated == "1.41" or stated == "latest":
            return cls(stated)
        raise InvalidArgument(
            f"telemetry must be True or the name of conventions, not {stated!r:.60}",
            remedy='telemetry=True, "1.41" or "latest"',
        )

    def context(self) -> Context:
        """Where a span that begins now belongs: within the caller's span."""
        from opentelemetry import context  # optional: extra `telemetry`

        return context.get_current()

    def export_query(self, trace: Trace, parent: Context | None, *, metadata: JsonMapping, error: str = "") -> None:
        """A span for a query that has ended, and within it one for each step and each call of a model."""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "orchestrator",
            "gen_ai.provider.name": "orchestrator",
            "orchestrator.answer_id": trace.id,
            **{f"orchestrator.metadata.{name}": value for name, value in metadata.items()},
            **_kept(trace.root),
        }
        model, confidence = trace.root.attributes.get("model"), trace.root.attributes.get("confidence")
        if model is not None:
            attributes |= {"gen_ai.response.model": model, "orchestrator.confidence": confidence}
        began = time.time_ns() - int(trace.now_s() * NS)
        root = self.start("invoke_agent orchestrator", parent, attributes, began)
        for span in list(trace.root.children):
            self._export_step(span, self.within(root), began)
        self.end(root, began + int(trace.now_s() * NS), error)

    @contextmanager
    def run(self, on_event: Callable[[Event], None] | None = None) -> Iterator[Callable[[Event], None]]:
        """A block in which a pipeline runs: gives a listener that makes spans of the run's events, and tells
        `on_event`.
        """
        spans = _RunSpans(self, self.context())

        def tell(event: Event) -> None:
            spans.event(event)
            if on_event is not None:
                on_event(event)

        try:
            yield tell
        except BaseException as error:
            spans.close(getattr(error, "code", type(error).__name__))
            raise
        spans.close()

    @contextmanager
    def tool_run(self, run: str, on_event: Callable[[Event], None] | None) -> Iterator[Callable[[Event], None]]:
        """A block in which a run calls tools: one span, with those of its queries and of its calls within it.

        Gives a listener that makes spans of the calls, and tells `on_event`.
        """
        from opentelemetry import context  # optional: extra `telemetry`

        attributes: JsonObject = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "orchestrator"}
        attributes["orchestrator.run_id"] = run or None
        root = self.start("invoke_agent orchestrator", self.context(), attributes, time.time_ns())
        within = self.within(root)

        def tell(event: Event) -> None:
            if event.kind == "called":
                self._export_call(event.detail, within)
            if on_event is not None:
                on_event(event)

        token, failed = context.attach(within), ""
        try:
            yield tell
        except BaseException as error:
            failed = str(getattr(error, "code", type(error).__name__))
            raise
        finally:
            context.detach(token)
            self.end(root, time.time_ns(), failed)

    def _export_call(self, detail: JsonObject, within: Context) -> None:
        """A span for a tool that was called just now."""
        now, name = time.time_ns(), str(detail["tool"])
        attributes: JsonObject = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": detail.get("call"),
            "gen_ai.tool.type": "function",
        }
        span = self.start(f"execute_tool {name}", within, attributes, now - int(detail["seconds"] * NS))
        self.end(span, now, "failed" if detail["failed"] else "")

    def start(
        self, name: str, parent: Context | None, attributes: JsonObject, at_ns: int, *, calls: bool = False
    ) -> OtelSpan:
        """A span that began at `at_ns`; one that `calls` a model is a client's."""
        from opentelemetry import trace  # optional: extra `telemetry`

        kind = trace.SpanKind.CLIENT if calls else trace.SpanKind.INTERNAL
        plain = {key: value for key, value in attributes.items() if value is not None}
        return self.tracer.start_span(name, parent, kind=kind, attributes=plain, start_time=at_ns)

    def within(self, span: OtelSpan) -> Context:
        """The place of spans that belong to this one."""
        from opentelemetry import trace  # optional: extra `telemetry`

        return trace.set_span_in_context(span)

    def end(self, span: OtelSpan, at_ns: int, error: str = "") -> None:
        """Ends a span, with the code of the error that it ended in."""
        if error:
            from opentelemetry import trace  # optional: extra `telemetry`

            span.set_attribute("error.type", error)
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        span.end(at_ns)

    def _export_step(self, step: Span, parent: Context, began: int) -> None:
        at, end = began + int(step.start_s * NS), began + int((step.end_s or step.start_s) * NS)
        failed = "failed" if "error" in step.attributes else ""
        if step.name in _CALLS:
            model = str(step.attributes.get("model", ""))
            prefill, output = step.attributes.get("prefill_tokens", 0), step.attributes.get("output_tokens", 0)
            attributes = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": model,
                **({} if failed else response_attributes(model, prefill, output)),
                "orchestrator.step": step.name,
                **_kept(step),
            }
            span = self.start(f"chat {model}", parent, attributes, at, calls=True)
        else:
            verifier = step.attributes.get("verifier")
            name = step.name if verifier is None else f"{step.name} {verifier}"
            span = self.start(name, parent, {"orchestrator.step": step.name, **_kept(step)}, at)
        for child in list(step.children):
            self._export_step(child, self.within(span), began)
        self.end(span, end, failed)


class _RunSpans:
    """Spans of one run, made from its events."""

    def __init__(self, telemetry: Telemetry, parent: Context) -> None:
        self._telemetry = telemetry
        self._parent = parent
        self._run: OtelSpan | None = None
        self._steps: dict[str, OtelSpan] = {}

    def event(self, event: Event) -> None:
        """Takes one event of the run."""
        detail, now = event.detail, time.time_ns()
        path = str(detail.get("step", ""))
        if event.kind == "run_started":
            attributes = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": detail.get("pipeline")}
            attributes["orchestrator.run_id"] = detail.get("run")
            self._run = self._telemetry.start(
                f"invoke_workflow {detail.get('pipeline')}", self._parent, attributes, now
            )
        elif event.kind == "step_started":
            attributes = {"orchestrator.step": path, "orchestrator.verb": detail.get("verb")}
            self._steps[path] = self._telemetry.start(f"step {path}", self._above(path), attributes, now)
        elif event.kind == "drafted" and path in self._steps:
            self._call(path, detail, now)
        elif event.kind == "step_finished" and path in self._steps:
            span = self._steps.pop(path)
            span.set_attributes({k: v for k, v in {"orchestrator.cost_usd": detail.get("cost_usd")}.items() if v})
            self._telemetry.end(span, now, "failed" if detail.get("status") == "failed" else "")

    def close(self, error: str = "") -> None:
        """Ends the spans that are open: the run's, and those of steps that never ended."""
        now = time.time_ns()
        for span in (*self._steps.values(), *(() if self._run is None else (self._run,))):
            self._telemetry.end(span, now, error)
        self._steps, self._run = {}, None

    def _call(self, path: str, detail: JsonObject, now: int) -> None:
        model = str(detail.get("model"))
        used = response_attributes(model, detail.get("prefill_tokens", 0), detail.get("output_tokens", 0))
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, **used}
        attributes["orchestrator.cost_usd"] = detail.get("cost_usd")
        at = now - int((detail.get("seconds") or 0.0) * NS)
        parent = self._telemetry.within(self._steps[path])
        self._telemetry.end(self._telemetry.start(f"chat {model}", parent, attributes, at, calls=True), now)

    def _above(self, path: str) -> Context:
        """The span of the nearest step around this one, else the run's."""
        while path:
            path = path.rpartition(".")[0]
            if path in self._steps:
                return self._telemetry.within(self._steps[path])
        return self._parent if self._run is None else self._telemetry.within(self._run)


def response_attributes(model: str, prefill_tokens: int, output_tokens: int, cached_tokens: int = 0) -> JsonObject:
    """What is told of an answer: who gave it, and what it used."""
    found: dict[str, Any] = {
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": prefill_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
    }
    if cached_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = cached_tokens
    return found


def _kept(span: Span) -> JsonObject:
    """What of a step's attributes holds no content."""
    return {f"orchestrator.{name}": value for name, value in span.attributes.items() if name in _KEPT}


def _global_tracer() -> Tracer:
    try:
        from opentelemetry import trace  # optional: extra `telemetry`
    except ImportError:
        raise _missing() from None
    return trace.get_tracer("orchestrator")


def _own_tracer(exporter: SpanExporter | None) -> Tracer:
    try:
        from opentelemetry.sdk.resources import Resource  # optional: extra `telemetry`
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "orchestrator"}))
        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        else:
            provider.add_span_processor(SimpleSpanProcessor(exporter))
    except ImportError:
        raise _missing() from None
    return provider.get_tracer("orchestrator")


def _missing() -> ConfigError:
    return ConfigError(
        "telemetry needs OpenTelemetry, which is not installed",
        remedy="pip install 'compound-orchestrator[telemetry]'",
    )
