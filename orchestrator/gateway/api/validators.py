"""Checks of request bodies and parameters against the schemas of the API (schemas.yaml), which its OpenAPI document
shows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import yaml

from orchestrator.gateway.api.schema_problems import problem_told
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject, JsonValue

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the address. `schema` is a JSON Schema of a string, integer, number or boolean."""

    name: str
    schema: dict[str, Any]
    description: str = ""
    required: bool = False


class Validators:
    """Checks of request bodies and parameters, made when first used."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def check(self, name: str, value: JsonValue) -> None:
        """Raises `GatewayError` (400) that names the first thing that is wrong."""
        validator = self._made.get(name)
        if validator is None:
            root = {"$schema": DRAFT, "$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
            validator = self._made[name] = jsonschema_rs.validator_for(root, validate_formats=False)
        if validator.is_valid(value):
            return
        place, told = problem_told(next(iter(validator.iter_errors(value))))
        where = _path(place)
        raise GatewayError(400, f"{where}: {told}" if where else told, code="invalid_request", param=where or None)

    def in_path(self, name: str, text: str) -> None:
        """Checks a segment of the address, which is text whatever it stands for. Raises `GatewayError`."""
        self.check(name, text if (value := _typed(text, schemas()[name])) is None else value)

    def parameters(self, params: Iterable[Param], given: Mapping[str, str]) -> JsonObject:
        """The values of an address's parameters, as their schemas have them.

        Raises `GatewayError` on what is missing, wrong or probably misspelled; what is unknown is another server's, and
        passed over.
        """
        found: dict[str, Any] = {}
        known = {param.name: param for param in params}
        for name in sorted(given.keys() - known.keys()):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if near:
                message = f"unknown parameter {name!r}. Did you mean {near[0]!r}?"
                raise GatewayError(400, message, code="unknown_parameter", param=name)
        for name, param in known.items():
            if name not in given:
                if param.required:
                    raise GatewayError(400, f"the parameter {name!r} is missing", code="missing_parameter", param=name)
                continue
            value = _typed(given[name], param.schema)
            root = {"$schema": DRAFT, **referring(param.schema), "components": {"schemas": schemas()}}
            if value is None or not jsonschema_rs.is_valid(root, value):
                message = f"the parameter {name!r} is wrong: {given[name][:100]!r}"
                raise GatewayError(400, message, code="invalid_parameter", param=name)
            found[name] = value
        return found


@lru_cache(maxsize=1)
def schemas() -> JsonObject:
    """Every schema by its name."""
    text = files("orchestrator.gateway.api").joinpath("schemas.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def may_be_absent(name: str) -> bool:
    """Whether a body of this schema may be left out: an object none of whose fields is asked for."""
    schema = schemas()[name]
    return schema.get("type") == "object" and not schema.get("required") and not schema.get("minProperties")


def referring(schema: JsonObject) -> JsonObject:
    """A schema, or a reference to the one that it names."""
    return {"$ref": f"#/components/schemas/{schema['ref']}"} if "ref" in schema else schema


def _path(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _typed(text: str, schema: JsonObject) -> JsonValue:
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
