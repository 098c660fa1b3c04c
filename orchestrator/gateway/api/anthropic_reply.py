"""A chat completion as a message of Anthropic's, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.dialects.annotations import as_anthropic
from orchestrator.backends.dialects.signatures import pack
from orchestrator.backends.usage import usage_of
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.message_blocks import MessageBlocks
from orchestrator.gateway.errors import ANTHROPIC_TYPES, broke_off
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    pass


STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


NATIVE_REASONS = frozenset(
    (
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
        "compaction",
    )
)


def reply_message(order: CompletionSession, completion: JsonObject) -> JsonObject:
    """The message that a chat completion stands for."""
    choice = completion["choices"][0]
    message = choice["message"]
    reason, sequence = _ended(choice)
    if message.get("anthropic_blocks"):
        return _replied(order, completion, message["anthropic_blocks"], reason, sequence)
    content: list[dict[str, Any]] = list(message.get("thinking_blocks") or ())
    is_told = not content and "thinking" in order.job.asked.body and isinstance(message.get("reasoning_content"), str)
    if is_told:
        content.append({"type": "thinking", "thinking": message["reasoning_content"], "signature": ""})
    content += _carried(message, is_told=is_told)
    text = message.get("content") or message.get("refusal")
    if text:
        citations = as_anthropic(message.get("annotations"), text)
        content.append({"type": "text", "text": text} | ({"citations": citations} if citations else {}))
    for tool_call in message.get("tool_calls") or ():
        function = tool_call["function"]
        content.append(
            {
                "type": "tool_use",
                "id": tool_call["id"],
                "name": function["name"],
                "input": _arguments(function["arguments"]),
            }
        )
    if message.get("tool_calls") and reason == "end_turn":  # some servers say that they stopped
        reason = "tool_use"
    return _replied(order, completion, content, "refusal" if message.get("refusal") else reason, sequence)


def _replied(
    order: CompletionSession,
    completion: JsonObject,
    content: list[JsonObject],
    reason: str,
    sequence: str | None,
) -> JsonObject:
    return _envelope(order) | {
        "model": completion.get("model") or order.facts.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": _usage(_told_or_booked(order, completion.get("usage"))),
    }


def _told_or_booked(order: CompletionSession, usage: JsonObject | None) -> JsonObject:
    """The usage that the server tells; what was booked, where it tells none."""
    if usage is not None and usage_of(usage) is not None:
        return usage
    served = order.tab.served
    return {"prompt_tokens": served.prefill_tokens, "completion_tokens": served.output_tokens}


def _ended(choice: JsonObject) -> tuple[str, str | None]:
    """(why an answer ended, the text at which it was stopped if it is known)."""
    native, sequence = choice.get("native_finish_reason"), choice.get("stop_reason")
    reason = native if native in NATIVE_REASONS else STOP_REASONS.get(choice.get("finish_reason") or "stop", "end_turn")
    if isinstance(sequence, str) and sequence and reason in ("end_turn", "stop_sequence"):
        return "stop_sequence", sequence
    return reason, None


def _carried(message: JsonObject, *, is_told: bool) -> list[JsonObject]:
    """A block for what must come back to the model and has no place of its own: its client sends it back unread."""
    but = {"thinking_blocks"} | ({"reasoning_content"} if is_told or not message.get("tool_calls") else set())
    packed = pack(message, but=frozenset(but))
    return [{"type": "redacted_thinking", "data": packed}] if packed else []


def _envelope(order: CompletionSession) -> JsonObject:
    order.facts.response_id = f"msg_{order.tab.id[:24]}"
    return {
        "id": order.facts.response_id,
        "type": "message",
        "role": "assistant",
        "model": order.facts.model or order.tab.served.asked,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(None),
    }


def _usage(usage: JsonObject | None) -> JsonObject:
    """Anthropic's input tokens are those that no cache held."""
    usage = usage or {}
    details = usage.get("prompt_tokens_details") or {}
    cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    for_an_hour = details.get("cache_write_1h_tokens") or 0
    return {
        "input_tokens": max((usage.get("prompt_tokens") or 0) - cached - written, 0),
        "output_tokens": usage.get("completion_tokens") or 0,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - for_an_hour,
            "ephemeral_1h_input_tokens": for_an_hour,
        },
    }


def _arguments(text: str) -> JsonValue:
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {"_malformed": text}  # what the model wrote is no JSON: the caller sees it as it is


