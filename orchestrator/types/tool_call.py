"""A model's wish to have a tool called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.jsontypes.texts import with_whole_texts

MAX_ARGUMENT_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, as a model proposes it.

    Args:
        name: The tool.
        arguments: By the names of its parameters; `None` where what the model wrote is no JSON object.
        id: What the result is given back under.
        written: The text of the arguments, where they are no JSON object.
        wire: The whole call in OpenAI's form, where it holds more than these (signatures of thoughts, for example).
    """

    name: str
    arguments: JsonObject | None
    id: str = ""
    written: str = ""
    wire: JsonObject | None = None

    @classmethod
    def parse(cls, stated: JsonValue, number: int = 0) -> ToolCall:
        """A call in OpenAI's form; `number` names one that has no id."""
        whole = with_whole_texts(dict(stated)) if isinstance(stated, Mapping) else {}
        call: Mapping[str, Any] = whole if isinstance(whole, Mapping) else {}
        stated_function = call.get("function")
        function: Mapping[str, Any] = stated_function if isinstance(stated_function, Mapping) else call
        written = function.get("arguments")
        arguments, text = read_arguments(written)
        more = {name for name in call if name not in ("id", "type", "function", "index")}
        return cls(
            str(function.get("name") or ""),
            arguments,
            str(call.get("id") or f"call_{number}"),
            text,
            dict(call) if more else None,
        )

    def as_wire(self) -> JsonObject:
        """The call in OpenAI's form."""
        if self.wire is not None:
            return self.wire
        text = self.written if self.arguments is None else json.dumps(self.arguments, ensure_ascii=False)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": text}}

    def as_dict(self) -> JsonObject:
        """The call as JSON values."""
        found: JsonObject = {"id": self.id, "name": self.name, "arguments": self.arguments}
        return found | ({"written": self.written} if self.arguments is None else {})


def read_arguments(written: JsonValue) -> tuple[JsonObject | None, str]:
    """(arguments, "") of what a model wrote, or (`None`, its text) where that is no JSON object.

    Nothing at all, and JSON's null, are no arguments. `NaN` and infinities are no JSON (RFC 8259, section 6).
    """
    if written is None or written == "":
        return {}, ""
    if isinstance(written, Mapping):
        return dict(written), ""
    text = str(written)
    if len(text) > MAX_ARGUMENT_CHARS:
        return None, text[:MAX_ARGUMENT_CHARS]
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:  # halves of characters may be spelled out in it
            found = with_whole_texts(found)
    except (ValueError, RecursionError):
        return None, text
    if found is None:
        return {}, ""
    return (found, "") if isinstance(found, dict) else (None, text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
