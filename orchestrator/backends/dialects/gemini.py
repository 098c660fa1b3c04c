"""Gemini's generateContent.

POST {base_url}/models/{model}:generateContent, `:streamGenerateContent?alt=sse` (google-genai 3.4, types).

Signatures of thoughts travel in `extra_content.google.thought_signature` of a tool call, as in Google's own
OpenAI-compatible API, and must come back.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.backends.dialects.annotations import from_gemini
from orchestrator.backends.dialects.anthropic_stream import arguments_of
from orchestrator.backends.dialects.dialect import (
    Outgoing,
    check_lacks,
    choice,
    parts_of,
    picture_of,
    refused,
    result_text,
    stated_limit,
    text_of,
    tools_for,
    whole,
)
from orchestrator.backends.dialects.gemini_stream import GeminiReader, read_finish, read_logprobs, read_message
from orchestrator.backends.usage import usage_of
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider

_NAMES = {
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}  # fmt: skip
_BUDGETS = {"none": 0, "minimal": 512, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GeminiDialect:
    """Google's Gemini API (generateContent)."""

    def outgoing(self, body: JsonObject, provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """The request of a chat completion as contents and parts.

        Raises `BackendRejected` on what has no word there.
        """
        check_lacks(body, provider)
        system, contents = _contents(body["messages"], provider)
        if not contents and system:
            contents.append({"role": "user", "parts": [system.pop()]})
        out: dict[str, Any] = {"contents": contents}
        if system:
            out["systemInstruction"] = {"parts": system}
        config = {other: body[name] for name, other in _NAMES.items() if body.get(name) is not None}
        most = stated_limit(body)
        if most:
            config["maxOutputTokens"] = int(most)
        if body.get("stop"):
            config["stopSequences"] = [body["stop"]] if isinstance(body["stop"], str) else list(body["stop"])
        if body.get("logprobs"):
            config |= {"responseLogprobs": True, "logprobs": min(int(body.get("top_logprobs") or 1), 20)}
        _set_form(config, body)
        _set_thinking(config, body, model)
        if config:
            out["generationConfig"] = config
        if tools := tools_for(body, provider):
            out["tools"] = [_tools(tools)]
            _set_tool_choice(out, body.get("tool_choice"))
        if body.get("cached_content"):
            out["cachedContent"] = body["cached_content"]
        verb = "streamGenerateContent?alt=sse" if body.get("stream") else "generateContent"
        return Outgoing(f"/models/{model}:{verb}", out)

    def completion(self, payload: JsonObject, provider: Provider) -> JsonObject:
        """An answer with candidates as a chat completion."""
        candidates = payload.get("candidates")
        usage = usage_of(payload.get("usageMetadata"))
        if not isinstance(candidates, list) or not candidates:
            blocked = (payload.get("promptFeedback") or {}).get("blockReason")
            if not blocked:
                return payload
            told = {"content": None, "refusal": f"the prompt was blocked: {blocked}"}
            return whole(
                payload.get("responseId"), payload.get("modelVersion"), [choice(0, told, "content_filter")], usage
            )
        choices = [
            _choice(index, candidate) for index, candidate in enumerate(candidates) if isinstance(candidate, dict)
        ]
        return whole(payload.get("responseId"), payload.get("modelVersion"), choices, usage)

    def reader(self, provider: Provider) -> GeminiReader:
        """Reads one stream."""
        return GeminiReader()


def prefix(body: JsonObject, provider: Provider) -> JsonObject:
    """The beginning of a conversation, as a resource to be cached holds it."""
    system, contents = _contents(body["messages"], provider)
    found: dict[str, Any] = {"contents": contents} if contents else {}
    if system:
        found["systemInstruction"] = {"parts": system}
    if tools := tools_for(body, provider):
        found["tools"] = [_tools(tools)]
        _set_tool_choice(found, body.get("tool_choice"))
    return found


def _choice(index: int, candidate: JsonObject) -> JsonObject:
    message = read_message((candidate.get("content") or {}).get("parts") or ())
    if annotations := from_gemini(candidate.get("groundingMetadata"), message.get("content") or ""):
        message["annotations"] = annotations
    found = choice(index, message, read_finish(candidate.get("finishReason"), has_calls="tool_calls" in message))
    told = candidate.get("logprobsResult")
    if isinstance(told, dict):
        found["logprobs"] = {"content": read_logprobs(told)}
    return found


def _contents(messages: list[JsonObject], provider: Provider) -> tuple[list[JsonObject], list[JsonObject]]:
    system: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        role = message["role"]
        if role in ("system", "developer") and not contents:
            system.append({"text": text_of(message.get("content"))})
            continue
        if role == "assistant":
            parts = _assistant(message, names)
        elif role in ("tool", "function"):
            name = names.get(message.get("tool_call_id") or "", message.get("name") or "tool")
            shown = [part for part in parts_of(message.get("content")) if part.get("type") != "text"]
            result = {"name": name, "response": _response(result_text(message))}
            parts = [{"functionResponse": result}, *_parts(shown, provider)]
        else:
            parts = _user(message, provider)
        speaker = "model" if role == "assistant" else "user"
        if parts and contents and contents[-1]["role"] == speaker:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": speaker, "parts": parts})
    return [part for part in system if part["text"]], contents


def _user(message: JsonObject, provider: Provider) -> list[JsonObject]:
    return _parts(parts_of(message.get("content")), provider)


def _parts(given: list[JsonObject], provider: Provider) -> list[JsonObject]:
    parts: list[dict[str, Any]] = []
    for part in given:
        kind = part.get("type")
        if kind == "text":
            parts += [{"text": part["text"]}] if part.get("text") else []
        elif kind == "image_url":
            media, found, is_data = picture_of(part)
            parts.append(
                {"inlineData": {"mimeType": media, "data": found}} if is_data else {"fileData": {"fileUri": found}}
            )
        elif kind == "input_audio":
            sound = part.get("input_audio") or {}
            parts.append(
                {"inlineData": {"mimeType": f"audio/{sound.get('format') or 'wav'}", "data": sound.get("data")}}
            )
        elif kind == "file" and (part.get("file") or {}).get("file_url"):
            parts.append({"fileData": {"fileUri": part["file"]["file_url"]}})
        elif kind == "file" and str((part.get("file") or {}).get("file_data") or "").startswith("data:"):
            head, _, data = part["file"]["file_data"][5:].partition(",")
            parts.append({"inlineData": {"mimeType": head.partition(";")[0], "data": data}})
        else:
            raise refused(provider, f"a message with {kind}")
    return parts


def _assistant(message: JsonObject, names: dict[str, str]) -> list[JsonObject]:
    text = text_of(message.get("content"))
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    signed = ((message.get("extra_content") or {}).get("google") or {}).get("thought_signature")
    if parts and signed:
        parts[0]["thoughtSignature"] = signed
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        names[call.get("id") or ""] = function.get("name") or "tool"
        part: dict[str, Any] = {
            "functionCall": {"name": function.get("name"), "args": arguments_of(function.get("arguments"))}
        }
        signature = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
        parts.append(part | ({"thoughtSignature": signature} if signature else {}))
    return parts


def _response(text: str) -> JsonObject:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"result": text}
    return found if isinstance(found, dict) else {"result": found}


