"""The operations of an OpenAPI document (3.0 and 3.1), as requests.

Each operation by its `operationId`, with the parameters and the answer that it states.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.tools.calling import Parameter

METHODS = ("get", "head", "post", "put", "patch", "delete")
MAX_OPERATIONS, MAX_LEVELS, MAX_NODES = 2_000, 12, 2_000
NO_PARAMETERS = ("accept", "content-type", "authorization")  # (OpenAPI 3.1, Parameter Object: they are ignored)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document; `gives` is the JSON Schema of its answer."""

    method: str
    path: str
    parameters: Mapping[str, Parameter]
    gives: JsonObject
    description: str = ""


def operations_of(document: JsonMapping) -> dict[str, Operation]:
    """The operations of a document by their ids; one without an id is called by its method and path: `get_tickets`."""
    found: dict[str, Operation] = {}
    for path, item in (document.get("paths") or {}).items():
        if not isinstance(item, dict) or not str(path).startswith("/"):
            continue  # (OpenAPI 3.1, Paths Object: it begins with a slash)
        for method in METHODS:
            stated = item.get(method)
            if isinstance(stated, dict) and len(found) < MAX_OPERATIONS:
                name = str(stated.get("operationId") or _name(method, path))
                about = str(stated.get("summary") or stated.get("description") or "")
                found[name] = Operation(
                    method.upper(), str(path), _parameters(document, item, stated), _gives(document, stated), about
                )
    return found


def read_document(text: str, name: str) -> JsonObject | str:
    """The document, or what is wrong with it."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else load_located(text, name).value
    except (ValueError, ConfigError) as error:
        return f"{name} is neither JSON nor YAML: {error}"[:300]
    if not isinstance(found, dict) or not isinstance(found.get("paths"), dict):
        return f"{name} is no OpenAPI document: it has no paths"
    return found


def first_server(document: JsonMapping) -> str | None:
    """The address of the first server that a document names."""
    found = next((s.get("url") for s in document.get("servers", ()) if isinstance(s, dict)), None)
    return None if found is None else str(found)


def _parameters(document: JsonMapping, item: JsonMapping, stated: JsonMapping) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for raw in [*(item.get("parameters") or ()), *(stated.get("parameters") or ())]:
        one = _resolved(document, raw)
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            continue
        if one.get("in") == "header" and one["name"].lower() in NO_PARAMETERS:
            continue
        if one.get("in") in ("path", "query", "header"):
            required = bool(one.get("required")) or one["in"] == "path"
            schema = whole_schema(document, one.get("schema"))
            if one.get("description") and "description" not in schema:
                schema["description"] = str(one["description"])
            found[one["name"]] = Parameter(one["name"], schema, required, one["in"])
    body = _resolved(document, stated.get("requestBody"))
    content = ((body or {}).get("content") or {}).get("application/json") or {}
    schema = _resolved(document, content.get("schema")) or {}
    needed = schema.get("required") or () if (body or {}).get("required") else ()
    for name, each in (schema.get("properties") or {}).items():
        found.setdefault(name, Parameter(name, whole_schema(document, each), name in needed, "body"))
    return found


def _gives(document: JsonMapping, stated: JsonMapping) -> JsonObject:
    for status, raw in (stated.get("responses") or {}).items():
        if str(status).startswith("2"):
            answer = _resolved(document, raw) or {}
            content = (answer.get("content") or {}).get("application/json") or {}
            return whole_schema(document, content.get("schema"))
    return {}


def whole_schema(document: JsonMapping, schema: JsonValue) -> JsonObject:
    """A schema of the document with what it refers to in it; where it is very deep, or very large, anything."""
    found = _filled(document, schema, 0, [MAX_NODES])
    return found if isinstance(found, dict) else {}


def _filled(document: JsonMapping, value: JsonValue, level: int, left: list[int]) -> JsonValue:
    left[0] -= 1
    if level > MAX_LEVELS or left[0] < 0:
        return {}
    if isinstance(value, list):
        return [_filled(document, each, level + 1, left) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _filled(document, _resolved(document, value) or {}, level + 1, left)
    return {name: _filled(document, each, level + 1, left) for name, each in value.items()}


def _resolved(document: JsonMapping, raw: JsonValue) -> JsonObject | None:
    """What a reference into the document points at; what is none as it is."""
    for _ in range(10):
        if not (isinstance(raw, dict) and isinstance(raw.get("$ref"), str) and raw["$ref"].startswith("#/")):
            return raw if isinstance(raw, dict) else None
        found: JsonValue = dict(document)
        for part in raw["$ref"][2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        raw = found
    return None


def _name(method: str, path: object) -> str:
    return "_".join([method, *(part.strip("{}") for part in str(path).split("/") if part)])
