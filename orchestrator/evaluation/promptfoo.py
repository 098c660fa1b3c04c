"""Tests in the form of a promptfooconfig, as rows of examples.

What would change an answer or its grade, and is not understood here, is refused: a file that is half understood gives
scores that look like any others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue

READ_AS_TEXT = (".txt", ".md")
NOT_UNDERSTOOD = ("transform", "transformVars", "postprocess")


@dataclass(frozen=True, slots=True)
class PromptfooFile:
    """What a file states.

    Its tests, or the file where they are; its prompt, if it has one; what holds for every test.
    """

    tests: JsonValue
    prompt: str | None = None
    defaults: JsonObject = field(default_factory=dict)


def read_promptfoo(path: Path, stated: JsonValue, *, prompt: str | None) -> PromptfooFile:
    """A promptfooconfig, or a list of tests alone. `prompt` is the suite's, which goes first. Raises `ConfigError`."""
    if not isinstance(stated, dict):
        return PromptfooFile(stated, prompt)
    prompts = stated.get("prompts") or []
    listed = prompts if isinstance(prompts, list) else [prompts]
    if prompt is None and len(listed) > 1:
        raise ConfigError(
            f"{path}: it has {len(listed)} prompts, and an evaluation asks one",
            remedy="State the one to ask as `prompt:` of the suite's data; a suite for each tries all",
        )
    if prompt is None and listed:
        prompt = _prompt(path, listed[0])
    shared = stated.get("defaultTest") or {}
    if not isinstance(shared, dict):
        raise ConfigError(
            f"{path}: defaultTest is {shared!r:.80}", remedy="Write it here: `vars`, `assert`, `threshold`"
        )
    _check(shared, f"{path}: defaultTest")
    return PromptfooFile(stated.get("tests"), prompt, shared)


def _prompt(path: Path, stated: JsonValue) -> str:
    """A prompt: as it stands, in an object, or in a file of text."""
    text = stated.get("raw") or stated.get("id") if isinstance(stated, dict) else stated
    if not isinstance(text, str):
        raise ConfigError(f"{path}: the prompt is {stated!r:.80}", remedy="Write it as text, with {{variables}}")
    if not text.startswith("file://"):
        return text
    place = path.parent / text.removeprefix("file://")
    if place.suffix not in READ_AS_TEXT:
        raise ConfigError(f"{path}: the prompt {text} is no text", remedy="Write it as text, with {{variables}}")
    return read_text(place)


def read_text(path: Path) -> str:
    """The text of a file. Raises `ConfigError` where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {told}", remedy="Check the path") from None


def expanded(row: object, where: str, name: str, defaults: JsonMapping) -> Iterator[tuple[object, str]]:
    """A test with what holds for every test, and what it is called; several where its variables are lists.

    Then there is one for every combination. Raises `ConfigError` on what would run code between prompt, answer and
    grade.
    """
    if not isinstance(row, Mapping) or not (defaults or isinstance(row.get("vars"), Mapping)):
        yield row, name
        return
    _check(row, where)
    merged = {**defaults, **row, "assert": [*asserted(row, where), *asserted(defaults, where)]}
    variables = {**_mapping(defaults.get("vars")), **_mapping(row.get("vars"))}
    combined = list(_combinations(variables))
    for place, one in enumerate(combined, 1):
        called = name if len(combined) == 1 else f"{name}.{place}"
        yield {**merged, **({"vars": one} if variables else {})}, called


def asserted(row: JsonMapping, where: str) -> list[JsonValue]:
    """What an answer to a row is held to, as it is stated. Raises `ConfigError` where that is no list."""
    stated = row.get("assert")
    if stated in (None, ""):
        return []
    if not isinstance(stated, list):
        told = f"{where}: assert is {stated!r:.80}, and no list"
        raise ConfigError(told, remedy="Write `assert: [{type: contains, value: Paris}]`")
    return stated


def _mapping(stated: object) -> JsonObject:
    return dict(stated) if isinstance(stated, Mapping) else {}


def _combinations(variables: JsonObject) -> Iterator[JsonObject]:
    """Every choice of one value of each list; a list of messages is one value."""
    values = [
        each if isinstance(each, list) and each and not any(isinstance(one, Mapping) for one in each) else [each]
        for each in variables.values()
    ]
    for chosen in product(*values):
        yield dict(zip(variables, chosen, strict=True))


def _check(test: JsonMapping, where: str) -> None:
    options = _mapping(test.get("options"))
    wrong = next((name for name in NOT_UNDERSTOOD if options.get(name) or test.get(name)), None)
    if wrong is not None:
        raise ConfigError(f"{where}: {wrong} would run code, which is not done here", remedy="Leave it out")
