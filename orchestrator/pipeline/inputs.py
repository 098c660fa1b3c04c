"""What a run is given, held against what the file says it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.pipeline.document import Input

_TYPES = {"text": "string", "boolean": "boolean", "list": "array", "object": "object", "number": "number", "integer": "integer"}


def schema_of_inputs(inputs: Mapping[str, tuple[Input, dict[str, Any] | None]]) -> dict[str, Any]:
    """The JSON Schema of all inputs together; an input's own schema comes beside it."""
    properties: dict[str, Any] = {}
    for name, (one, schema) in inputs.items():
        stated: dict[str, Any] = dict(schema) if schema is not None else {}
        if one.type != "any":
            stated.setdefault("type", _TYPES[one.type])
        if one.choices is not None:
            stated["enum"] = one.choices
        if one.description:
            stated["description"] = one.description
        if not one.is_required:
            stated["default"] = one.default
            if one.default is None:
                stated = {"anyOf": [stated, {"type": "null"}], "default": None}
        properties[name] = stated
    required = [name for name, (one, _) in inputs.items() if one.is_required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def from_text(text: str, schema: Mapping[str, Any]) -> Any:
    """An input as it was typed (`-i name=value`): text where text is wanted, else the JSON that it is."""
    import json

    kinds = schema.get("type")
    if kinds == "string" or (kinds is None and "enum" in schema and text in schema["enum"]):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
