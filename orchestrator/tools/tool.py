"""What a tool is: a name, a schema, what it changes, and what is called."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from orchestrator.errors import InvalidArgument, OrchestratorError
from orchestrator.jsontypes import JsonObject

Effects = Literal["none", "idempotent", "once"]
EFFECTS: tuple[str, ...] = get_args(Effects)
TIMEOUT_S = 30.0
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolFailed(OrchestratorError):
    """A tool gave no result: a model is told the message, and may call otherwise; a pipeline may call it again.

    Args:
        message: What happened.
        remedy: What to do next.
        retryable: Whether the same call may work later.
        may_have_happened: Whether what it changes may have been changed all the same.
        retry_after_s: How long to wait before, in seconds.
    """

    code = "tool"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        retryable: bool = False,
        may_have_happened: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retryable = retryable
        self.may_have_happened = may_have_happened
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a tool may know of the call: `key` is the same when the same call is made again, in whatever process.

    A function with a parameter `context` is handed this, one with `idempotency_key` the key alone. `progress` tells
    whoever looks at the run how far the call is, in a few words.
    """

    key: str
    run: str = ""
    seconds_left: float | None = None
    progress: Callable[[str], None] = lambda told: None


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call.

    Args:
        name: At most 64 letters of ASCII, digits, `_` and `-`: more no provider takes.
        call: What is called with arguments that satisfy the schema. Raises `ToolFailed` for what the model should be
            told; any other error is told, too, with its type.
        parameters: The JSON Schema of the arguments.
        description: What it does, for the model.
        effects: `none`: it may be called again, and for several drafts at once. `idempotent`: it may be called again
            with the same key. `once`: it is never called again, also not after a crash.
        needs_approval: Whether somebody is asked before each call.
        timeout_s: The longest that one call may take, in seconds.
        max_calls: The most calls in one run (`None`: as many as the run has steps).

    Raises:
        InvalidArgument: A field that cannot be used.
    """

    name: str
    call: Callable[[JsonObject, CallContext], Awaitable[Any]]
    parameters: JsonObject
    description: str = ""
    effects: Effects = "once"
    needs_approval: bool = False
    timeout_s: float = TIMEOUT_S
    max_calls: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidArgument(
                f"a tool cannot be called {self.name!r:.80}: names are at most 64 letters of ASCII, digits, _ and -",
                remedy='Give it another: tool(function, name="find_order")',
            )
        if self.effects not in EFFECTS:
            raise InvalidArgument(
                f"the effects of the tool {self.name} are {self.effects!r}", remedy=f"One of: {', '.join(EFFECTS)}"
            )
        if not isinstance(self.timeout_s, int | float) or not 0 < self.timeout_s < float("inf"):
            raise InvalidArgument(
                f"the timeout of the tool {self.name} must be a number of seconds above 0, not {self.timeout_s!r}",
                remedy="timeout=30",
            )
        if self.max_calls is not None and (not isinstance(self.max_calls, int) or self.max_calls < 1):
            raise InvalidArgument(
                f"max_calls of the tool {self.name} must be a whole number of at least 1, not {self.max_calls!r}",
                remedy="Leave it out for no limit",
            )

    def __repr__(self) -> str:
        return f"Tool({self.name!r}, effects={self.effects!r})"

    def as_wire(self) -> JsonObject:
        """The tool as models are told of it, in OpenAI's form."""
        function: JsonObject = {"name": self.name, "parameters": self.parameters}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}
