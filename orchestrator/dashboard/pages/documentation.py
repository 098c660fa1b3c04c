"""The API as a page, made of its own OpenAPI document."""

from __future__ import annotations

import json
from functools import lru_cache

from orchestrator.jsontypes import JsonObject


@lru_cache(maxsize=2)
def documented(openapi: bytes) -> JsonObject:
    """Operations in groups, each with its parameters, and an example of its body and its answer."""
    document = json.loads(openapi)
    schemas = document["components"]["schemas"]
    groups: dict[str, list[JsonObject]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts = path.strip("/").split("/")
            group = (
                "admin"
                if parts[:2] == ["v1", "admin"]
                else parts[1]
                if parts[0] == "v1" and len(parts) > 1
                else "health"
            )
            body = operation.get("requestBody", {}).get("content", {})
            groups.setdefault(group, []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "id": operation["operationId"],
                    "summary": operation["summary"],
                    "is_open": operation.get("security") == [],
                    "parameters": [_parameter(each, schemas) for each in operation.get("parameters", ())],
                    "body": next((_shape(each["schema"], schemas) for each in body.values()), None),
                    "statuses": [(code, told["description"]) for code, told in operation["responses"].items()],
                }
            )
    return {"groups": groups, "api_version": document["info"]["version"]}


def _parameter(stated: JsonObject, schemas: JsonObject) -> JsonObject:
    return {
        "name": stated["name"],
        "where": stated["in"],
        "required": stated.get("required", False),
        "about": stated.get("description", ""),
        "kind": _kind(stated["schema"], schemas),
    }


def _kind(schema: JsonObject, schemas: JsonObject) -> str:
    found = _followed(schema, schemas)
    if "enum" in found:
        return " | ".join(map(str, found["enum"]))
    kind = found.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _followed(schema: JsonObject, schemas: JsonObject) -> JsonObject:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def _shape(schema: JsonObject, schemas: JsonObject, depth: int = 0) -> list[JsonObject]:
    """The fields of an object, those within it below: name, kind, whether required, what it is for, depth."""
    found = _followed(schema, schemas)
    if found.get("type") == "array":
        found = _followed(found.get("items", {}), schemas)
    rows: list[JsonObject] = []
    required = set(found.get("required", ()))
    for name, field in found.get("properties", {}).items():
        whole = _followed(field, schemas)
        about = field.get("description") or whole.get("description") or ""
        rows.append(
            {
                "name": name,
                "kind": _kind(field, schemas),
                "required": name in required,
                "about": about,
                "depth": depth,
            }
        )
        if depth == 0 and whole.get("type") in ("object", "array"):
            rows += _shape(whole, schemas, depth + 1)
    return rows
