"""POST /v1/messages: Anthropic's dialect, translated to and from chat completions.

Wire format: https://docs.anthropic.com/en/api/messages and its streaming events, as the `anthropic` package reads them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.dialects.annotations import as_anthropic
from orchestrator.backends.dialects.dialect import own_block, own_tool
from orchestrator.backends.dialects.signatures import pack, unpack
from orchestrator.backends.usage import usage_of
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.message_blocks import MessageBlocks
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import ANTHROPIC_TYPES, GatewayError, broke_off
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import family_of, request_estimate

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

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
_OWN_FIELDS = (
    "mcp_servers",
    "container",
    "context_management",
    "cache_control",
    "diagnostics",
    "inference_geo",
    "speed",
    "service_tier",
)
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


async def messages(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Anthropic's messages: translated to a chat completion, and its answer back."""
    asked = chat_body(body)
    if betas := call.header(b"anthropic-beta"):
        asked.setdefault("anthropic", {})["betas"] = [beta.strip() for beta in betas.split(",") if beta.strip()]
    async with CompletionSession(services, call, "messages", asked) as order, call.watched(services.stalled_s):
        if body.get("stream"):
            await order.send(_translated(order, await order.stream()))
            return
        completion = orjson.loads(await order.whole())
        reply = _message(order, completion)
        details = order.details()
        if details is not None:
            reply["orchestrator"] = details
        await call.reply_json(reply, headers=[*order.closing_headers(), (b"request-id", call.id.encode())])


async def count_tokens(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """An estimate, as good as one without the model's own tokenizer can be; no model is asked."""
    asked = chat_body({**body, "max_tokens": 1})
    await call.reply_json({"input_tokens": request_estimate(asked, family_of(body["model"]))})


def chat_body(body: JsonObject) -> JsonObject:
    """A request in OpenAI's dialect. Raises `GatewayError` on a thread: conversations are not kept under this API."""
    if body.get("thread") is not None:
        raise GatewayError(
            400,
            "threads are not kept here: send the whole conversation",
            code="thread_unsupported_request",
            param="thread",
            should_retry=False,
        )
    found: dict[str, Any] = {"model": body["model"], "messages": [], "max_tokens": body["max_tokens"]}
    system = body.get("system")
    if system:
        found["messages"].append(
            {"role": "system", "content": system if isinstance(system, str) else _joined([_text(b) for b in system])}
        )
    for message in body["messages"]:
        found["messages"].extend(_chat_messages(message))
    for name in ("temperature", "top_p", "top_k", "orchestrator"):
        if name in body:
            found[name] = body[name]
    if own := {name: body[name] for name in _OWN_FIELDS if body.get(name) is not None}:
        found["anthropic"] = own
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


_TOOL_FIELDS = frozenset(("type", "name", "description", "input_schema", "strict", "cache_control"))


def _tool(tool: JsonObject) -> JsonObject:
    if tool.get("type") not in (None, "custom"):
        return own_tool("anthropic", tool)
    function = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object"}}
    function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
    found: dict[str, Any] = {"type": "function", "function": function}
    own = {name: value for name, value in tool.items() if name not in _TOOL_FIELDS and value is not None}
    if own:  # defer_loading, allowed_callers, input_examples: only Anthropic knows them
        found["anthropic"] = own
    return found | ({"cache_control": tool["cache_control"]} if tool.get("cache_control") else {})


def _text(block: JsonObject) -> JsonObject:
    """A text with its cache mark."""
    return {"type": "text", "text": block["text"]} | (
        {"cache_control": block["cache_control"]} if block.get("cache_control") else {}
    )


def _joined(parts: list[JsonObject]) -> Any:
    """Parts of a message: as one text, where they are nothing else and none is marked for the cache."""
    is_plain = all(part["type"] == "text" and "cache_control" not in part for part in parts)
    return "\n\n".join(part["text"] for part in parts) if is_plain else parts


def _chat_messages(message: JsonObject) -> list[JsonObject]:
    """One message of Anthropic's is one or more of OpenAI's.

    Results of tools are messages of their own there, and come first.
    """
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
        elif kind in ("thinking", "redacted_thinking"):
            thinking.append(block)
        elif kind == "image":
            parts.append(_picture(block))
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif kind == "tool_result":
            told: dict[str, Any] = {
                "role": "tool",
                "tool_call_id": block["tool_use_id"],
                "content": _result(block.get("content", "")),
            }
            found.append(told | ({"is_error": True} if block.get("is_error") else {}))
        elif kind == "document":
            parts.append(_document(block))
        else:
            parts.append(own_block("anthropic", block))
    if parts or calls or not found:
        said: dict[str, Any] = {"role": message["role"], "content": _joined(parts) if parts or not calls else None}
        found.append(said | ({"tool_calls": calls} if calls else {}))
        for block in thinking:
            _think(found[-1], block)
    return found


def _think(message: JsonObject, block: JsonObject) -> None:
    """Puts a thought back into the message that followed from it.

    Signed ones are Anthropic's, the others of models that sign nothing.
    """
    if block["type"] == "redacted_thinking" and unpack(block.get("data"), message):
        return
    if block["type"] == "redacted_thinking" or block.get("signature"):
        message.setdefault("thinking_blocks", []).append(block)
    elif isinstance(block.get("thinking"), str):
        message["reasoning_content"] = (message.get("reasoning_content") or "") + block["thinking"]


def _picture(block: JsonObject) -> JsonObject:
    source = block["source"]
    url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "image_url", "image_url": {"url": url}} | _mark(block)


def _mark(block: JsonObject) -> JsonObject:
    return {"cache_control": block["cache_control"]} if block.get("cache_control") else {}


def _document(block: JsonObject) -> JsonObject:
    source = block["source"]
    if source["type"] not in ("text", "base64", "url") or block.get("citations"):
        return own_block("anthropic", block)
    if source["type"] == "url":
        return {
            "type": "file",
            "file": {"filename": block.get("title") or "document", "file_url": source["url"]},
        } | _mark(block)
    if source["type"] == "text":
        title = f"{block['title']}\n\n" if block.get("title") else ""
        return {"type": "text", "text": title + source["data"]}
    data = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "file", "file": {"filename": block.get("title") or "document", "file_data": data}} | _mark(block)


def _result(content: Any) -> Any:
    """What a tool gave: as one text, where it is nothing else."""
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for block in content:
        if block["type"] == "text":
            parts.append(_text(block))
        elif block["type"] == "image":
            parts.append(_picture(block))
        elif block["type"] == "document":
            parts.append(_document(block))
        else:  # what other dialects have no word for is told as it stands
            parts.append({"type": "text", "text": orjson.dumps(block).decode()})
    is_plain = all(part["type"] == "text" and "cache_control" not in part for part in parts)
    return "\n".join(part["text"] for part in parts) if is_plain else parts


def _message(order: CompletionSession, completion: JsonObject) -> JsonObject:
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


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {"_malformed": text}  # what the model wrote is no JSON: the caller sees it as it is


async def _translated(order: CompletionSession, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
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
    for name in ("reasoning_items", "extra_content"):
        if delta.get(name):
            carrying[name] = [*carrying.get(name, ()), *delta[name]] if name == "reasoning_items" else delta[name]
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


def _error(error: Any) -> JsonObject:
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