async def translate_stream(order: CompletionSession, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks of a completion as Anthropic's events."""
    yield sse.event({"type": "message_start", "message": _envelope(order)}, "message_start")
    blocks, ending, usage, cited = MessageBlocks(), dict[str, Any](), None, _Citations()
    has_failed = has_refused = False
    wants_thoughts, carrying = "thinking" in order.job.asked.body, dict[str, Any]()
    async with aclosing(contents(events)) as chunks:
        async for content in chunks:
            if content is None:
                yield sse.event({"type": "ping"}, "ping")  # progress, or a sign of life of the upstream
                continue
            if "error" in content and "choices" not in content:
                has_failed, order.facts.failed = True, order.facts.failed or "upstream_bad_response"
                yield sse.event(_error(content["error"]), "error")
                continue
            usage = content.get("usage") or usage
            for choice in content.get("choices") or ():
                delta = choice.get("delta") or {}
                for event in _thought(blocks, delta, is_asked=wants_thoughts):
                    yield event
                for event in _unshown(blocks, delta, carrying, is_asked=wants_thoughts):
                    yield event
                text = delta.get("content") or delta.get("refusal")
                for event in blocks.text(text) if text else ():
                    yield event
                for call in delta.get("tool_calls") or ():
                    for event in blocks.tool(call.get("index") or 0, call):
                        yield event
                for event in blocks.cited(cited.take(delta)):
                    yield event
                has_refused = has_refused or bool(delta.get("refusal"))
                if choice.get("finish_reason"):
                    ending = choice
    for event in blocks.close():
        yield event
    if has_failed:
        return
    reason, sequence = _ended(ending)
    if blocks.has_called and reason == "end_turn":  # some servers say that they stopped
        reason = "tool_use"
    ended: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal" if has_refused else reason, "stop_sequence": sequence},
        "usage": _usage(_told_or_booked(order, usage)),
    }
    details = order.details()
    yield sse.event(ended | ({"orchestrator": details} if details is not None else {}), "message_delta")
    yield sse.event({"type": "message_stop"}, "message_stop")


class _Citations:
    """What a streamed text cites: in Anthropic's own words where they came, else made of annotations."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._are_own = False

    def take(self, delta: JsonObject) -> list[JsonObject]:
        if isinstance(delta.get("content"), str):
            self._text.append(delta["content"])
        if delta.get("anthropic_citation"):
            self._are_own = True
            return [delta["anthropic_citation"]]
        return (
            []
            if self._are_own or not delta.get("annotations")
            else as_anthropic(delta["annotations"], "".join(self._text))
        )


def _unshown(blocks: MessageBlocks, delta: JsonObject, carrying: JsonObject, *, is_asked: bool) -> list[bytes]:
    """Blocks of Anthropic's own, as they came, and before a call what must come back with it."""
    events: list[bytes] = []
    for block in delta.get("anthropic_blocks") or ():
        events += blocks.whole(block)
    if delta.get("reasoning_content") and not is_asked:
        carrying["reasoning_content"] = carrying.get("reasoning_content", "") + delta["reasoning_content"]
    for name in ("reasoning_items", *(() if is_asked else ("thinking_blocks",))):
        if delta.get(name):
            carrying[name] = [*carrying.get(name, ()), *delta[name]]
    if delta.get("extra_content"):
        carrying["extra_content"] = delta["extra_content"]
    begun = [call for call in delta.get("tool_calls") or () if call.get("id")]
    if begun:
        packed = pack({**carrying, "tool_calls": begun})
        carrying.clear()
        if packed:
            events += blocks.whole({"type": "redacted_thinking", "data": packed})
    return events


def _thought(blocks: MessageBlocks, delta: JsonObject, *, is_asked: bool) -> list[bytes]:
    """Pieces of thoughts, for a caller who asked for them."""
    if not is_asked:
        return []
    events = blocks.thought(delta["reasoning_content"]) if delta.get("reasoning_content") else []
    for block in delta.get("thinking_blocks") or ():
        events += blocks.signed(block)
    return events


def _error(error: JsonValue) -> JsonObject:
    told = error.get("message") if isinstance(error, dict) else str(error)
    status = (
        {"insufficient_quota": 402, "rate_limit_exceeded": 429}.get(error.get("code") or "")
        if isinstance(error, dict)
        else None
    )
    return {"type": "error", "error": {"type": ANTHROPIC_TYPES[status] if status else "api_error", "message": told}}


async def contents(events: AsyncIterator[bytes]) -> AsyncGenerator[JsonObject | None]:
    """The chunks of a stream, parsed; `None` for a comment. The end mark is left out."""
    async with aclosing(events):  # type: ignore[type-var]
        async for piece in events:
            for part, content in sse.events_in(piece):
                if content is None:
                    yield None
                elif content != b"[DONE]" and not part.startswith(b"event: orchestrator"):
                    chunk = readable_chunk(content)
                    yield broke_off().as_openai() if chunk is None else chunk
                    if chunk is None:
                        return


def readable_chunk(content: bytes) -> JsonObject | None:
    """A chunk of a stream; `None` for what is no JSON object."""
    try:
        return sse.parsed_event(content)
    except sse.BrokenStream:
        return None
