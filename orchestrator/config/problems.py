"""What is wrong with a YAML file that pydantic refused, in words: every mistake with its place and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.config.suggestions import MAX_CHOICES, suggest
from orchestrator.config.yaml_loader import Located, Unlocated
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject, JsonValue

Where = tuple[str | int, ...]
VAGUE = (
    "literal_error",
    "string_type",
    "bool_type",
    "int_type",
    "float_type",
    "model_type",
    "dict_type",
    "list_type",
    "none_required",
)
"""Kinds of problems that only say that a value is of another type than one of those that may stand there."""


class FieldMistake(ValueError):
    """What the check of a whole section found at one place in it; `where` is the path from the section."""

    def __init__(self, message: str, *where: str | int) -> None:
        super().__init__(message)
        self.where: Where = where


def mistakes_told(problems: Sequence[str]) -> ConfigError:
    """One error for all mistakes of a file."""
    remedy = "Mend it there" if len(problems) == 1 else f"Mend these {len(problems)} mistakes"
    return ConfigError("\n".join(problems), remedy=remedy)


def relevant_problems(error: ValidationError, document: JsonValue) -> list[JsonObject]:
    """The problems that pydantic found, each with its path in the document as `loc`, and one for each place.

    Where one of several things may stand, pydantic tells what is wrong with each of them. One that the author did not
    mean is left out: that a mapping is no text where the mapping has mistakes of its own.
    """
    found = [(path_in(document, each["loc"], each["type"]), each["type"], each) for each in error.errors()]
    unknown = [path for path, kind, _ in found if kind == "extra_forbidden"]
    relevant: dict[Where, JsonObject] = {}
    for path, kind, problem in sorted(found, key=lambda each: each[1] in VAGUE):
        has_mistakes_within = any(len(other) > len(path) and other[: len(path)] == path for other, *_ in found)
        if (kind in VAGUE and has_mistakes_within) or (kind == "missing" and _is_misspelt(path, unknown)):
            continue
        relevant.setdefault(path, {**problem, "loc": path, "is_key": problem["loc"][-1:] == ("[key]",)})
    return [relevant[path] for path in dict.fromkeys(path for path, *_ in found) if path in relevant]


def _is_misspelt(missing: Where, unknown: Iterable[Where]) -> bool:
    """Whether a field that is missing stands there under a name much like its own, which is told already."""
    beside = [str(path[-1]) for path in unknown if path[:-1] == missing[:-1]]
    return bool(difflib.get_close_matches(str(missing[-1]), beside, n=1, cutoff=0.6))


def path_in(document: JsonValue, loc: Where, kind: str) -> Where:
    """Where in the document a problem of a `kind` is: pydantic's own path also names the alternatives that it tried."""
    last = loc[-1:] if kind in ("extra_forbidden", "missing") else ()
    path: list[str | int] = []
    within: list[Any] = [document]
    for part in loc[: len(loc) - len(last)]:
        if _holds(within[-1], part):
            path.append(part)
            within.append(within[-1][part])
        elif len(within) > 1 and _holds(within[-2], part):  # the part before it named an alternative, and a field, too
            path[-1], within[-1] = part, within[-2][part]
    if last and not isinstance(within[-1], dict) and len(within) > 1:
        path.pop()
    return (*path, *last)


def _holds(value: object, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def describe_problem(
    located: Located | Unlocated,
    problem: JsonObject,
    fields_at: Callable[[tuple[object, ...]], list[str]],
    page: str = "docs/configuration.md",
) -> str:
    """One mistake that pydantic found, with its place.

    `fields_at` names the fields of the section at a path, `page` is where they are explained.
    """
    path = problem["loc"]
    kind, context = problem["type"], problem.get("ctx", {})
    where = ".".join(map(str, path))
    if kind == "extra_forbidden":
        known = fields_at(path[:-1])
        return located.describe(path, f"unknown field {path[-1]!r}{suggest(str(path[-1]), known, page=page)}", key=True)
    if kind == "missing":
        return located.describe(
            path[:-1],
            f"the field {path[-1]!r} is missing" + (f" in {'.'.join(map(str, path[:-1]))}" if path[:-1] else ""),
        )
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'|(\d+)", str(context.get("expected", "")))
        known = [text or number for text, number in choices]
        of_list = isinstance(path[-1], int)
        named = f"{path[-2]}: unknown value" if of_list and len(path) > 1 else f"unknown {path[-1]}"
        meant = suggest(str(problem["input"]), known, most=MAX_CHOICES, page=page)
        return located.describe(path, f"{named} {problem['input']!r}{meant}")
    if kind in ("model_type", "dict_type"):
        return located.describe(path, f"{where} holds names with values, `name: value`, not {_short(problem['input'])}")
    if kind == "too_short":
        return located.describe(path, f"{where} is empty: it needs at least {context['min_length']}")
    if kind == "value_error":  # raised by a check of our own, in words of our own
        within = getattr(context["error"], "where", ())
        return located.describe((*path, *within), str(context["error"]), key=bool(problem.get("is_key")))
    return located.describe(
        path, f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {_short(problem['input'])}"
    )


def fields_at(model: type[BaseModel], path: tuple[object, ...]) -> list[str]:
    """The fields that may stand at a path of a model; keys of mappings and numbers of lists lead no deeper."""
    here = [model]
    for part in path:
        here = [
            below for each in here if str(part) in each.model_fields for below in _models_of(each, str(part))
        ] or here
    return list(dict.fromkeys(name for each in here for name in _named(each)))


def _models_of(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    found, waiting = [], [model.model_fields[field].annotation]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(kind)
        waiting += get_args(kind)
    return found


def _named(section: type[BaseModel]) -> list[str]:
    """The fields of a section as they stand in the file."""
    return [described.alias or name for name, described in section.model_fields.items()]


def _short(value: JsonValue) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
