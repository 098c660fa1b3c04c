"""The JSON Schema of pipeline files, for editors: completion, descriptions and checks as one types.

Made of the same models that read the files.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import models_json_schema

from orchestrator.config.exact import Exact
from orchestrator.config.tools import HttpOptions, McpOptions, OpenApiOptions, PythonOptions, SqlOptions
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.checks.settings import all_checks
from orchestrator.pipeline.language.document import VERSION, Document
from orchestrator.pipeline.language.fields import REFERS
from orchestrator.pipeline.loading.step_registry import all_steps
from orchestrator.pipeline.steps.branch import Arm

NAME = f"pipeline.v{VERSION}.schema.json"
TOOLS = (HttpOptions, OpenApiOptions, SqlOptions, PythonOptions, McpOptions)


def pipeline_schema(models: list[str] | None = None) -> JsonObject:
    """The schema of the whole file; `models` are offered where a model is named."""
    steps = all_steps()
    kinds: list[type[Exact]] = [Document, Arm, *steps.values(), *TOOLS, *all_checks().values()]
    refs, found = models_json_schema(
        [(kind, "validation") for kind in kinds], by_alias=True, ref_template="#/$defs/{model}"
    )
    definitions = found["$defs"]
    for kind in _all_kinds(Exact):
        _describe(kind, definitions.get(kind.__name__))
    document = definitions.pop("Document")
    definitions["Step"] = {"oneOf": [_step(verb, refs[kind, "validation"]) for verb, kind in steps.items()]}
    definitions["Steps"] = {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$"},
        "additionalProperties": {"$ref": "#/$defs/Step"},
    }
    definitions["Check"] = {
        "anyOf": [
            {"enum": list(all_checks())},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {name: _check(kind, refs[kind, "validation"]) for name, kind in all_checks().items()},
            },
        ]
    }
    for definition in definitions.values():
        verify = definition.get("properties", {}).get("verify")
        if verify is not None:
            verify["items"] = {"$ref": "#/$defs/Check"}
    if models:
        for verb in ("SearchStep", "RouteStep", "ExtractStep", "ClassifyStep", "DecideStep"):
            _offer(definitions[verb]["properties"]["models"], models)
    document["properties"]["tools"]["additionalProperties"] = {"oneOf": [refs[kind, "validation"] for kind in TOOLS]}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "orchestrator pipeline",
        "$defs": definitions,
    }
    linked: dict[str, Any] = _linked(whole)
    return linked


def _linked(schema: Any) -> Any:
    """With references where definitions are meant by name."""
    if isinstance(schema, dict):
        if REFERS in schema:
            return {"$ref": f"#/$defs/{schema[REFERS]}"}
        return {name: _linked(each) for name, each in schema.items()}
    return [_linked(each) for each in schema] if isinstance(schema, list) else schema


def _all_kinds(kind: type[Exact]) -> Iterator[type[Exact]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all_kinds(each)


def _describe(kind: type[Exact], definition: JsonObject | None) -> None:
    """Puts the texts that stand under fields in the source into their descriptions.

    Done here, because it would make loading slow elsewhere.
    """
    if definition is None:
        return
    properties = definition.get("properties", {})
    for base in reversed(kind.__mro__):
        if not (isinstance(base, type) and issubclass(base, Exact)) or base is Exact:
            continue
        try:
            source = inspect.getsource(base)
        except OSError:  # made of a verifier's settings: there is no text
            continue
        body = ast.parse(textwrap.dedent(source)).body[0]
        assert isinstance(body, ast.ClassDef)
        for stated, told in pairwise(body.body):
            if isinstance(stated, ast.AnnAssign) and isinstance(stated.target, ast.Name) and isinstance(told, ast.Expr):
                field = kind.model_fields.get(stated.target.id)
                name = (field.alias if field is not None else None) or stated.target.id
                if name in properties and isinstance(told.value, ast.Constant) and isinstance(told.value.value, str):
                    properties[name].setdefault("description", " ".join(told.value.value.split()))


def _step(verb: str, ref: JsonObject) -> JsonObject:
    """A step is of the kind of its verb."""
    word, _, flavour = verb.partition(" ")
    stated = {"properties": {word: {"const": flavour}}} if flavour else {}
    return {**ref, "required": [word], **stated}


def _check(kind: Any, ref: JsonObject) -> JsonObject:
    return (
        {"anyOf": [ref, {"type": ["string", "number", "array", "null", "object", "boolean"]}]}
        if kind.short
        else {"anyOf": [ref, {"type": "null"}, {"const": True}]}
    )


def _offer(field: JsonObject, models: list[str]) -> None:
    for part in field.get("anyOf", []):
        if part.get("type") == "array":
            part["items"] = {"anyOf": [{"enum": models}, {"type": "string"}]}
