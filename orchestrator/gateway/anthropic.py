"""POST /v1/messages: Anthropic's dialect, translated to and from chat completions.

Wire format: https://docs.anthropic.com/en/api/messages and its streaming events, as the `anthropic` package reads them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway import sse
from orchestrator.gateway.chat import Order
from orchestrator.gateway.endpoint import Endpoint
from orchestrator.gateway.http import Call
from orchestrator.gateway.problems import ANTHROPIC_TYPES
from orchestrator.tokens import family_of, request_estimate

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


async def messages(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    async with Order(gateway, call, "messages", chat_body(body)) as order, call.watched(gateway.stalled_s):
        if body.get("stream"):
            await order.send(_translated(order, await order.stream()))
            return
        completion = orjson.loads(await order.whole())
        reply = _message(order, completion)
        details = order.details()
        if details is not None:
            reply["orchestrator"] = details
        await call.reply_json(reply, headers=[*order.closing_headers(), (b"request-id", call.id.encode())])


async def count_tokens(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    """An estimate, as good as one without the model's own tokenizer can be; no model is asked."""
    asked = chat_body({**body, "max_tokens": 1})
    await call.reply_json({"input_tokens": request_estimate(asked, family_of(body["model"]))})


def chat_body(body: dict[str, Any]) -> dict[str, Any]:
    """A request in OpenAI's dialect."""
    found: dict[str, Any] = {"model": body["model"], "messages": [], "max_tokens": body["max_tokens"]}
    system = body.get("system")
    if system:
        found["messages"].append({"role": "system", "content": system if isinstance(system, str) else _joined([_text(b) for b in system])})
    for message in body["messages"]:
        found["messages"].extend(_chat_messages(message))
    for name in ("temperature", "top_p", "orchestrator"):
        if name in body:
            found[name] = body[name]
    if body.get("stop_sequences"):
        found["stop"] = body["stop_sequences"]
    if body.get("tools"):
        found["tools"] = [_tool(tool) for tool in body["tools"]]
        choice = body.get("tool_choice")
        if choice:
            named = {"type": "function", "function": {"name": choice.get("name")}}
            found["tool_choice"] = named if choice["type"] == "tool" else _TOOL_CHOICES[choice["type"]]
            if choice.get("disable_parallel_tool_use"):
                found["parallel_tool_calls"] = False
    if (body.get("thinking") or {}).get("type", "disabled") != "disabled":
        found["thinking"] = body["thinking"]
    output = body.get("output_config") or {}
    if "effort" in output:
        found["reasoning_effort"] = output["effort"]
    if "format" in output:
        found["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": output["format"]["schema"], "strict": True},
        }
    if (user := (body.get("metadata") or {}).get("user_id")) is not None:
        found["user"] = user
    if body.get("stream"):
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object"}}
    found = {"type": "function", "function": function | ({"description": tool["description"]} if "description" in tool else {})}
    return found | ({"cache_control": tool["cache_control"]} if tool.get("cache_control") else {})


def _text(block: dict[str, Any]) -> dict[str, Any]:
    """A text with its cache mark."""
    return {"type": "text", "text": block["text"]} | ({"cache_control": block["cache_control"]} if block.get("cache_control") else {})


def _joined(parts: list[dict[str, Any]]) -> Any:
    """Parts of a message: as one text, where they are nothing else and none is marked for the cache."""
    is_plain = all(part["type"] == "text" and "cache_control" not in part for part in parts)
    return "\n\n".join(part["text"] for part in parts) if is_plain else parts


