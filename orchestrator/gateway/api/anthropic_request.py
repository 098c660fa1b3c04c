"""A request of Anthropic's messages API as a chat completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.dialects.dialect import own_block, own_tool
from orchestrator.backends.dialects.signatures import unpack
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    pass


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


def _joined(parts: list[JsonObject]) -> JsonValue:
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


def _result(content: JsonValue) -> JsonValue:
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
