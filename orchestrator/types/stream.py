"""What a stream of an answer yields beside the events of its search: the text."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.jsontypes import JsonObject


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, in the order in which `model` writes it."""

    text: str
    model: str

    def as_dict(self) -> JsonObject:
        """The piece as JSON values."""
        return {"kind": "text", "text": self.text, "model": self.model}


@dataclass(frozen=True, slots=True)
class TextRevised:
    """The text shown so far was beaten: forget it, the answer's text follows in new pieces.

    It was written by `model`; `reason` says what came between.
    """

    model: str
    reason: str

    def as_dict(self) -> JsonObject:
        """The note as JSON values."""
        return {"kind": "text_revised", "model": self.model, "reason": self.reason}
