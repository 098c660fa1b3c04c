"""What is known of how an answer came about: for its reply, its trace and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.engine.trace_log import content_of, reference_nano, rounds_of, route_options
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.router import Route
from orchestrator.storage.requests import ServedRequest
from orchestrator.storage.spans import count_drafts, flatten, of_attempts
from orchestrator.types import AgentStep

if TYPE_CHECKING:
    from orchestrator.trace import Trace


@dataclass(slots=True)
class Provenance:
    """`reason` is why this model answered; `attempts` all calls that were made.

    `failed` the code of what went wrong after a stream had begun; `run` the id of a pipeline's run, or of one with
    tools: `called` are those that were called, in `steps`, `waiting` the calls that need approval; `session` the
    conversation that is kept; `response_id` what the answer is called in its reply; `question` and `text` what
    was asked and answered, where `keeps_content`; `experiment` the A/B test that it takes part in, as an object.
    """

    model: str = ""
    reason: str = ""
    route: Route | None = None
    confidence: float | None = None
    simulated: bool = False
    cached: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    ttft_s: float | None = None
    trace: Trace | None = None
    stopped: str = ""
    failed: str = ""
    run: str = ""
    session: str = ""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    steps: tuple[AgentStep, ...] = ()
    response_id: str = ""
    keeps_content: bool = False
    question: Any = None
    text: str = ""
    experiment: JsonObject | None = None

    def _describe_search(self, served: ServedRequest, trace: Trace) -> None:
        spans = flatten(trace.as_dict())
        if self.route is not None:
            route_options(spans, self.route)
            served.reference_nano = reference_nano(self.route)
        served.drafts, served.escalated = count_drafts(spans)
        if not served.drafts and self.attempts:
            end = spans[-1]["start_s"] + spans[-1]["duration_s"] if spans else 0.0
            spans += of_attempts(self.attempts, first=len(spans), start=end)
            served.drafts, served.escalated = count_drafts(spans)
        served.spans, served.rounds = spans, rounds_of(trace)

    def name_response(self, id: JsonValue) -> None:
        """The name that the answer's server gave it, where the API in front gives it none."""
        if not self.response_id and isinstance(id, str):
            self.response_id = id

    @property
    def why(self) -> str:
        """Why this model answered: why it was routed to, or whose answer it is where that was another."""
        was_routed = self.route is None or self.route.chosen in (None, self.model) or not self.model
        return self.reason if was_routed else f"{self.reason}; answered by {self.model}"

    def as_dict(self, *, cost_usd: float | None, request_id: str, explain: bool) -> JsonObject:
        """The field `orchestrator` of a reply."""
        route: dict[str, Any] = {"chosen": self.model, "reason": self.why}
        if explain and self.route is not None:
            route["options"] = [
                {
                    "model": o.model,
                    "p_success": round(o.p_success, 4),
                    "cost_usd": o.cost_usd,
                    "latency_s": o.latency_s,
                    "rejected": o.rejected,
                }
                for o in self.route.options
            ]
        found: dict[str, Any] = {
            "route": route,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "cost_usd": cost_usd,
            "trace_id": request_id,
            "cached": self.cached or False,
        }
        if self.simulated:
            found["simulated"] = True
        if self.run:
            found["run"] = self.run
        if self.session:
            found["session"] = self.session
        if self.called:
            found["called"] = self.called
        if self.waiting:
            found["requires_action"] = self.waiting
        return found

    def as_trace(self) -> JsonObject:
        """What is kept of it."""
        kept: dict[str, Any] = {"model": self.model, "reason": self.why, "attempts": self.attempts}
        for name in ("confidence", "stopped", "failed", "run", "response_id", "experiment"):
            if getattr(self, name):
                kept[name] = getattr(self, name)
        return kept

    def describe(self, served: ServedRequest) -> None:
        """Notes on the record of a request what is known of its answer, and its spans."""
        served.confidence, served.simulated = self.confidence, self.simulated
        if self.trace is None:  # it was passed through: its calls are in its head, and need no spans beside it
            served.drafts = sum("error" not in attempt for attempt in self.attempts)
            served.escalated = len({attempt["model"] for attempt in self.attempts}) > 1
        else:
            self._describe_search(served, self.trace)
        if self.keeps_content:
            served.content = content_of(self.question, self.text, self.trace)
