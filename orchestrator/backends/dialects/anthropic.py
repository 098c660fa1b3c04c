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
from orchestrator.backends.dialects.chat import takes_no_sampling
from orchestrator.backends.dialects.dialect import (
    Chunks,
    Outgoing,
    check_lacks,
    choice,
    json_instruction,
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

FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
MAX_BREAKPOINTS = 4
_TOOL_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
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
KNOWN_BLOCKS = ("text", "tool_use", "thinking", "redacted_thinking")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
MIN_BUDGET = 1_024


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
            _set_tool_choice(out, body)
        _set_output(out, body, provider, system, model)
        if system:
            out["system"] = (
                system
                if any("cache_control" in block for block in system)
                else "\n\n".join(block["text"] for block in system)
            )
        _limit_breakpoints(out)
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
                calls.append(_call(block.get("id"), block.get("name"), json.dumps(block.get("input") or {})))
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
        ended = choice(0, message, finish) | _ending(payload)
        return whole(payload.get("id"), payload.get("model"), [ended], usage_of(payload.get("usage")))

    def reader(self, provider: Provider) -> AnthropicReader:
        """Reads one stream."""
        return AnthropicReader()


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
            found["choices"][0] |= _ending(event["delta"])
            return [found, *self._so_far()]
        if kind == "message_stop":
            self.is_done = True
            return self._so_far()
        return [{"error": event.get("error") or event}] if kind == "error" else []

    def _so_far(self) -> list[JsonObject]:
        """What was used by now: a stream that breaks off is paid, too."""
        usage = usage_of(self._usage)
        return [self.usage(usage)] if usage is not None else []

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _begun(self, block: JsonObject) -> list[JsonObject]:
        self._block = block
        if block.get("type") == "tool_use":
            self._calls, self._has_arguments = self._calls + 1, False
            return [
                self.chunk({"tool_calls": [{"index": self._calls, **_call(block.get("id"), block.get("name"), "")}]})
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


def _ending(told: JsonObject) -> JsonObject:
    """Why an answer ended, in Anthropic's own words: those of OpenAI's are fewer."""
    reason, sequence = told.get("stop_reason"), told.get("stop_sequence")
    return ({"native_finish_reason": reason} if reason else {}) | (
        {"stop_reason": sequence} if isinstance(sequence, str) else {}
    )


def _call(id: Any, name: Any, arguments: str) -> JsonObject:
    return {"id": str(id or ""), "type": "function", "function": {"name": str(name or ""), "arguments": arguments}}


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


def _texts(content: Any) -> list[JsonObject]:
    """Texts as blocks; blanks alone are no text for this API."""
    return [_text(part) for part in parts_of(content) if isinstance(part.get("text"), str) and part["text"].strip()]


def _text(part: JsonObject) -> JsonObject:
    return {"type": "text", "text": part["text"]} | (
        {"cache_control": part["cache_control"]} if part.get("cache_control") else {}
    )


def _user(message: JsonObject, provider: Provider) -> list[JsonObject]:
    return _blocks(message.get("content"), provider)


def _blocks(content: Any, provider: Provider) -> list[JsonObject]:
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


def arguments_of(text: JsonValue) -> JsonObject:
    """The arguments of a call; what is no JSON object is passed on as it is, under `arguments`."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, TypeError, RecursionError):
        return {"arguments": text}
    return found if isinstance(found, dict) else {"arguments": found}


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


def _set_tool_choice(out: JsonObject, body: JsonObject) -> None:
    chosen = body.get("tool_choice")
    if isinstance(chosen, dict):
        out["tool_choice"] = {"type": "tool", "name": (chosen.get("function") or chosen).get("name")}
    elif chosen in _TOOL_CHOICES:
        out["tool_choice"] = {"type": _TOOL_CHOICES[chosen]}
    if body.get("parallel_tool_calls") is False:
        out["tool_choice"] = {**out.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}


def _set_output(out: JsonObject, body: JsonObject, provider: Provider, system: list[JsonObject], model: str) -> None:
    config: dict[str, Any] = {}
    effort = body.get("reasoning_effort")
    if effort == "none":
        out.setdefault("thinking", {"type": "disabled"})
    elif effort and not takes_effort(model):
        _set_budget(out, effort)
    elif effort and (named := provider.efforts.get(effort, effort)):
        config["effort"] = named
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": wanted["json_schema"].get("schema") or {}}
    elif wanted.get("type") == "json_object":
        system.append({"type": "text", "text": json_instruction(wanted)})
    if config:
        out["output_config"] = config


def takes_effort(model: str) -> bool:
    """Whether a model takes `output_config.effort`.

    Opus from 4.5 on, the others from 4.6 on, and whatever is newer or has another name.
    """
    found = re.search(r"claude-(?:(opus|sonnet|haiku)-)?(\d)(?:[-.](\d)(?!\d))?", model)
    if found is None:
        return True
    version = (int(found[2]), int(found[3] or 0))
    return version >= ((4, 5) if found[1] == "opus" else (4, 6))


def _set_budget(out: JsonObject, effort: str) -> None:
    """Models that know no effort have a budget of tokens to think with, within those of the answer.

    The oldest ones have none.
    """
    model = str(out["model"])
    room = out["max_tokens"] - MIN_BUDGET
    if (
        "thinking" in out
        or room < MIN_BUDGET
        or re.search(r"claude-(?:[a-z]+-)?(?:[12]|3-[05]|3-(?:opus|sonnet|haiku))", model)
    ):
        return
    chosen = out.get("tool_choice")
    if isinstance(chosen, dict) and chosen.get("type") in ("any", "tool"):
        return  # a forced call excludes thinking
    out["thinking"] = {"type": "enabled", "budget_tokens": min(BUDGETS.get(effort, 8_192), room)}
    for name in ("temperature", "top_k"):
        out.pop(name, None)  # thinking excludes them


def _limit_breakpoints(out: JsonObject) -> None:
    """At most four marks are allowed.

    The last ones hold the longest prefixes, and the first of all is what most requests share.
    """
    turns = [block for turn in out["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    system: list[dict[str, Any]] = out["system"] if isinstance(out.get("system"), list) else []
    marked = [block for block in (*out.get("tools", ()), *system, *turns) if "cache_control" in block]
    for block in marked[1 : len(marked) - MAX_BREAKPOINTS + 1]:
        del block["cache_control"]