def _chat_messages(message: dict[str, Any]) -> list[dict[str, Any]]:
    """One message of Anthropic's is one or more of OpenAI's: results of tools are messages of their own there, and come first."""
    content = message["content"]
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    found: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thinking: list[dict[str, Any]] = []
    for block in content:
        kind = block["type"]
        if kind == "text":
            parts.append(_text(block))
        elif kind == "redacted_thinking" or (kind == "thinking" and block.get("signature")):
            thinking.append(block)  # without a signature it is another dialect's, and none that Anthropic takes back
        elif kind == "image":
            source = block["source"]
            url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif kind == "tool_result":
            told = _result_text(block.get("content", ""))
            found.append(
                {"role": "tool", "tool_call_id": block["tool_use_id"], "content": f"Error: {told}" if block.get("is_error") else told}
            )
        elif kind == "document":
            parts.append(_document(block))
    if parts or calls or not found:
        said: dict[str, Any] = {"role": message["role"], "content": _joined(parts) if parts or not calls else None}
        found.append(said | ({"tool_calls": calls} if calls else {}) | ({"thinking_blocks": thinking} if thinking else {}))
    return found


def _document(block: dict[str, Any]) -> dict[str, Any]:
    source = block["source"]
    if source["type"] == "text":
        title = f"{block['title']}\n\n" if block.get("title") else ""
        return {"type": "text", "text": title + source["data"]}
    data = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "file", "file": {"filename": block.get("title") or "document", "file_data": data}}


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] if isinstance(block.get("text"), str) else orjson.dumps(block).decode() for block in content)


def _message(order: Order, completion: dict[str, Any]) -> dict[str, Any]:
    choice = completion["choices"][0]
    message = choice["message"]
    content: list[dict[str, Any]] = list(message.get("thinking_blocks") or ())
    if not content and "thinking" in order.job.asked.body and isinstance(message.get("reasoning_content"), str):
        content.append({"type": "thinking", "thinking": message["reasoning_content"], "signature": ""})
    text = message.get("content") or message.get("refusal")
    if isinstance(text, list):
        text = "".join(part.get("text", "") for part in text)
    if text:
        content.append({"type": "text", "text": text})
    for tool_call in message.get("tool_calls") or ():
        function = tool_call["function"]
        content.append({"type": "tool_use", "id": tool_call["id"], "name": function["name"], "input": _arguments(function["arguments"])})
    reason = "refusal" if message.get("refusal") else STOP_REASONS.get(choice.get("finish_reason") or "stop", "end_turn")
    return _envelope(order) | {
        "model": completion.get("model") or order.facts.model,
        "content": content,
        "stop_reason": reason,
        "usage": _usage(completion.get("usage")),
    }


def _envelope(order: Order) -> dict[str, Any]:
    return {
        "id": f"msg_{order.tab.id[:24]}",
        "type": "message",
        "role": "assistant",
        "model": order.facts.model or order.tab.served.asked,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(None),
    }


def _usage(usage: dict[str, Any] | None) -> dict[str, Any]:
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
        "cache_creation": {"ephemeral_5m_input_tokens": written - for_an_hour, "ephemeral_1h_input_tokens": for_an_hour},
    }


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {"_malformed": text}  # what the model wrote is no JSON: the caller sees it as it is


class _Blocks:
    """Content blocks of one streamed message: each begins, grows and ends before the next."""

    def __init__(self) -> None:
        self._index = -1
        self._open: tuple[str, int] | None = None

    def text(self, piece: str) -> list[bytes]:
        events = self._switch(("text", 0), {"type": "text", "text": ""})
        return [*events, self._delta({"type": "text_delta", "text": piece})]

    def thought(self, piece: str) -> list[bytes]:
        events = self._switch(("thinking", 0), {"type": "thinking", "thinking": "", "signature": ""})
        return [*events, self._delta({"type": "thinking_delta", "thinking": piece})]

    def signed(self, block: dict[str, Any]) -> list[bytes]:
        """The end of a thought, as its provider signed it."""
        if block.get("type") != "thinking" or self._open is None or self._open[0] != "thinking":
            events = self._switch(("signed", self._index + 1), block)
            return [*events, *self.close()]
        return [self._delta({"type": "signature_delta", "signature": block.get("signature") or ""}), *self.close()]

    def tool(self, number: int, call: dict[str, Any]) -> list[bytes]:
        function = call.get("function") or {}
        begun: dict[str, Any] = {
            "type": "tool_use",
            "id": call.get("id") or f"toolu_{number}",
            "name": function.get("name") or "",
            "input": {},
        }
        events = self._switch(("tool", number), begun)
        if function.get("arguments"):
            events.append(self._delta({"type": "input_json_delta", "partial_json": function["arguments"]}))
        return events

    def close(self) -> list[bytes]:
        if self._open is None:
            return []
        self._open = None
        return [sse.event({"type": "content_block_stop", "index": self._index}, "content_block_stop")]

    def _switch(self, to: tuple[str, int], begun: dict[str, Any]) -> list[bytes]:
        if self._open == to:
            return []
        events = self.close()
        self._index += 1
        self._open = to
        return [*events, sse.event({"type": "content_block_start", "index": self._index, "content_block": begun}, "content_block_start")]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return sse.event({"type": "content_block_delta", "index": self._index, "delta": delta}, "content_block_delta")


