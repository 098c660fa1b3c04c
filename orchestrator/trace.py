"""The trace: a tree of everything that was done for one query, with cost, tokens and time at each node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True)
class Event:
    """Progress as a user sees it.

    `recalled`, `routed`, `drafting`, `drafted`, `verified`, `criticising`, `criticised`, `revising`, `revised`,
    `combining`, `combined`, `unaffordable`, `abstained`, `failed`, `answered`; of a run that uses tools `calling`,
    `called`, `approved`, `refused`.
    """

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
