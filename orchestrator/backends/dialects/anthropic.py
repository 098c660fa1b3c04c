"""Anthropic's messages: POST {base_url}/messages (anthropic 2.12, types).

Only the rules at the beginning are `system`; what the system says later stands in its place among the user's words, so
that what came before stays a prefix that the cache knows. Thoughts come back signed in `thinking_blocks` and must be
sent back as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from orchestrator.backends.dialects.annotations import from_anthropic
from orchestrator.backends.dialects.anthropic_options import limit_breakpoints, set_output, set_tool_choice
from orchestrator.backends.dialects.anthropic_stream import (
    FINISH,
    KNOWN_BLOCKS,
    AnthropicReader,
    arguments_of,
    ending,
    read_tool_use,
)
from orchestrator.backends.dialects.chat import takes_no_sampling
from orchestrator.backends.dialects.dialect import (
    Outgoing,
    check_lacks,
    choice,
    parts_of,
    picture_of,
    refused,
    stated_limit,
    tools_for,
    whole,
)
from orchestrator.backends.usage import usage_of
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider

_PASSED = ("thinking", "top_p", "top_k", "inference_geo", "speed")
_OWN_FIELDS = (
    "container",
    "context_management",
    "mcp_servers",
    "cache_control",
    "diagnostics",
    "inference_geo",
    "speed",
    "service_tier",
)
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class AnthropicDialect:
    """Anthropic's messages API (anthropic 2.12)."""

    def outgoing(self, body: JsonObject, provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """The request of a chat completion as messages and blocks.

        Raises `BackendRejected` on what has no word there.
        """
        check_lacks(body, provider)
        most = stated_limit(body) or most_tokens
        system, turns = _turns(body["messages"], provider)
        out: dict[str, Any] = {"model": model, "max_tokens": int(most), "messages": turns}
        out |= {name: body[name] for name in _PASSED if body.get(name) is not None}
        own = body.get("anthropic") or {}
        out |= {name: own[name] for name in _OWN_FIELDS if own.get(name) is not None}
        if body.get("temperature") is not None:
            out["temperature"] = min(body["temperature"], provider.most_temperature)
        if takes_no_sampling(provider.no_sampling, model):
            for name in ("temperature", "top_p", "top_k"):
                out.pop(name, None)
        if body.get("stop"):
            out["stop_sequences"] = [body["stop"]] if isinstance(body["stop"], str) else list(body["stop"])
        if body.get("stream"):
            out["stream"] = True
        if body.get("user"):
            out["metadata"] = {"user_id": body["user"]}
        if body.get("service_tier") in ("auto", "standard_only"):
            out["service_tier"] = body["service_tier"]
        if tools := tools_for(body, provider, dialect="anthropic"):
            out["tools"] = [_tool(tool, provider) for tool in tools]
            set_tool_choice(out, body)
        set_output(out, body, provider, system, model)
        if system:
            out["system"] = (
                system
                if any("cache_control" in block for block in system)
                else "\n\n".join(block["text"] for block in system)
            )
        limit_breakpoints(out)
        betas = own.get("betas")
        return Outgoing("/messages", out, {"anthropic-beta": ",".join(betas)} if betas else {})

    def completion(self, payload: JsonObject, provider: Provider) -> JsonObject:
        """A message as a chat completion; what is no message is given back as it is."""
        blocks = payload.get("content")
        if not isinstance(blocks, list):
            return payload
        message: dict[str, Any] = {"content": None}
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        thinking: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for block in (block for block in blocks if isinstance(block, dict)):
            kind = block.get("type")
            if kind == "text":
                said = sum(map(len, texts))
                texts.append(str(block.get("text") or ""))
                annotations += from_anthropic(block.get("citations"), said, said + len(texts[-1]))
            elif kind == "tool_use":
                calls.append(read_tool_use(block.get("id"), block.get("name"), json.dumps(block.get("input") or {})))
            elif kind in ("thinking", "redacted_thinking"):
                thinking.append(block)
        if any(
            block.get("type") not in KNOWN_BLOCKS or block.get("citations")
            for block in blocks
            if isinstance(block, dict)
        ):
            message["anthropic_blocks"] = blocks
        if texts:
            message["content"] = "".join(texts)
        if calls:
            message["tool_calls"] = calls
        if thinking:
            message["thinking_blocks"] = thinking
            message["reasoning_content"] = "".join(str(block.get("thinking") or "") for block in thinking)
        if annotations:
            message["annotations"] = annotations
        finish = FINISH.get(str(payload.get("stop_reason")), "stop")
        ended = choice(0, message, finish) | ending(payload)
        return whole(payload.get("id"), payload.get("model"), [ended], usage_of(payload.get("usage")))

    def reader(self, provider: Provider) -> AnthropicReader:
        """Reads one stream."""
        return AnthropicReader()


def _turns(messages: list[JsonObject], provider: Provider) -> tuple[list[JsonObject], list[JsonObject]]:
    """(blocks of the system's rules, turns in which user and assistant alternate)."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer") and not turns:
            system += _texts(message.get("content"))
            continue
        blocks = (
            _assistant(message)
            if role == "assistant"
            else _result(message, provider)
            if role in ("tool", "function")
            else _user(message, provider)
        )
        speaker = "assistant" if role == "assistant" else "user"
        if not blocks:
            continue
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": speaker, "content": blocks})
    if not turns and system:
        turns.append({"role": "user", "content": [system.pop()]})
    for turn in turns:
        if len(turn["content"]) == 1 and turn["content"][0].keys() == {"type", "text"}:
            turn["content"] = turn["content"][0]["text"]
    return system, turns


def _texts(content: JsonValue) -> list[JsonObject]:
    """Texts as blocks; blanks alone are no text for this API."""
    return [_text(part) for part in parts_of(content) if isinstance(part.get("text"), str) and part["text"].strip()]


def _text(part: JsonObject) -> JsonObject:
    return {"type": "text", "text": part["text"]} | (
        {"cache_control": part["cache_control"]} if part.get("cache_control") else {}
    )


def _user(message: JsonObject, provider: Provider) -> list[JsonObject]:
    return _blocks(message.get("content"), provider)


def _blocks(content: JsonValue, provider: Provider) -> list[JsonObject]:
    blocks: list[dict[str, Any]] = []
    for part in parts_of(content, dialect="anthropic"):
        kind = part.get("type")
        if kind == "own":
            blocks.append(part["block"])
            continue
        if kind == "text":
            blocks += _texts([part])
            continue
        if kind == "image_url":
            media, found, is_data = picture_of(part)
            source = (
                {"type": "base64", "media_type": media, "data": found} if is_data else {"type": "url", "url": found}
            )
            block: dict[str, Any] = {"type": "image", "source": source}
        elif kind == "file":
            block = {"type": "document", "source": _document(part.get("file") or {}, provider)}
        else:
            raise refused(provider, f"a message with {kind}")
        blocks.append(block | ({"cache_control": part["cache_control"]} if part.get("cache_control") else {}))
    return blocks


def _document(file: JsonObject, provider: Provider) -> JsonObject:
    if file.get("file_url"):
        return {"type": "url", "url": file["file_url"]}
    data = str(file.get("file_data") or "")
    if not data.startswith("data:"):
        raise refused(provider, "a file without its content")
    head, _, content = data[5:].partition(",")
    return {"type": "base64", "media_type": head.partition(";")[0] or "application/pdf", "data": content}


def _assistant(message: JsonObject) -> list[JsonObject]:
    blocks = [block for block in message.get("thinking_blocks") or () if isinstance(block, dict)]
    for part in parts_of(message.get("content"), dialect="anthropic"):
        blocks += [part["block"]] if part.get("type") == "own" else _texts([part])
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": id_of(call.get("id")),
                "name": function.get("name"),
                "input": arguments_of(function.get("arguments")),
            }
        )
    return blocks


def id_of(id: JsonValue) -> str:
    """The id of a call as this API takes them: others have signs in them that it refuses.

    The same id becomes the same one everywhere.
    """
    text = str(id or "")
    return text if _ID.fullmatch(text) else f"toolu_{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _result(message: JsonObject, provider: Provider) -> list[JsonObject]:
    content = message.get("content")
    blocks = _blocks(content, provider)
    is_text = all(block.keys() == {"type", "text"} for block in blocks)
    found: Any = "".join(block["text"] for block in blocks) if is_text else blocks
    told: dict[str, Any] = {"type": "tool_result", "tool_use_id": id_of(message.get("tool_call_id")), "content": found}
    if message.get("is_error"):
        told["is_error"] = True
    if isinstance(content, list) and any(part.get("cache_control") for part in content):
        told["cache_control"] = next(part["cache_control"] for part in content if part.get("cache_control"))
    return [told]


def _tool(tool: JsonObject, provider: Provider) -> JsonObject:
    if tool.get("type") == "own":
        own: dict[str, Any] = tool["tool"]
        return own
    if tool.get("type") != "function":
        return tool  # one of its own: it knows what it means
    function = tool["function"]
    found = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    found |= {name: function[name] for name in ("description", "strict") if function.get(name) is not None}
    more: dict[str, Any] = tool["anthropic"] if isinstance(tool.get("anthropic"), dict) else {}
    return {**more, **found} | ({"cache_control": tool["cache_control"]} if tool.get("cache_control") else {})
