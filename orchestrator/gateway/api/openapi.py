"""The OpenAPI 3.1 document, and the checks of requests made of the same schemas: what the document says is what is checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import orjson
import yaml

from orchestrator import __version__
from orchestrator.gateway.api.endpoint import Endpoint, Param
from orchestrator.gateway.api.nulls import nullable, takes_nulls
from orchestrator.gateway.http.error_mapping import Problem

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
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
_MODEL_ERRORS = (402, 404, 422, 429, 502, 503, 504)


@lru_cache(maxsize=1)
def schemas() -> dict[str, Any]:
    """Every schema by its name."""
    text = files("orchestrator.gateway.api").joinpath("schemas.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


class Validators:
    """Checks of request bodies and parameters, made when first used."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def check(self, name: str, value: Any) -> None:
        """Raises `Problem` (400) that names the first thing that is wrong."""
        validator = self._made.get(name)
        if validator is None:
            root = {"$schema": _DRAFT, "$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
            validator = self._made[name] = jsonschema_rs.validator_for(root, validate_formats=False)
        if validator.is_valid(value):
            return
        error = next(iter(validator.iter_errors(value)))
        where = _path(error.instance_path)
        told = error.message if len(error.message) <= 300 else f"{error.message[:150]} ... {error.message[-140:]}"
        raise Problem(400, f"{where}: {told}" if where else told, code="invalid_request", param=where or None)

    def in_path(self, name: str, text: str) -> None:
        """Checks a segment of the address, which is text whatever it stands for. Raises `Problem`."""
        self.check(name, text if (value := _typed(text, schemas()[name])) is None else value)

    def parameters(self, params: Iterable[Param], given: Mapping[str, str]) -> dict[str, Any]:
        """The values of an address's parameters, as their schemas have them. Raises `Problem` on what is missing, wrong or probably misspelled; what
        is unknown is another server's, and passed over.
        """
        found: dict[str, Any] = {}
        known = {param.name: param for param in params}
        for name in sorted(given.keys() - known.keys()):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if near:
                raise Problem(400, f"unknown parameter {name!r}. Did you mean {near[0]!r}?", code="unknown_parameter", param=name)
        for name, param in known.items():
            if name not in given:
                if param.required:
                    raise Problem(400, f"the parameter {name!r} is missing", code="missing_parameter", param=name)
                continue
            value = _typed(given[name], param.schema)
            root = {"$schema": _DRAFT, **_referring(param.schema), "components": {"schemas": schemas()}}
            if value is None or not jsonschema_rs.is_valid(root, value):
                raise Problem(400, f"the parameter {name!r} is wrong: {given[name][:100]!r}", code="invalid_parameter", param=name)
            found[name] = value
        return found


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    endpoints = list(endpoints)
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "orchestrator", "version": __version__, "summary": "A fleet of language models that acts as one"},
        "jsonSchemaDialect": _DRAFT,
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


def _as_requests_may_be(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
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


def _operation(endpoint: Endpoint) -> dict[str, Any]:
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
            "schema": _referring(p.schema),
            **({"description": p.description} if p.description else {}),
        }
        for p in endpoint.params
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body:
        operation["requestBody"] = {
            "required": True,
            "content": {endpoint.body_type: {"schema": {"$ref": f"#/components/schemas/{endpoint.body}"}}},
        }
    return operation


def _responses(endpoint: Endpoint) -> dict[str, Any]:
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
        responses[str(status)] = {"description": _COMMON_ERRORS[status], "content": {"application/json": {"schema": schema}}}
    return responses


def _name(endpoint: Endpoint) -> str:
    parts = [part.strip("{}").replace("-", "_") for part in endpoint.path.strip("/").split("/") if part not in ("v1",)]
    return "_".join((endpoint.method.lower(), *parts)) or "get_root"


def _referring(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema['ref']}"} if "ref" in schema else schema


def _typed(text: str, schema: dict[str, Any]) -> Any:
    kind = schema.get("type", "string")
    try:
        if kind == "integer":
            return int(text) if text.lstrip("-").isdigit() and text.isascii() else None
        if kind == "number":
            number = float(text)
            return number if abs(number) < float("inf") else None
    except ValueError:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    return text


def _path(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
