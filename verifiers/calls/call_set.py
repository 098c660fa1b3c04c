"""A set of tool calls as text, as models and verifiers exchange it, and the tools that it may call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.verifiers.answers.pattern import Pattern

MAX_LEAVES = 2_000
MAX_LEVELS = 100
_DIGITS = Pattern(r"[\d.,:/+-]+%?")


@dataclass(frozen=True, slots=True)
class ProposedCall:
    """One call. `arguments` is `None` where what the model wrote is no JSON object; `written` is that text."""

    name: str
    arguments: JsonObject | None
    written: str = ""


@lru_cache(maxsize=256)
def read_calls(text: str) -> tuple[ProposedCall, ...]:
    """The calls in a text that `write_calls` made; none in any other text."""
    if not text.startswith('[{"name":'):
        return ()
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(
        ProposedCall(str(row.get("name")), _object(row.get("arguments")), str(row.get("written") or ""))
        for row in stated
        if isinstance(row, Mapping)
    )


def write_calls(calls: Sequence[ProposedCall]) -> str:
    """Calls as one line of JSON, which verifiers read: `[]` for no call."""
    rows = [
        {"name": call.name, "arguments": call.arguments} | ({"written": call.written} if call.written else {})
        for call in calls
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def functions_of(tools: Sequence[JsonMapping]) -> dict[str, JsonMapping]:
    """The functions among tools by their names, in OpenAI's form, Anthropic's, or bare."""
    found: dict[str, JsonMapping] = {}
    for tool in tools:
        function = tool.get("function", tool)
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            found.setdefault(function["name"], function)
    return found


def parameters_of(function: JsonMapping) -> JsonObject:
    """The JSON Schema of a function's arguments; one that takes anything where it states none."""
    stated = function.get("parameters", function.get("input_schema"))
    return dict(stated) if isinstance(stated, Mapping) else {"type": "object"}


def property_schema(schema: JsonMapping, name: str, root: JsonMapping) -> JsonMapping:
    """What a schema says of one property, references within the document followed (RFC 6901); {} if nothing."""
    return resolve(_mapping(_mapping(resolve(schema, root).get("properties")).get(name)), root)


def resolve(schema: JsonMapping, root: JsonMapping) -> JsonMapping:
    """A schema behind a `$ref`, and the one that is meant where `anyOf` only adds null."""
    for _ in range(MAX_LEVELS):
        reference = schema.get("$ref")
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: JsonValue = root
            for part in reference[2:].split("/"):
                found = _mapping(found).get(part.replace("~1", "/").replace("~0", "~"))
            schema = _mapping(found)
        elif isinstance(options, list):
            said = [each for each in options if _mapping(each).get("type") != "null"]
            if len(said) != 1:
                return schema
            schema = {**{k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}, **_mapping(said[0])}
        else:
            return schema
    return {}


def leaves(value: JsonValue) -> Iterator[JsonValue]:
    """The values that a JSON value holds that are no list and no object, at most 2,000 of them."""
    left, count = [value], 0
    while left and count < MAX_LEAVES:
        one = left.pop()
        if isinstance(one, Mapping):
            left += reversed(list(one.values()))
        elif isinstance(one, list):
            left += reversed(one)
        else:
            count += 1
            yield one


def spelled(calls: Sequence[ProposedCall]) -> str:
    """All values of the arguments, as one would spell them: what it takes to guess a set of calls."""
    values = [str(leaf) for call in calls for leaf in leaves(call.arguments)]
    return "".join(values) if all(map(_DIGITS.fullmatch, values)) else ",".join(values)


def _mapping(value: JsonValue) -> JsonMapping:
    return value if isinstance(value, Mapping) else {}


def _object(value: JsonValue) -> JsonObject | None:
    return value if isinstance(value, dict) else None
