"""What is kept of traces: of which requests, for how long, and whether with their texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.spans import without_content

log = logging.getLogger(__name__)
MAX_TEXT_CHARS = 20_000
"""Of one text that is kept; an image in a message would be megabytes."""


class Sampled(Protocol):
    """What decides whether the spans of a request are kept."""

    id: str
    error: str
    escalated: bool


@dataclass(frozen=True, slots=True)
class TracePolicy:
    """What is kept beside the row that every request has, since money is counted by it.

    Args:
        sample: Share of requests, in [0, 1], whose spans are kept. Those that failed, and those that took more than one
            model, are always kept: they are looked for most.
        content: Whether questions, drafts and answers are kept as text.
        redact: Called with each text before it is kept; gives what is kept instead.
        keep_days: How long spans and texts are kept.
    """

    sample: float = 1.0
    content: bool = False
    redact: Callable[[str], str] | None = None
    keep_days: float = 30.0

    def keeps_spans(self, one: Sampled) -> bool:
        """Whether the spans of a request are kept; the same for it in every process."""
        if self.sample >= 1.0 or one.error or one.escalated:
            return True
        return int(one.id[:8], 16) < self.sample * 2**32

    def spans_of(self, spans: Sequence[JsonObject]) -> list[JsonObject]:
        """The spans as they may be kept: what quotes a model goes, or is redacted like any text."""
        if not self.content:
            return without_content(spans)
        if self.redact is None:
            return list(spans)
        told = self.redacted({"spans": list(spans)})
        return without_content(spans) if told is None else list(told["spans"])

    def redacted(self, content: JsonObject | None) -> JsonObject | None:
        """The texts as they may be kept; `None` where the hook fails: what it did not see is not kept."""
        try:
            return (
                None
                if content is None
                else {name: self._cleared(value, names=name == "question") for name, value in content.items()}
            )
        except (Exception, SystemExit):
            log.exception("the texts of a request are not kept: traces.redact failed")
            return None

    def _name(self, name: object, is_a_clients: bool) -> str:
        """A name in a mapping: ours hold nothing to hide, those of a client's JSON may."""
        return str(name) if self.redact is None or not is_a_clients else str(self.redact(str(name)))

    def _cleared(self, value: JsonValue, *, names: bool = False) -> JsonValue:
        if isinstance(value, str):  # the hook sees the whole text: what is cut off could split what it looks for
            whole = value if self.redact is None else str(self.redact(value))
            return whole if len(whole) <= MAX_TEXT_CHARS else f"{whole[:MAX_TEXT_CHARS]} [{len(whole):,} characters]"
        if isinstance(value, dict):
            return {self._name(name, names): self._cleared(each, names=names) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._cleared(each, names=names) for each in value]
        return value
