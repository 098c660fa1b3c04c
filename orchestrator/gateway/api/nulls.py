"""Null means absent: many clients write every field that they know, and null where they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.jsontypes import JsonValue

if TYPE_CHECKING:
    from orchestrator.gateway.api.endpoint import Endpoint

# What is somebody else's to read: JSON Schemas, arguments and inputs, JSON-RPC, labels. Null is a value there.
_OPAQUE = frozenset(
    (
        "parameters",
        "schema",
        "input_schema",
        "arguments",
        "input",
        "inputs",
        "params",
        "result",
        "metadata",
        "value",
        "default",
        "enum",
        "const",
        "expected",
        "criteria",
    )
)
_KEPT = frozenset(("content",))  # an assistant's message that calls tools says null, and some servers insist on it


def without_nulls(value: JsonValue) -> JsonValue:
    """A request without the fields that are null; the same object where there are none.

    What is opaque to us stays as it is, and so do lists.
    """
    if isinstance(value, list):
        made = [without_nulls(each) for each in value]
        return value if all(new is old for new, old in zip(made, value, strict=True)) else made
    if not isinstance(value, dict):
        return value
    found = {
        name: each if name in _OPAQUE and not _is_turns(name, each) else without_nulls(each)
        for name, each in value.items()
        if each is not None or name in _KEPT
    }
    return value if len(found) == len(value) and all(found[name] is value[name] for name in found) else found


def takes_nulls(endpoint: Endpoint) -> bool:
    """Whether null means absent in the bodies of an operation.

    Everywhere but where accounts are changed, where it lifts a limit.
    """
    return endpoint.permission != "admin"


def nullable(schema: JsonValue) -> JsonValue:
    """A JSON Schema as requests may be written that are read `without_nulls`: what need not be there may be null."""
    if isinstance(schema, list):
        return [nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: nullable(each) for name, each in schema.items() if name != "properties"}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        # Which of several must be there stands in a `oneOf`: null is none of them.
        required = properties if "oneOf" in schema else schema.get("required") or ()
        found["properties"] = {
            name: _nullable_one(name, each, name in required or name in _KEPT) for name, each in properties.items()
        }
    told = found.get("properties") or {}
    missing = {
        name: {"not": {"type": "null"}}
        for name in schema.get("required") or ()
        if name not in told and name not in _KEPT
    }
    return {**found, "properties": {**told, **missing}} if missing else found


def _nullable_one(name: str, schema: JsonValue, must_be: bool) -> JsonValue:
    made = schema if name in _OPAQUE else nullable(schema)
    return made if must_be else {"anyOf": [made, {"type": "null"}]}


def _is_turns(name: str, value: JsonValue) -> bool:
    """Whether an `input` is a conversation (of the responses API), and no input of a tool."""
    return name == "input" and isinstance(value, list)
