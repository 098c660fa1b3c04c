"""Anthropic's events of a stream, read as chunks of a chat completion."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.backends.dialects.annotations import from_anthropic
from orchestrator.backends.dialects.dialect import (
    Chunks,
)
from orchestrator.backends.usage import usage_of
from orchestrator.jsontypes import JsonObject, JsonValue

FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip


KNOWN_BLOCKS = ("text", "tool_use", "thinking", "redacted_thinking")


class AnthropicReader(Chunks):
    """The usage is told in pieces.

    What was read with `message_start`, what was written so far, and all of it again where tools ran, later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_done = False
        self._usage: dict[str, Any] = {}
        self._calls = -1
        self._block: dict[str, Any] = {}
        self._said = self._began = 0  # characters of text so far, and when the block began
        self._citations: list[Any] = []
        self._has_arguments = False

    def read(self, event: JsonObject) -> list[JsonObject]:
        """The chunks of a chat completion that one event of the stream stands for."""
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event.get("delta") or {})
        if kind == "content_block_start":
            return self._begun(event.get("content_block") or {})
        if kind == "content_block_stop":
            return self._ended()
        if kind == "message_start":
            message = event.get("message") or {}
            self.id, self.model = str(message.get("id") or ""), str(message.get("model") or "")
            self._count(message.get("usage"))
            return [self.chunk({"role": "assistant", "content": ""}), *self._so_far()]
        if kind == "message_delta":
            self._count(event.get("usage"))
            reason = (event.get("delta") or {}).get("stop_reason")
            if not reason:
                return self._so_far()
            found = self.chunk({}, FINISH.get(reason, "stop"))
            found["choices"][0] |= ending(event["delta"])
            return [found, *self._so_far()]
        if kind == "message_stop":
            self.is_done = True
            return self._so_far()
        return [{"error": event.get("error") or event}] if kind == "error" else []

    def _so_far(self) -> list[JsonObject]:
        """What was used by now: a stream that breaks off is paid, too."""
        usage = usage_of(self._usage)
        return [self.usage(usage)] if usage is not None else []

    def _count(self, usage: JsonValue) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _begun(self, block: JsonObject) -> list[JsonObject]:
        self._block = block
        if block.get("type") == "tool_use":
            self._calls, self._has_arguments = self._calls + 1, False
            return [
                self.chunk(
                    {"tool_calls": [{"index": self._calls, **read_tool_use(block.get("id"), block.get("name"), "")}]}
                )
            ]
        self._written, self._citations, self._began = "", [], self._said
        text = block.get("text") if block.get("type") == "text" else None
        self._said += len(text or "")
        return [self.chunk({"content": text})] if text else []

    def _delta(self, delta: JsonObject) -> list[JsonObject]:
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta.get("text") or ""
            self._said += len(text)
            return [self.chunk({"content": text})]
        if kind == "input_json_delta" and self._block.get("type") != "tool_use":
            self._written += str(delta.get("partial_json") or "")
            return []
        if kind == "citations_delta":
            self._citations.append(delta.get("citation"))
            return [self.chunk({"anthropic_citation": delta.get("citation")})]
        if kind == "input_json_delta":
            self._has_arguments = self._has_arguments or bool(delta.get("partial_json"))
            arguments = {"arguments": delta.get("partial_json") or ""}
            return [self.chunk({"tool_calls": [{"index": self._calls, "function": arguments}]})]
        if kind == "thinking_delta":
            thought = delta.get("thinking") or ""
            self._block["thinking"] = str(self._block.get("thinking") or "") + thought
            return [self.chunk({"reasoning_content": thought})]
        if kind == "signature_delta":
            self._block["signature"] = str(self._block.get("signature") or "") + str(delta.get("signature") or "")
        return []

    def _ended(self) -> list[JsonObject]:
        block, self._block = self._block, {}
        if block.get("type") in ("thinking", "redacted_thinking"):
            return [self.chunk({"thinking_blocks": [block]})]
        if (
            block.get("type") == "tool_use" and block.get("input") and not self._has_arguments
        ):  # they came with its beginning
            return [
                self.chunk(
                    {"tool_calls": [{"index": self._calls, "function": {"arguments": json.dumps(block["input"])}}]}
                )
            ]
        if self._citations:
            return [self.chunk({"annotations": from_anthropic(self._citations, self._began, self._said)})]
        if not block or block.get("type") in KNOWN_BLOCKS:
            return []
        if self._written:
            block = {**block, "input": arguments_of(self._written)}
        return [self.chunk({"anthropic_blocks": [block]})]


def ending(told: JsonObject) -> JsonObject:
    """Why an answer ended, in Anthropic's own words: those of OpenAI's are fewer."""
    reason, sequence = told.get("stop_reason"), told.get("stop_sequence")
    return ({"native_finish_reason": reason} if reason else {}) | (
        {"stop_reason": sequence} if isinstance(sequence, str) else {}
    )


def read_tool_use(id: JsonValue, name: JsonValue, arguments: str) -> JsonObject:
    """A call of a tool as chat completions have it."""
    return {"id": str(id or ""), "type": "function", "function": {"name": str(name or ""), "arguments": arguments}}


def arguments_of(text: JsonValue) -> JsonObject:
    """The arguments of a call; what is no JSON object is passed on as it is, under `arguments`."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, TypeError, RecursionError):
        return {"arguments": text}
    return found if isinstance(found, dict) else {"arguments": found}
