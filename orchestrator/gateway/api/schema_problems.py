"""What a JSON Schema found wrong with a body, in words, at the place that its author has to mend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from orchestrator.config.suggestions import suggest
from orchestrator.jsontypes import JsonValue

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

Where = tuple[str | int, ...]
TYPES = {
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "null": "null",
}
NAMED = ("Enum", "Constant")  # kinds of errors of a name that tells one form from another
MAX_SHOWN, MAX_TOLD = 60, 300  # characters


def problem_told(error: ValidationError) -> tuple[Where, str]:
    """The place and the words of an error.

    Where one of several forms may stand, it tells what is wrong with the one that comes closest.
    """
    where, kind, value = tuple(error.instance_path), cast("Any", error.kind), error.instance
    match _kind(error):
        case "Type":
            return where, _must_be(kind.types, value)
        case "Required":
            return where, f"the field {kind.property!r} is missing"
        case "AdditionalProperties":
            return where, f"unknown field {kind.unexpected[0]!r}"
        case "Enum" | "Constant":
            return where, _must_be_one_of(_options(error), value)
        case "OneOfNotValid" | "AnyOf" if any(kind.context):
            return _told_of_forms(kind.context, value, where)
    text = error.message
    return where, text if len(text) <= MAX_TOLD else f"{text[: MAX_TOLD // 2]} ... {text[-MAX_TOLD // 2 + 10 :]}"


def _told_of_forms(forms: Sequence[Sequence[ValidationError]], value: object, where: Where) -> tuple[Where, str]:
    """`forms` holds for each form that may stand there what is wrong with the value as that form.

    A form is meant if the value is of its type and has its names; of several, that with the fewest mistakes.
    """
    fitting = [form for form in forms if not any(_is_other_type(error, where) for error in form)]
    if not fitting:
        wrong = [error for form in forms for error in form if _is_other_type(error, where)]
        return where, _must_be([name for error in wrong for name in cast("Any", error.kind).types], value)
    named = [form for form in fitting if not any(_kind(error) in NAMED for error in form)]
    if named:
        return problem_told(min(named, key=len)[0])
    names = [error for form in fitting for error in form if _kind(error) in NAMED]
    place = tuple(names[0].instance_path)
    options = [each for error in names if tuple(error.instance_path) == place for each in _options(error)]
    return place, _must_be_one_of(options, names[0].instance)


def _is_other_type(error: ValidationError, where: Where) -> bool:
    """Whether it says that the whole value is of another type."""
    return _kind(error) == "Type" and tuple(error.instance_path) == where


def _kind(error: ValidationError) -> str:
    return type(error.kind).__name__.rpartition("_")[2]


def _options(error: ValidationError) -> list[JsonValue]:
    kind = cast("Any", error.kind)
    return list(kind.options) if _kind(error) == "Enum" else [kind.expected_value]


def _must_be(types: Sequence[str], value: object) -> str:
    known = list(dict.fromkeys(types))
    named = [TYPES.get(name, name) for name in known if name != "null" or len(known) == 1]
    return f"must be {' or '.join(named)}, not {_shown(value)}"


def _must_be_one_of(options: Sequence[object], value: object) -> str:
    known = [each for each in options if each is not None]
    if isinstance(value, str) and all(isinstance(each, str) for each in known):
        return f"unknown value {_shown(value)}{suggest(value, [str(each) for each in known], most=len(known))}"
    return f"must be {' or '.join(map(_shown, known))}, not {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
