"""Items and tools of the Responses API as messages and tools of chat completions, and back.

Functions and custom tools (which take one text) are functions there; those of a namespace have it before their name.
Tools that a provider runs by itself (web search, code, remote servers) reach the models of OpenAI's Responses API, and
are left out for all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.backends.dialects.dialect import own_tool
from orchestrator.backends.dialects.signatures import unpack
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue

_CUSTOM_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class Named:
    """A tool as its caller knows it, behind the name of a function."""

    name: str
    namespace: str = ""
    is_custom: bool = False


class Tools:
    """The tools of one request. Raises `GatewayError` on two that would have the same name."""

    def __init__(self, tools: JsonValue, chosen: JsonValue) -> None:
        self.functions: list[dict[str, Any]] = []
        self.named: dict[str, Named] = {}
        for tool in tools or ():
            self._add(tool, "")
        self.choice = self._choice(chosen)

    def _add(self, tool: JsonMapping, namespace: str) -> None:
        kind = tool["type"]
        if kind == "namespace":
            for inner in tool["tools"]:
                self._add(inner, tool["name"])
        elif kind in ("function", "custom"):
            name = function_name(tool["name"], namespace)
            if name in self.named:
                raise GatewayError(400, f"two tools are called {name!r}", code="duplicate_tool", param="tools")
            self.named[name] = Named(tool["name"], namespace, kind == "custom")
            self.functions.append({"type": "function", "function": _function(tool, name)})
        else:
            self.functions.append(own_tool("responses", dict(tool)))

    def _choice(self, chosen: JsonValue) -> JsonValue:
        if not isinstance(chosen, dict):
            return chosen
        if chosen["type"] == "allowed_tools":
            allowed = {
                function_name(str(tool.get("name")), str(tool.get("namespace") or "")) for tool in chosen["tools"]
            }
            self.functions = [
                tool for tool in self.functions if (tool.get("function") or tool["tool"]).get("name") in allowed
            ]
            return chosen["mode"]
        if chosen["type"] not in ("function", "custom"):
            raise GatewayError(
                400,
                f"tool_choice {chosen['type']!r} is not supported: name a function",
                code="invalid_request",
                param="tool_choice",
            )
        return {"type": "function", "function": {"name": function_name(chosen["name"], chosen.get("namespace") or "")}}

    def call(self, id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> JsonObject:
        """A call of the model's as an item."""
        known = self.named.get(name, Named(name))
        found: dict[str, Any] = {
            "id": id,
            "type": "custom_tool_call" if known.is_custom else "function_call",
            "status": status,
        }
        found |= {"call_id": call_id, "name": known.name}
        found |= {"input": custom_input(arguments)} if known.is_custom else {"arguments": arguments}
        return found | ({"namespace": known.namespace} if known.namespace else {})


def function_name(name: str, namespace: str) -> str:
    """The name of a function as chat completions allow it: at most 64 characters."""
    joined = f"{namespace}__{name}" if namespace else name
    return joined if len(joined) <= MAX_NAME_CHARS else joined[-MAX_NAME_CHARS:]


def custom_input(arguments: str) -> str:
    """The one text that a custom tool takes."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return found["input"] if isinstance(found, dict) and isinstance(found.get("input"), str) else arguments


def _function(tool: JsonMapping, name: str) -> JsonObject:
    if tool["type"] == "function":
        kept = {key: tool[key] for key in ("description", "parameters", "strict") if tool.get(key) is not None}
        return {"name": name, **kept}
    about = tool.get("description") or ""
    form = tool.get("format") or {}
    if form.get("type") == "grammar":
        about = (
            f"{about}\n\nThe input must satisfy this grammar ({form.get('syntax')}):\n{form.get('definition')}".strip()
        )
    return {"name": name, "description": about, "parameters": _CUSTOM_INPUT}


def messages_of(given: JsonValue) -> list[JsonObject]:
    """The input of a request as messages. Raises `GatewayError` on an item that refers to what is not kept here."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    found: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []  # they come before what follows from them
    for item in given:
        kind = item.get("type", "message")
        if kind == "reasoning":
            thoughts.append(item)
        elif kind == "message":
            message = {"role": item["role"], "content": content_of(item["content"])}
            found.append(message)
            if item["role"] == "assistant":
                thoughts = _think(message, thoughts)
        elif kind in ("function_call", "custom_tool_call"):
            message = _speaking(found)
            arguments = (
                item["arguments"] if kind == "function_call" else orjson.dumps({"input": item["input"]}).decode()
            )
            function = {"name": function_name(item["name"], item.get("namespace") or ""), "arguments": arguments}
            message.setdefault("tool_calls", []).append(
                {"id": item["call_id"], "type": "function", "function": function}
            )
            thoughts = _think(message, thoughts)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": content_of(item["output"])})
        elif kind == "item_reference":
            told = "items are not referred to here: send the item itself, or use previous_response_id"
            raise GatewayError(400, told, code="unsupported_item", param="input")
        else:  # searches, code, remote tools: what a provider did by itself goes back to it between its thoughts
            thoughts.append(item)
    return found


def _speaking(found: list[JsonObject]) -> JsonObject:
    """The assistant's message that a call belongs to: the last one, if nobody spoke since."""
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    return found[-1]


def _think(message: JsonObject, thoughts: list[JsonObject]) -> list[JsonObject]:
    """Puts thoughts back into the message that followed from them, as their model wants them."""
    for item in thoughts:
        if item["type"] != "reasoning":
            known = message.setdefault("reasoning_items", [])
            if all(item.get("id") != each.get("id") for each in known):
                known.append(item)
            continue
        if unpack(item.get("encrypted_content"), message):
            continue
        told = "".join(part.get("text") or "" for part in item.get("content") or item.get("summary") or ())
        if item.get("encrypted_content"):
            message.setdefault("reasoning_items", []).append(item)
        elif told:
            message["reasoning_content"] = (message.get("reasoning_content") or "") + told
    return []


def content_of(content: JsonValue) -> JsonValue:
    """Content of an item as that of a message."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content]
    is_text = all(part["type"] == "text" for part in parts)
    return "".join(part["text"] for part in parts) if is_text else parts


def _part(part: JsonObject) -> JsonObject:
    kind = part["type"]
    if kind == "input_image":
        if not part.get("image_url"):
            raise GatewayError(
                400,
                "a picture needs its image_url: files of pictures are not kept here",
                code="unsupported_item",
                param="input",
            )
        detail = {"detail": part["detail"]} if part.get("detail") in ("low", "high", "auto") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_file":
        file = {name: part[name] for name in ("filename", "file_data", "file_url", "file_id") if part.get(name)}
        return {"type": "file", "file": file}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio") or {}}
    return {"type": "text", "text": part["refusal"] if kind == "refusal" else part["text"]}
