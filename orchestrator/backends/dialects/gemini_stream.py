"""Gemini's answers and events of a stream, read as chat completions."""

from __future__ import annotations

import json
import secrets
from typing import Any

from orchestrator.backends.dialects.annotations import from_gemini
from orchestrator.backends.dialects.dialect import (
    Chunks,
)
from orchestrator.backends.usage import usage_of
from orchestrator.jsontypes import JsonObject, JsonValue

_STOPPED = {"STOP", "FINISH_REASON_UNSPECIFIED"}


_LONG = {"MAX_TOKENS"}


_NO_CALL = {
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "OTHER",
}


class GeminiReader(Chunks):
    """Every event is an answer of its own with the usage so far; the last one with a finish reason ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_done = False
        self._calls: dict[int, int] = {}
        self._said: dict[int, str] = {}
        self._has_begun = False

    def read(self, event: JsonObject) -> list[JsonObject]:
        """The chunks of a chat completion that one event of the stream stands for."""
        if "error" in event:
            return [{"error": event["error"]}]
        self.id, self.model = str(event.get("responseId") or self.id), str(event.get("modelVersion") or self.model)
        found: list[dict[str, Any]] = []
        blocked = (event.get("promptFeedback") or {}).get("blockReason")
        if blocked:
            found.append(self.chunk({"refusal": f"the prompt was blocked: {blocked}"}, "content_filter"))
        candidates = [each for each in event.get("candidates") or () if isinstance(each, dict)]
        for candidate in candidates:
            found += self._candidate(candidate)
        self.is_done = self.is_done or bool(blocked) or any(candidate.get("finishReason") for candidate in candidates)
        usage = usage_of(event.get("usageMetadata"))
        if usage is not None:
            found.append(self.usage(usage))
        return found

    def _candidate(self, candidate: JsonObject) -> list[JsonObject]:
        index = candidate.get("index") or 0
        message = read_message((candidate.get("content") or {}).get("parts") or ())
        begun = self._calls.get(index, 0)
        calls = message.pop("tool_calls", None)
        if calls:
            message["tool_calls"] = [{"index": begun + i, **call} for i, call in enumerate(calls)]
            self._calls[index] = begun + len(calls)
        if message.get("content") is None:
            message.pop("content", None)
        self._said[index] = self._said.get(index, "") + (message.get("content") or "")
        if annotations := from_gemini(candidate.get("groundingMetadata"), self._said[index]):
            message["annotations"] = annotations
        if message and not self._has_begun:
            self._has_begun, message = True, {"role": "assistant", **message}
        reason = candidate.get("finishReason")
        finish = read_finish(reason, has_calls=bool(self._calls.get(index))) if reason else None
        if not message and not finish:
            return []
        found = self.chunk(message, finish, index)
        if isinstance(told := candidate.get("logprobsResult"), dict):
            found["choices"][0]["logprobs"] = {"content": read_logprobs(told)}
        return [found]


def read_logprobs(told: JsonObject) -> list[JsonObject]:
    """Log-probabilities of the chosen tokens and of those beside them, as chat completions have them."""
    top, chosen = told.get("topCandidates") or (), told.get("chosenCandidates") or ()
    rows = []
    for place, one in enumerate(chosen):
        others = (top[place].get("candidates") or ()) if place < len(top) else ()
        row = {"token": one.get("token"), "logprob": one.get("logProbability")}
        rows.append(
            row | {"top_logprobs": [{"token": o.get("token"), "logprob": o.get("logProbability")} for o in others]}
        )
    return rows


def read_finish(reason: JsonValue, *, has_calls: bool) -> str:
    """Why an answer ended, in the words of chat completions."""
    if reason is None or reason in _STOPPED:
        return "tool_calls" if has_calls else "stop"
    return "length" if reason in _LONG else "stop" if reason in _NO_CALL else "content_filter"


def read_message(parts: JsonValue) -> JsonObject:
    """A message of the assistant, of parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    signed: dict[str, Any] = {}
    for part in (part for part in parts if isinstance(part, dict)):
        if "functionCall" in part:
            called = part["functionCall"]
            function = {"name": called.get("name"), "arguments": json.dumps(called.get("args") or {})}
            call: dict[str, Any] = {
                "id": called.get("id") or f"call_{secrets.token_hex(12)}",
                "type": "function",
                "function": function,
            }
            if part.get("thoughtSignature"):
                call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
            calls.append(call)
        elif isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
            if part.get("thoughtSignature"):
                signed = {"google": {"thought_signature": part["thoughtSignature"]}}
        elif isinstance(shown := part.get("inlineData"), dict):
            url = f"data:{shown.get('mimeType') or 'image/png'};base64,{shown.get('data') or ''}"
            images.append({"type": "image_url", "image_url": {"url": url}})
    message: dict[str, Any] = {"content": "".join(texts) if texts else None}
    if images:
        message["images"] = images
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    if signed:
        message["extra_content"] = signed
    return message
