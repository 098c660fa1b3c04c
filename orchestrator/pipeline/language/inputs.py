"""What a run is given, held against what the file says it takes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.config.tools import Input
from orchestrator.errors import InvalidQuery
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.verifiers.form.bounded_schema import BoundedSchema

_KINDS = {
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "number": "a number",
    "integer": "a whole number",
}
_TYPES = {
    "text": "string",
    "boolean": "boolean",
    "list": "array",
    "object": "object",
    "number": "number",
    "integer": "integer",
}


def schema_of_inputs(inputs: Mapping[str, tuple[Input, JsonObject | None]]) -> JsonObject:
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


def is_finite(value: object) -> bool:
    """Whether no number in a value is NaN or infinite, which JSON has not; of what else is no JSON others tell."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    except (TypeError, RecursionError):
        return True
    return True


def from_text(text: str, schema: JsonMapping) -> JsonValue:
    """An input as it was typed (`-i name=value`): text where text is wanted, else the JSON that it is."""
    kinds = schema.get("type")
    if kinds == "string" or (kinds is None and "enum" in schema and text in schema["enum"]):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def from_file(path: Path, schema: JsonMapping) -> JsonValue:
    """An input that stands in a file (`-i name=@FILE`).

    Its text where text is wanted, else what it holds by its suffix.

    `.json` holds a value, `.jsonl` a list of one value a line, `.csv` and `.tsv` a list of objects: texts, by the names
    in the first line. Raises `InvalidQuery` on a file that cannot be read so.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if schema.get("type") == "string":
            return text
        if path.suffix == ".jsonl":
            return [
                _parsed(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()
            ]
        if path.suffix == ".json":
            return _parsed(text, str(path))
        if path.suffix in (".csv", ".tsv"):
            return list(_rows(text, path))
    except OSError as error:
        raise InvalidQuery(f"{path} cannot be read: {error.strerror or error}", remedy="Check the path") from None
    except UnicodeDecodeError as error:
        raise InvalidQuery(f"{path} is not UTF-8 text (byte {error.start})", remedy="Save it as UTF-8") from None
    return from_text(text, schema)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidQuery(f"{where}: not JSON: {error}", remedy="Mend it there") from None


def _rows(text: str, path: Path) -> Iterator[dict[str, str]]:
    first = text.partition("\n")[0]
    between = "\t" if path.suffix == ".tsv" else max(",;\t", key=first.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=between, strict=True)
    names = reader.fieldnames or []
    if len(set(names)) < len(names) or not all(names):
        raise InvalidQuery(
            f"{path}:1: the first line must name every column, each once", remedy=f"It says: {first[:200]}"
        )
    try:
        for row in reader:
            if None in row or None in row.values():
                told = f"{path}:{reader.line_num}: this row has not as many cells as the first line, {len(names)}"
                raise InvalidQuery(told, remedy="Quote cells that hold the separator")
            yield row
    except csv.Error as error:
        raise InvalidQuery(f"{path}:{reader.line_num}: not CSV: {error}", remedy="Mend it there") from None


def wrong_inputs(schema: JsonMapping, given: JsonMapping) -> list[str]:
    """What is wrong with inputs that do not satisfy the schema of all, in words, input by input."""
    stated: dict[str, dict[str, Any]] = schema["properties"]
    found = [
        f"there is no input {name!r}; {suggestion(name, list(stated)) or 'it takes none'}"
        for name in given
        if name not in stated
    ]
    found += [
        f"the input {name!r} is missing{_expected(stated[name])}" for name in schema["required"] if name not in given
    ]
    for name, value in given.items():
        if name in stated:
            found += _wrong(name, value, stated[name])
    return found


def _wrong(name: str, value: Any, schema: JsonObject) -> list[str]:
    one = schema["anyOf"][0] if "anyOf" in schema and len(schema["anyOf"]) == 2 else schema
    errors = BoundedSchema(schema).find_errors(value)
    if not errors:
        return []
    shown = _shown(value)
    if "enum" in one and value not in one["enum"]:
        near = (
            suggestion(value, [each for each in one["enum"] if isinstance(each, str)]) if isinstance(value, str) else ""
        )
        return [
            f"{name}: {shown} is none of {', '.join(map(_shown, one['enum']))}"
            + (f"; {near}" if near.startswith("did") else "")
        ]
    if one.get("type") in _KINDS and BoundedSchema({"type": one["type"]}).find_errors(value):
        return [f"{name}: it takes {_KINDS[one['type']]}, not {shown}"]
    if isinstance(value, str) and "pattern" in one and BoundedSchema({"pattern": one["pattern"]}).find_errors(value):
        form = (
            one.get("description")
            or f"the regular expression {one['pattern']} (say it in words in the input's description)"
        )
        return [f"{name}: {shown} has not the form that is asked for: {form}"]
    return [error.replace("$", name, 1) for error in errors]


def _expected(schema: JsonMapping) -> str:
    kind = _KINDS.get(schema.get("type", ""), "")
    return "".join(f": {each}" for each in (kind, schema.get("description", "")) if each)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
