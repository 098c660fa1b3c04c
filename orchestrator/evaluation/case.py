"""One example of an evaluation: what is asked, and what is expected of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.jsontypes import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class Assertion:
    """Something that an answer must satisfy: `kind` as promptfoo names it, what it needs, and whether it is turned
    round.
    """

    kind: str
    value: JsonValue = None
    threshold: float | None = None
    negated: bool = False
    weight: float = 1.0
    """How much it counts beside the others, where a part of them will do; one of no weight fails nothing."""

    def __str__(self) -> str:
        """As it is told where an answer fails it."""
        shown = "" if self.value is None else f" {self.value!r}"[:80]
        return f"{'not-' if self.negated else ''}{self.kind}{shown}"


@dataclass(frozen=True, slots=True)
class Case:
    """An example.

    `messages` is a conversation in OpenAI's form whose last message is the user's. `targets` are right answers, any of
    which will do; `assertions` must all hold, or of their weight the share `threshold`.
    """

    id: str
    messages: tuple[JsonObject, ...]
    targets: tuple[str, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    scope: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    threshold: float | None = None

    @property
    def question(self) -> str:
        """What the last message says."""
        content = self.messages[-1].get("content")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else []
        return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