async def _translated(order: Order, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks of a completion as Anthropic's events."""
    yield sse.event({"type": "message_start", "message": _envelope(order)}, "message_start")
    blocks, finish, usage, has_failed = _Blocks(), "stop", None, False
    async with aclosing(contents(events)) as chunks:
        async for content in chunks:
            if content is None:
                yield sse.event({"type": "ping"}, "ping")  # progress, or a sign of life of the upstream
                continue
            if "error" in content and "choices" not in content:
                has_failed = True
                yield sse.event(_error(content["error"]), "error")
                continue
            usage = content.get("usage") or usage
            for choice in content.get("choices") or ():
                delta = choice.get("delta") or {}
                for event in _thought(blocks, delta, is_asked="thinking" in order.job.asked.body):
                    yield event
                text = delta.get("content") or delta.get("refusal")
                for event in blocks.text(text) if text else ():
                    yield event
                for call in delta.get("tool_calls") or ():
                    for event in blocks.tool(call.get("index") or 0, call):
                        yield event
                finish = choice.get("finish_reason") or finish
    for event in blocks.close():
        yield event
    if has_failed:
        return
    ended: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": STOP_REASONS.get(finish, "end_turn"), "stop_sequence": None},
        "usage": _usage(usage),
    }
    details = order.details()
    yield sse.event(ended | ({"orchestrator": details} if details is not None else {}), "message_delta")
    yield sse.event({"type": "message_stop"}, "message_stop")


def _thought(blocks: _Blocks, delta: dict[str, Any], *, is_asked: bool) -> list[bytes]:
    """Pieces of thoughts, for a caller who asked for them."""
    if not is_asked:
        return []
    events = blocks.thought(delta["reasoning_content"]) if delta.get("reasoning_content") else []
    for block in delta.get("thinking_blocks") or ():
        events += blocks.signed(block)
    return events


def _error(error: Any) -> dict[str, Any]:
    told = error.get("message") if isinstance(error, dict) else str(error)
    is_limit = isinstance(error, dict) and error.get("code") in ("insufficient_quota", "rate_limit_exceeded")
    return {"type": "error", "error": {"type": ANTHROPIC_TYPES[429] if is_limit else "api_error", "message": told}}


async def contents(events: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any] | None]:
    """The chunks of a stream, parsed; `None` for a comment. The end mark is left out."""
    async with aclosing(events):  # type: ignore[type-var]
        async for piece in events:
            for part in piece.split(b"\n\n"):
                if not part:
                    continue
                content = sse.data_of(part)
                if content is None:
                    yield None
                elif content != b"[DONE]" and not part.startswith(b"event: orchestrator"):
                    yield sse.parsed_event(content)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/messages",
        messages,
        "Answer a conversation (Anthropic's dialect)",
        "inference",
        body="MessagesRequest",
        answer="AnthropicReply",
        streams=True,
        dialect="anthropic",
    ),
    Endpoint(
        "POST",
        "/v1/messages/count_tokens",
        count_tokens,
        "Estimate the tokens of a prompt",
        "inference",
        body="CountRequest",
        answer="TokenCount",
        dialect="anthropic",
    ),
)
