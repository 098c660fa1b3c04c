"""The OpenAPI 3.1 document, and the checks of requests made of the same schemas.

What the document says is what is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from orchestrator import __version__
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.nulls import nullable, takes_nulls
from orchestrator.gateway.api.validators import DRAFT, may_be_absent, referring, schemas
from orchestrator.jsontypes import JsonObject

_REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')
_COMMON_ERRORS = {
    400: "The request is wrong; the message says what",
    401: "No key, or one that is not valid",
    402: "A budget is spent",
    403: "The key may not do this",
    404: "There is no such thing, or no such model",
    409: "This contradicts what is there",
    413: "The body is too large",
    415: "The body is compressed in a way that is not read",
    422: "Nothing at hand can do this",
    429: "A limit is reached; see retry-after, and x-should-retry: false where waiting does not help",
    500: "An error of the gateway",
    502: "The model's answer cannot be used",
    503: "Too much is going on, or a model cannot be reached; see retry-after",
    504: "The model gave no answer in time",
}
_BODY_ERRORS = (400, 413, 415)
_MODEL_ERRORS = (402, 404, 409, 422, 429, 502, 503, 504)


def document(endpoints: Iterable[Endpoint]) -> JsonObject:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    endpoints = list(endpoints)
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orchestrator",
            "version": __version__,
            "summary": "A fleet of language models that acts as one",
        },
        "jsonSchemaDialect": DRAFT,
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": _as_requests_may_be(endpoints),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _as_requests_may_be(endpoints: Sequence[Endpoint]) -> JsonObject:
    """All schemas; those of bodies in which null means absent say so."""
    with_nulls = _reached(endpoint.body for endpoint in endpoints if endpoint.body and takes_nulls(endpoint))
    others = _reached(endpoint.body for endpoint in endpoints if endpoint.body and not takes_nulls(endpoint))
    read_so = with_nulls - others - {"JsonSchema"}  # that one is its reader's: null is a value in it
    return {name: nullable(schema) if name in read_so else schema for name, schema in schemas().items()}


def _reached(names: Iterable[str]) -> set[str]:
    """Schemas that these ones refer to, and they themselves."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in schemas():
            found.add(name)
            waiting += _REFERENCE.findall(orjson.dumps(schemas()[name]).decode())
    return found


def _operation(endpoint: Endpoint) -> JsonObject:
    operation: dict[str, Any] = {
        "operationId": _name(endpoint),
        "summary": endpoint.summary,
        "responses": _responses(endpoint),
    }
    if endpoint.permission is None:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"$ref": f"#/components/schemas/{schema}"}}
        for name, schema in endpoint.path_schemas
    ]
    parameters += [
        {
            "name": p.name,
            "in": "query",
            "required": p.required,
            "schema": referring(p.schema),
            **({"description": p.description} if p.description else {}),
        }
        for p in endpoint.params
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body:
        operation["requestBody"] = {
            "required": not may_be_absent(endpoint.body),
            "content": {endpoint.body_type: {"schema": {"$ref": f"#/components/schemas/{endpoint.body}"}}},
        }
    return operation


def _responses(endpoint: Endpoint) -> JsonObject:
    content: dict[str, Any] = {}
    if endpoint.answer:
        content[endpoint.answer_type] = {"schema": {"$ref": f"#/components/schemas/{endpoint.answer}"}}
    elif endpoint.answer_type != "application/json":
        content[endpoint.answer_type] = {"schema": {"type": "string"}}
    else:
        content["application/json"] = {"schema": {"type": "object"}}
    if endpoint.streams:
        content["text/event-stream"] = {"schema": {}}
    responses: dict[str, Any] = {str(endpoint.status): {"description": "It is done", "content": content}}
    if endpoint.may_accept:
        responses["202"] = {"description": "It is taken, and has no answer"}
    statuses = set(endpoint.errors)
    if endpoint.permission is not None:
        statuses |= {401, 403}
    if endpoint.body:
        statuses |= set(_BODY_ERRORS)
    if endpoint.params or endpoint.path_schemas:
        statuses |= {400}
    if endpoint.permission == "inference" and endpoint.body:
        statuses |= set(_MODEL_ERRORS)
    if endpoint.permission is not None:
        statuses |= {503}
    problem = "AnthropicProblem" if endpoint.dialect == "anthropic" else "Problem"
    for status in sorted(statuses):
        schema = {"$ref": f"#/components/schemas/{problem}"}
        responses[str(status)] = {
            "description": _COMMON_ERRORS[status],
            "content": {"application/json": {"schema": schema}},
        }
    return responses


def _name(endpoint: Endpoint) -> str:
    parts = [part.strip("{}").replace("-", "_") for part in endpoint.path.strip("/").split("/") if part not in ("v1",)]
    return "_".join((endpoint.method.lower(), *parts)) or "get_root"