def _set_form(config: JsonObject, body: JsonObject) -> None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") in ("json_schema", "json_object"):
        config["responseMimeType"] = "application/json"
    if wanted.get("type") == "json_schema":
        config["responseJsonSchema"] = wanted["json_schema"].get("schema") or {}


def _set_thinking(config: JsonObject, body: JsonObject, model: str) -> None:
    effort = body.get("reasoning_effort")
    if not effort:
        return
    if model.startswith("gemini-2.5"):  # later models are told a level, these a number of tokens
        config["thinkingConfig"] = {"thinkingBudget": _BUDGETS.get(effort, 8_192)}
    else:
        config["thinkingConfig"] = {"thinkingLevel": _LEVELS.get(effort, effort)}


def _tools(tools: list[JsonObject]) -> JsonObject:
    declared = []
    for tool in tools:
        function = tool.get("function") or {}
        row = {"name": function.get("name"), "parametersJsonSchema": function.get("parameters") or {"type": "object"}}
        declared.append(row | ({"description": function["description"]} if function.get("description") else {}))
    return {"functionDeclarations": declared}


def _set_tool_choice(out: JsonObject, chosen: JsonValue) -> None:
    if isinstance(chosen, dict):
        calling = {"mode": "ANY", "allowedFunctionNames": [(chosen.get("function") or chosen).get("name")]}
        out["toolConfig"] = {"functionCallingConfig": calling}
    elif chosen in _MODES:
        out["toolConfig"] = {"functionCallingConfig": {"mode": _MODES[chosen]}}
