"""The trace: a tree of everything that was done for one query, with cost, tokens and time at each node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Protocol

from orchestrator.jsontypes import JsonObject, JsonValue


@dataclass(slots=True)
class Span:
    """One step. Times are seconds since the trace began; `attributes` hold JSON values only."""

    name: str
    start_s: float
    end_s: float | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    children: list[Span] = field(default_factory=list)

    def as_dict(self) -> JsonObject:
        """The span and those within it as JSON values."""
        out: dict[str, Any] = {
            "name": self.name,
            "start_s": round(self.start_s, 6),
            "duration_s": round((self.end_s or self.start_s) - self.start_s, 6),
        }
        if self.attributes:
            out["attributes"] = self.attributes
        if self.children:
            out["children"] = [child.as_dict() for child in self.children]
        return out


class EventKind(NamedTuple):
    """When events of a kind come, and what stands in their `detail`."""

    when: str
    detail: tuple[str, ...]


_CALL = ("model", "cost_usd", "seconds", "prefill_tokens", "output_tokens")
EVENTS: Mapping[str, EventKind] = MappingProxyType(
    {
        "recalled": EventKind("memory was asked", ("records", "tokens")),
        "routed": EventKind("the router has chosen", ("model", "reason", "adequate")),
        "trimmed": EventKind(
            "a conversation was too long for the model, and its middle was left out", ("dropped_tokens",)
        ),
        "fallback": EventKind("a model of `fallbacks` is asked, since the others failed", ("model", "reason")),
        "drafting": EventKind("a model is asked", ("model",)),
        "drafted": EventKind("it has answered", _CALL),
        "revising": EventKind("a model is asked to mend a draft", ("model",)),
        "revised": EventKind("it has", _CALL),
        "criticising": EventKind("a model is asked what is wrong with a draft", ("model",)),
        "criticised": EventKind("it has said it", _CALL),
        "comparing": EventKind("a model is asked which of two drafts is better", ("model",)),
        "compared": EventKind("it has said it", _CALL),
        "combining": EventKind("a model is asked to make one answer of several", ("model",)),
        "combined": EventKind("it has", _CALL),
        "verified": EventKind("a check could tell", ("model", "verifier", "passed", "score")),
        "unverified": EventKind("a check failed to do its work, and says nothing", ("verifier", "reason")),
        "unaffordable": EventKind(
            "a call was not made: its worst case does not fit into the budget", ("model", "reason")
        ),
        "abstained": EventKind("a model gave no answer", ("model", "reason")),
        "failed": EventKind("a call failed", ("model", "reason")),
        "answered": EventKind("the search has ended with an answer", ("model", "confidence", "cost_usd")),
        "decided": EventKind("a question with probabilities was answered", ("model", "cost_usd")),
        "calling": EventKind("a tool is called", ("tool", "call")),
        "called": EventKind("it has answered, or failed", ("tool", "call", "failed", "seconds", "trimmed")),
        "progress": EventKind("a tool tells how far it is", ("tool", "told")),
        "approved": EventKind("a call that needs approval may be made", ("tool", "call")),
        "refused": EventKind("it may not", ("tool", "call")),
        "run_started": EventKind("a pipeline begins, or goes on", ("run", "pipeline")),
        "step_started": EventKind("a step begins", ("step", "verb")),
        "step_retrying": EventKind("a step failed and is tried again", ("step", "attempt", "reason", "wait_s")),
        "step_finished": EventKind(
            "a step has ended", ("step", "verb", "status", "seconds", "cost_usd", "error", "note")
        ),
        "item_failed": EventKind("an item of a `map` failed", ("step", "index", "reason")),
        "branched": EventKind("a `branch` has chosen its arm", ("step", "arm")),
        "tool_called": EventKind("a `tool` step has called it", ("step", "tool")),
        "run_finished": EventKind("the pipeline has ended", ("run", "cost_usd", "seconds", "partial")),
    }
)
"""Every kind of event."""


@dataclass(frozen=True, slots=True)
class Event:
    """Progress as a user sees it: one of `EVENTS`, with seconds since the beginning, and its details."""

    kind: str
    at_s: float
    detail: dict[str, Any]


class Recorded(Protocol):
    """What can be kept with a trace to be replayed."""

    def as_dict(self) -> JsonObject:
        """The record as JSON values."""


class SpanBlock:
    """The block of a span: `with trace.span(...) as span`."""

    __slots__ = ("_span", "_trace")

    def __init__(self, span: Span, trace: Trace) -> None:
        self._span = span
        self._trace = trace

    def __enter__(self) -> Span:
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._span.attributes["error"] = f"{type(error).__name__}: {error}"[:500]
        self._span.end_s = self._trace.now_s()


class Trace:
    """Collects spans and passes events on; time never goes back, even if `clock` (seconds) does.

    `id` is 32 hex digits (W3C Trace Context).

    `search` is the search as it can be replayed (`orchestrator.search.replayed`); it holds the answers' texts.
    """

    def __init__(
        self,
        *,
        id: str = "",
        clock: Callable[[], float] = time.perf_counter,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.id = id or secrets.token_hex(16)
        self._clock = clock
        self._began = clock()
        self.on_event = on_event
        self.root = Span("answer", 0.0)
        self.events: list[Event] = []
        self.search: Recorded | None = None
        self._latest_s = 0.0

    def now_s(self) -> float:
        """Seconds since the trace began; never less than before."""
        self._latest_s = max(self._latest_s, self._clock() - self._began)
        return self._latest_s

    def span(self, name: str, parent: Span | None = None, **attributes: JsonValue) -> SpanBlock:
        """A step that lasts as long as the block; an exception is noted on it and passes on."""
        span = Span(name, self.now_s(), attributes=attributes)
        (parent or self.root).children.append(span)
        return SpanBlock(span, self)

    def emit(self, kind: str, **detail: JsonValue) -> None:
        """Tells whoever listens of something, and notes it."""
        event = Event(kind, self.now_s(), detail)
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event)

    def finish(self, **attributes: JsonValue) -> None:
        """Ends the trace."""
        self.root.end_s = self.now_s()
        self.root.attributes.update(attributes)

    def as_dict(self, *, with_search: bool = False) -> JsonObject:
        """The tree as JSON; with `with_search` also what a replay of the search needs, texts of answers included."""
        searched = {"search": self.search.as_dict()} if with_search and self.search is not None else {}
        return {"id": self.id, **self.root.as_dict(), **searched}
