"""Holds a part of a file against its model, and tells each mistake where it stands."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.config.exact import Exact
from orchestrator.config.problems import path_in, relevant_problems
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.language.sources import Sources, Where

M = TypeVar("M", bound=BaseModel)
NO_LIST = "put the name before each step: `name: {say: hi}`, without dashes"
_HINTS = {  # what a section of the file looks like
    "steps": NO_LIST,
    "env": "write `env: {NAME: null}`, or `{NAME: {default: text}}`, `{NAME: {secret: true}}`",
    "inputs": "write `inputs: {name: text}`, or `{name: {type: text, default: hi}}`",
    "tools": "write `tools: {name: {http: https://...}}`, or openapi, sql, python, mcp",
}
_NOT_FIELDS = frozenset({"where"})


def field_names(kind: type[BaseModel]) -> list[str]:
    """The fields of a model as they are called in the file."""
    return [field.alias or name for name, field in kind.model_fields.items() if name not in _NOT_FIELDS]


def validated(kind: type[M], raw: JsonValue, where: Where, sources: Sources, what: str) -> M | None:
    """The model of `raw`, or `None` after every mistake in it was told. `what` it is, in words."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        for problem in relevant_problems(error, raw):
            path = problem["loc"]
            _tell(kind, path, problem, (*where, *path), sources, what, _alternatives(error, raw, path))
        return None


_WANTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "int_from_float": "a whole number",
}


def _alternatives(error: ValidationError, raw: Any, path: Where) -> list[str]:
    """What may stand at a place, in words, if it is told by types alone."""
    found = []
    for each in error.errors():
        if path_in(raw, each["loc"], each["type"]) == path:
            if each["type"] in _WANTED:
                found.append(_WANTED[each["type"]])
            elif each["type"] == "literal_error":
                found.append(f"one of {each['ctx']['expected']}")
            else:
                return []
    return list(dict.fromkeys(found))


def _tell(
    kind: type[BaseModel],
    path: Where,
    problem: JsonObject,
    where: Where,
    sources: Sources,
    what: str,
    alternatives: list[str],
) -> None:
    name, context = problem["type"], problem.get("ctx", {})
    field = path[-1] if path else ""
    if name == "extra_forbidden":
        known = _fields_at(kind, path[:-1])
        sources.problem(
            where, "E104", f"{_within(what, path[:-1])} has no field '{field}'", suggestion(str(field), known), key=True
        )
        return
    if name == "missing":
        sources.problem(where[:-1], "E105", f"{_within(what, path[:-1])} needs a field '{field}'", key=True)
        return
    if problem["input"] is None and name != "value_error":
        sources.problem(where, "E106", f"{what}: '{field}' has no value", "write one, or leave the field out", key=True)
        return
    choices = [
        text or number
        for each in alternatives
        if each.startswith("one of")
        for text, number in re.findall(r"'([^']*)'|(\d+)", each)
    ]
    if choices and isinstance(problem["input"], str | int):
        if kind.__name__ == "Document" and path == ("version",):
            sources.problem(
                where,
                "E113",
                f"this format is version {choices[0]}, not {_short(problem['input'])}",
                f"write version: {choices[0]}",
            )
            return
        sources.problem(
            where,
            "E107",
            f"{what}: unknown {field} {_short(problem['input'])}",
            suggestion(str(problem["input"]), choices),
        )
        return
    if alternatives:
        sources.problem(
            where,
            "E106",
            f"{what}: {field} is {' or '.join(alternatives)}, not {_short(problem['input'])}",
            _HINTS.get(str(path[0]), "") if kind.__name__ == "Document" and len(path) <= 2 else "",
        )
        return
    message = (
        str(context["error"])
        if name == "value_error"
        else f"{problem['msg'][:1].lower()}{problem['msg'][1:]}, not {_short(problem['input'])}"
    )
    code = "E109" if name == "string_pattern_mismatch" else "E106"
    sources.problem(where, code, f"{what}: {field}: {message}" if field != "" else f"{what}: {message}")


def _within(what: str, path: Where) -> str:
    return f"{what}, {'.'.join(map(str, path))}," if path else what


def _fields_at(kind: type[BaseModel], path: Where) -> list[str]:
    """The fields of the model that stands at a path within `kind`."""
    found: Any = kind
    for part in path:
        models = [found] if isinstance(found, type) else []
        annotation = None
        for model in models:
            fields = getattr(model, "model_fields", {})
            annotation = next((f.annotation for n, f in fields.items() if (f.alias or n) == part), annotation)
        if annotation is not None:
            found = _model_in(annotation)
        elif not isinstance(part, int) and not models:
            return []
    return field_names(found) if isinstance(found, type) and issubclass(found, Exact) else []


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Exact):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
