"""What a call of a tool needs to know, and what a tool takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.tools.tool import ToolFailed

if TYPE_CHECKING:
    import httpx

Place = Literal["path", "query", "header", "body"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Args:
        key: Identifies the call: the same when it is made again.
        client: The connections of tools. Redirects are not followed: they could lead where a tool may not go.
        seconds_left: How long it may still take; `None` without a limit.
        redacted: A value from outside without the secrets that it may hold.
    """

    key: str
    client: Callable[[], httpx.AsyncClient]
    seconds_left: float | None = None
    redacted: Callable[[JsonValue], JsonValue] = lambda value: value


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a tool takes.

    Args:
        name: Its name.
        schema: The JSON Schema of what it may be.
        required: Whether it must be given.
        place: Where it goes in a request.
        default: What it is when it is not given.
    """

    name: str
    schema: JsonObject = field(default_factory=dict)
    required: bool = False
    place: Place = "query"
    default: Any = None


def arguments_schema(parameters: Mapping[str, Parameter]) -> JsonObject:
    """The JSON Schema of the arguments of a tool, as models are told of it."""
    required = [one.name for one in parameters.values() if one.required]
    schema: JsonObject = {"type": "object", "properties": {one.name: one.schema for one in parameters.values()}}
    return schema | ({"required": required} if required else {}) | {"additionalProperties": False}


def percent_encoded(text: str) -> str:
    """Part of an address (RFC 3986): what is filled in can neither begin another part nor leave its own.

    Raises `ToolFailed`.
    """
    if text in (".", ".."):
        raise ToolFailed(f"{text!r} cannot be a part of an address", remedy="Check where the value comes from")
    return quote(text, safe="")


def placed(parameters: Mapping[str, Parameter], arguments: JsonMapping) -> dict[Place, JsonObject]:
    """The arguments of a request by where they go; what is null is left out."""
    found: dict[Place, JsonObject] = {"query": {}, "header": {}, "body": {}, "path": {}}
    for one in parameters.values():
        value = arguments.get(one.name, one.default)
        if value is not None:
            found[one.place][one.name] = value
    return found
