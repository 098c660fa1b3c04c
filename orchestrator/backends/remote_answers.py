"""Answers of a remote model, whole or in chunks, as completions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.backends.http.answer_json import ends_in_half, whole_text
from orchestrator.backends.http.upstream import Upstream
from orchestrator.backends.provider_errors import failure_in, stream_error
from orchestrator.backends.tool_calls import CallOrder
from orchestrator.backends.usage import usage_in
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.types import Usage
from orchestrator.types.message import SIGNED_FIELDS
from orchestrator.types.tool_call import ToolCall

if TYPE_CHECKING:
    pass


class ReadChunks:
    """Collects what the chunks of one streamed answer say."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parts: list[str] = []
        self._thoughts: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.is_marked_done = False
        self.is_simulated = False
        self._half = ""
        self._order = CallOrder()
        self._calls: dict[int, JsonObject] = {}
        self._signed: JsonObject = {}

    @property
    def signed(self) -> JsonObject:
        """What of the message must go back with the results of its calls."""
        if not self._calls:
            return {}
        return self._signed | ({"reasoning_content": self.thoughts} if self._thoughts else {})

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools that were written so far."""
        return tuple(ToolCall.parse(call, number) for number, call in sorted(self._calls.items()))

    @property
    def text(self) -> str:
        """All that was written so far."""
        return "".join(self._parts)

    @property
    def thoughts(self) -> str:
        """All of the reasoning that was shown so far."""
        return "".join(self._thoughts)

    def texts(self, chunks: Iterator[JsonObject | None]) -> Iterator[str]:
        """The new texts in some chunks."""
        for chunk in chunks:
            if chunk is None:
                self.is_marked_done = True
                return
            text = self._read(chunk)
            if text:
                self._parts.append(text)
                yield text

    def _whole(self, text: str) -> str:
        """A piece of text, put together with the half of a character that ended the one before."""
        text, self._half = self._half + text, ""
        if ends_in_half(text):
            text, self._half = text[:-1], text[-1]
        return whole_text(text)

    def _read(self, chunk: JsonObject) -> str | None:
        if (failure := failure_in(chunk)) is not None:
            raise stream_error(self._upstream.where, failure, key=self._upstream.key)
        self.usage = usage_in(chunk) or self.usage
        self.is_simulated = self.is_simulated or bool(chunk.get("simulated"))
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None or choice.get("index"):
            return None
        if choice.get("finish_reason"):
            self.finish_reason = str(choice["finish_reason"])
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        if isinstance(delta.get("reasoning_content"), str):
            self._thoughts.append(delta["reasoning_content"])
        for name in ("thinking_blocks", "reasoning_items"):
            if isinstance(delta.get(name), list):
                self._signed[name] = [*self._signed.get(name, ()), *delta[name]]
        if delta.get("tool_calls"):
            self._order.put_in_order(chunk)
            for piece in delta["tool_calls"]:
                if isinstance(piece, dict):
                    self._add_call(piece)
        text = self._whole(_text_of(delta.get("content")) or "")
        return text or (delta["refusal"] if isinstance(delta.get("refusal"), str) else None)

    def _add_call(self, piece: JsonObject) -> None:
        """A piece of a call, in order: its index says which call it belongs to."""
        call = self._calls.setdefault(piece["index"], {"id": "", "function": {"name": "", "arguments": ""}})
        more = {name: value for name, value in piece.items() if name not in ("index", "id", "type", "function")}
        function = piece["function"] if isinstance(piece.get("function"), dict) else {}
        call.update(more)
        call["id"] = call["id"] or piece.get("id") or ""
        call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
        if isinstance(function.get("arguments"), str):
            call["function"]["arguments"] += function["arguments"]


def calls_of(choice: JsonValue) -> tuple[ToolCall, ...]:
    """The calls of tools in a choice; those in the form that came before tools (`function_call`), too."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return ()
    stated = message.get("tool_calls")
    if not isinstance(stated, list):
        stated = [message["function_call"]] if isinstance(message.get("function_call"), dict) else []
    return tuple(ToolCall.parse(call, number) for number, call in enumerate(stated) if isinstance(call, dict))


def signed_in(message: JsonObject) -> JsonObject:
    """The fields of a message that must go back to the model that wrote it."""
    return {name: message[name] for name, kind in SIGNED_FIELDS.items() if isinstance(message.get(name), kind)}


def answer_of(choice: JsonValue) -> str | None:
    """The text of a choice, or why the model refuses to give one."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None
    text = _text_of(message.get("content"))
    return message["refusal"] if text is None and isinstance(message.get("refusal"), str) else text


def mean_logprob(choice: JsonObject) -> float | None:
    """The mean natural log-probability of a choice's tokens; `None` where they are not given."""
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    values = [row.get("logprob") for row in content if isinstance(row, dict)] if isinstance(content, list) else []
    known = [min(float(value), 0.0) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _text_of(content: JsonValue) -> str | None:
    """Message content is text, or a list of parts (Mistral and newer OpenAI models)."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return None
