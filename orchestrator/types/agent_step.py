"""One step of a run that uses tools: what a model wanted called, and what that gave."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.jsontypes import JsonObject
from orchestrator.types.tool_call import ToolCall


@dataclass(frozen=True, slots=True)
class CalledTool:
    """One call and its result.

    Args:
        call: What the model wanted.
        result: What it was told of the outcome, before it was quoted.
        failed: Whether that is an error.
        seconds: How long the tool took; 0 where it was not called.
        reused: Whether an earlier result was given again instead of calling it.
        was_called: Whether the tool was called, in this step or, where it is reused, before; not for a mistake or a
            call that was refused.
    """

    call: ToolCall
    result: str
    failed: bool = False
    seconds: float = 0.0
    reused: bool = False
    was_called: bool = True

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two."""
        if not self.was_called:
            return "not called"
        return "failed" if self.failed else "given again" if self.reused else f"{self.seconds:.2f} s"

    def as_dict(self) -> JsonObject:
        """The call with its result, as JSON values."""
        return self.call.as_dict() | {
            "result": self.result,
            "failed": self.failed,
            "seconds": self.seconds,
            "reused": self.reused,
            "was_called": self.was_called,
        }


@dataclass(frozen=True, slots=True)
class AgentStep:
    """What one step did.

    Args:
        model: Who proposed the calls.
        text: What it said beside them.
        called: The calls with their results, in the order in which they were proposed.
        confidence: P(these calls were right) in [0, 1].
        cost_usd: What proposing them cost; `None` where a price is unknown.
    """

    model: str
    text: str
    called: tuple[CalledTool, ...]
    confidence: float
    cost_usd: float | None

    def as_dict(self) -> JsonObject:
        """The step as JSON values."""
        return {
            "model": self.model,
            "text": self.text,
            "called": [each.as_dict() for each in self.called],
            "confidence": self.confidence,
            "cost_usd": self.cost_usd,
        }
