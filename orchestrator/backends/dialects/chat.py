"""OpenAI's chat completions, as each of many servers takes them.

POST {base_url}/chat/completions (openai 3.54, types.chat).

What differs between servers is switches of the provider's row; there is no provider's name in this file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from orchestrator.backends.dialects.chat_stream import ChatReader, name_thoughts
from orchestrator.backends.dialects.dialect import (
    RAW_FIELDS,
    TOKEN_FIELDS,
    Outgoing,
    TextPrompt,
    check_lacks,
    flatten_content,
    json_instruction,
    parts_of,
    refused,
    result_text,
    stated_limit,
    text_of,
    text_prompt,
    tools_for,
)
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider

_PLAIN_ROLES = ("user", "assistant", "system")
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty")
_OWN_MESSAGE_FIELDS = (
    "thinking_blocks",
    "reasoning_items",
    "extra_content",
    "is_error",
    "annotations",
    "images",
    "response_items",
    "anthropic_blocks",
)  # of other dialects: no server of this one knows them


class ChatDialect:
    """OpenAI's chat completions, and what compatible servers make of them."""

    def outgoing(self, body: JsonObject, provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """The body with what its provider calls otherwise, or does not take.

        Raises `BackendRejected` on what it lacks.
        """
        check_lacks(body, provider)
        out = {**body, "model": model}
        most = stated_limit(body)
        for name in TOKEN_FIELDS:
            out.pop(name, None)
        prompt = text_prompt(body)
        if prompt is not None:
            return _text_completion(out, prompt, most, provider)
        if most is not None:
            out[provider.token_field] = most
        out["messages"] = messages_for(provider, body["messages"], model)
        for name in ("anthropic", "responses"):  # what other dialects alone know
            out.pop(name, None)
        if out.get("tools"):
            marks = provider.cache == "anthropic"
            out["tools"] = [_tool(tool, marks=marks) for tool in tools_for(body, provider)]
            if not out["tools"]:
                for name in ("tools", "tool_choice", "parallel_tool_calls"):
                    out.pop(name, None)
        if "thinking" in out and _is_anthropics(out["thinking"]):
            del out["thinking"]
        if "response_format" in out:
            _set_form(out, provider)
        chosen = out.get("tool_choice")
        if isinstance(chosen, str) and chosen in provider.tool_choices:
            _rename(out, "tool_choice", provider.tool_choices[chosen])
        if "reasoning_effort" in out:
            _set_effort(out, provider)
        _set_sampling(out, provider, model)
        _set_stream(out, provider)
        if out.get("n") == 1 and "n" in provider.lacks:
            del out["n"]
        if provider.drops:
            for name in provider.drops:
                out.pop(name, None)
        for name, other in provider.renames.items():
            if name in out:
                out[other] = out.pop(name)
        if provider.only is not None:
            out = {name: value for name, value in out.items() if name in provider.only}
        return Outgoing("/chat/completions", out)

    def completion(self, payload: JsonObject, provider: Provider) -> JsonObject:
        """The answer with what compatible servers write otherwise put right."""
        choices = payload.get("choices")
        if not isinstance(choices, list):
            return payload
        for choice in choices:
            if (
                isinstance(choice, dict)
                and isinstance(message := choice.get("message"), dict)
                and isinstance(message.get("content"), list)
            ):
                flatten_content(message)
        if provider.thoughts == "reasoning":
            for choice in choices:
                if isinstance(choice, dict):
                    name_thoughts(choice.get("message"))
        return payload

    def reader(self, provider: Provider) -> ChatReader:
        """Reads one stream."""
        return ChatReader(provider)


def _text_completion(out: JsonObject, prompt: TextPrompt, most: int | None, provider: Provider) -> Outgoing:
    """POST {base_url}/completions: the text as it stands, and whatever its caller says of it."""
    del out["messages"], out["completion"]
    out |= {"prompt": prompt.prompt, **prompt.fields} | ({"max_tokens": most} if most is not None else {})
    _set_stream(out, provider)
    known = None if provider.only is None else provider.only | {"prompt", "max_tokens", *RAW_FIELDS}
    return Outgoing(
        "/completions",
        {name: value for name, value in out.items() if name not in provider.drops and (known is None or name in known)},
    )


def _set_stream(out: JsonObject, provider: Provider) -> None:
    """A stream tells its usage, where it can be told to."""
    if not out.get("stream"):
        return
    if provider.stream_options:
        out["stream_options"] = {**(out.get("stream_options") or {}), "include_usage": True}
    else:
        out.pop("stream_options", None)


def is_plain(provider: Provider) -> bool:
    """Whether answers may pass through unread: nothing in them has another name."""
    return provider.dialect == "chat" and provider.thoughts != "reasoning" and provider.timings != "groq"


def messages_for(provider: Provider, messages: list[JsonObject], model: str) -> list[JsonObject]:
    """Messages as a provider's chat completions take them: roles, cache marks and reasoning included."""
    marks = provider.cache == "anthropic" or (provider.cache == "openai" and _has_breakpoints(model))
    found: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []  # what tools gave beside text: this dialect takes it from the user alone
    for message in messages:
        if (
            len(message) == 2
            and not shown
            and message["role"] in _PLAIN_ROLES
            and isinstance(message.get("content"), str)
            and message["content"]
        ):
            found.append(message)  # most are no more than that
            continue
        is_result = message["role"] == "tool"
        if shown and not is_result:
            found.append({"role": "user", "content": shown})
            shown = []
        if is_result and isinstance(message.get("content"), list):
            shown += [part for part in parts_of(message["content"]) if part.get("type") != "text"]
            text = result_text(message) or ("See the next message." if shown else "")
            message = {**message, "content": text}
        elif message.get("is_error"):
            message = {**message, "content": result_text(message)}
        out = _message(message, provider, marks=marks)
        if (
            out["role"] != "assistant"
            or out.get("content")
            or out.get("tool_calls")
            or out.get("function_call")
            or out.get("refusal")
        ):
            found.append(out)
    return [*found, {"role": "user", "content": shown}] if shown else found


def _message(message: JsonObject, provider: Provider, *, marks: bool) -> JsonObject:
    """A message as this server takes it; the same object where nothing needs to change."""
    content = message.get("content")
    if isinstance(content, str) and len(message) == 2 and message["role"] != "developer":
        return message
    out = dict(message)
    if out.get("role") == "developer" and not provider.developer_role:
        out["role"] = "system"
    if isinstance(content, list):
        content = out["content"] = parts_of(content)
        if out["role"] == "assistant" and all(part.get("type") == "text" for part in content):
            out["content"] = text_of(content) or None
        elif any((part.get("file") or {}).get("file_url") for part in content):
            raise refused(provider, "a file by its address")
        elif not provider.parts or (
            not marks and all(part.get("type") == "text" for part in content) and _has_marks(content)
        ):
            out["content"] = text_of(content)
        elif _has_marks(content):
            out["content"] = [_marked(part, provider, marks=marks) for part in content]
    if not provider.names_in_messages and out.get("role") != "tool":
        out.pop("name", None)
    for name in _OWN_MESSAGE_FIELDS:
        out.pop(name, None)
    if any(not (call.get("function") or {}).get("arguments", "") for call in out.get("tool_calls") or ()):
        out["tool_calls"] = [_with_arguments(call) for call in out["tool_calls"]]
    thoughts = out.pop("reasoning_content", None)
    if thoughts and provider.thoughts_back and out.get("tool_calls") and provider.thoughts != "none":
        out[provider.thoughts] = thoughts
    return out


def _with_arguments(call: JsonObject) -> JsonObject:
    """A call whose arguments are JSON, also where there are none: chat templates parse them."""
    function = call.get("function") or {}
    return call if function.get("arguments") else {**call, "function": {**function, "arguments": "{}"}}


def _tool(tool: JsonObject, *, marks: bool) -> JsonObject:
    """A tool without what another dialect alone knows, and without its cache mark, where this one knows none."""
    left_out = ("anthropic",) if marks else ("anthropic", "cache_control")
    return (
        {name: value for name, value in tool.items() if name not in left_out}
        if any(name in tool for name in left_out)
        else tool
    )


def _is_anthropics(thinking: JsonValue) -> bool:
    """Whether a wish for thoughts is in Anthropic's words, which no other API knows."""
    return isinstance(thinking, dict) and (
        "budget_tokens" in thinking or thinking.get("type") in ("adaptive", "between_tools")
    )


def _has_marks(parts: list[JsonObject]) -> bool:
    return any("cache_control" in part for part in parts)


def _marked(part: JsonObject, provider: Provider, *, marks: bool) -> JsonObject:
    """A part with its cache mark in this provider's words."""
    if "cache_control" not in part or (marks and provider.cache == "anthropic"):
        return part
    out = {name: value for name, value in part.items() if name != "cache_control"}
    if marks:
        ttl = part["cache_control"].get("ttl")
        out["prompt_cache_breakpoint"] = {"mode": "explicit"} | ({"ttl": "12h"} if ttl == "1h" else {})
    return out


@lru_cache(maxsize=256)
def _has_breakpoints(model: str) -> bool:
    """OpenAI: from gpt-5.6 on (openai 3.54, PromptCacheOptions)."""
    found = re.match(r"gpt-(\d+)(?:\.(\d+))?", model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (5, 6)


def _set_form(out: JsonObject, provider: Provider) -> None:
    """The form of the answer as far as this server holds a model to it; the model is told of the rest."""
    wanted = out["response_format"]
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("json_schema", "json_object"):
        return
    if provider.json == "none" or (provider.json == "object" and kind == "json_schema"):
        told = {"role": "system", "content": json_instruction(wanted)}
        out["messages"] = [told, *out["messages"]]
        out["response_format"] = {"type": "json_object"}
        if provider.json == "none":
            del out["response_format"]
    elif kind == "json_schema" and not provider.strict_json and "strict" in wanted.get("json_schema", {}):
        out["response_format"] = {
            **wanted,
            "json_schema": {k: v for k, v in wanted["json_schema"].items() if k != "strict"},
        }


def _set_effort(out: JsonObject, provider: Provider) -> None:
    effort = out.pop("reasoning_effort")
    if not effort:
        return
    named = provider.efforts.get(effort, effort)
    if provider.effort_field == "thinking":
        out.setdefault("thinking", {"type": "disabled" if named == "disabled" else "enabled"})
    elif named:
        out[provider.effort_field] = named


def _set_sampling(out: JsonObject, provider: Provider, model: str) -> None:
    if provider.no_sampling and takes_no_sampling(provider.no_sampling, model):
        for name in _SAMPLING:
            out.pop(name, None)
    temperature = out.get("temperature")
    if temperature is not None:
        out["temperature"] = min(max(temperature, provider.least_temperature), provider.most_temperature)


@lru_cache(maxsize=256)
def takes_no_sampling(pattern: str, model: str) -> bool:
    """Whether a model whose name fits `pattern` refuses temperature and the like."""
    return re.search(pattern, model) is not None


def _rename(out: JsonObject, name: str, value: str) -> None:
    if value:
        out[name] = value
    else:
        del out[name]
