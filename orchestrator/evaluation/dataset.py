"""Examples from files, in the forms that other tools keep them in, too.

- Rows (.jsonl, .csv, .tsv, .parquet): a column of questions and one of answers, under any of the usual names.
- Samples of inspect_ai: `input` (text or messages), `target` (one or several), `choices`, `id`, `metadata`, `scope`.
- Tests of promptfoo: a YAML or JSON list (or `tests:` of a promptfooconfig) of `vars` and `assert`; in CSV the columns
  `__expected`, `__expected1` and so on. `{{name}}` in the prompt stands for a variable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.batch.rows import KINDS, read_rows
from orchestrator.batch.tables import NOT_UTF8
from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.evaluation.assertions import NAMES, RUBRIC, check_assertion
from orchestrator.evaluation.case import Assertion, Case
from orchestrator.evaluation.promptfoo import asserted, expanded, read_promptfoo, read_text
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue

QUESTIONS = ("question", "query", "input", "prompt", "messages")
TARGETS = ("answer", "target", "expected", "ground_truth", "gold", "ideal", "reference")
VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLUMN_OF_EXPECTED = re.compile(r"__expected\d*")
ALIASES = {"grade": RUBRIC}
NOT_HERE = ("javascript", "fn", "eval", "python", "ruby", "webhook", "similar", "factuality", "file")
"""Before a colon, assertions of promptfoo that are refused here: they are no answer to compare with."""
NOTHING: JsonMapping = {}
SHORT_ASSERTION = re.compile(r"(not-)?([a-z][a-z-]*)(?:\(([\d.]+)\))?(?::\s*(.*))?", re.DOTALL)


def read_cases(path: Path, *, prompt: str | None = None) -> list[Case]:
    """The examples of a file; `prompt` is what is asked with the variables of a row (`{{name}}`).

    Raises `ConfigError` that names the place of the first example that cannot be used.
    """
    found = list(_cases(path, prompt))
    if not found:
        raise ConfigError(f"{path}: no examples", remedy='Write lines like {"question": "6 * 7?", "answer": "42"}')
    seen: dict[str, int] = {}
    for number, case in enumerate(found, 1):
        if case.id in seen:
            raise ConfigError(
                f"{path}: the examples {seen[case.id]} and {number} have the same id, {case.id!r}",
                remedy="Give each an id of its own, or none at all",
            )
        seen[case.id] = number
    return found


def _cases(path: Path, prompt: str | None, defaults: JsonMapping = NOTHING) -> Iterator[Case]:
    if path.suffix in (".yaml", ".yml"):
        found = read_promptfoo(path, load_located(read_text(path), str(path)).value, prompt=prompt)
        prompt, defaults = found.prompt, found.defaults or defaults
        if isinstance(found.tests, str):
            yield from _cases(path.parent / found.tests.removeprefix("file://"), prompt, defaults)
            return
        tests = _list(path, found.tests)
        rows: Iterable[tuple[object, str, str]] = (
            (row, f"{path}: test {number}", str(number)) for number, row in enumerate(tests, 1)
        )
    else:
        rows = _rows(path)
    for row, where, name in rows:
        for each, called in expanded(row, where, name, defaults):
            yield _case(each, where, called, prompt)


def _rows(path: Path) -> Iterator[tuple[object, str, str]]:
    """The rows of a file that is no YAML: each with its place, and what it is called if it has no id."""
    if path.suffix not in KINDS:
        raise ConfigError(
            f"{path}: examples end in {', '.join([*KINDS, '.yaml'])}, not {path.suffix!r}",
            remedy="Write one example a line, as JSON",
        )
    if path.suffix == ".json":
        text = read_text(path)
        if text.lstrip().startswith("["):
            for number, row in enumerate(_list(path, load_located(text, str(path)).value), 1):
                yield row, f"{path}: example {number}", str(number)
            return
    for read in read_rows(path, id_column=""):  # a sample may have an id while its neighbour has none
        where = f"{path}: row {read.number}"
        if read.mistake:
            if read.mistake.startswith(NOT_UTF8):
                raise ConfigError(f"{where}: {NOT_UTF8}", remedy="Save the file as UTF-8")
            raise ConfigError(f"{where}: {read.mistake}", remedy="Mend the row, or take it out")
        yield dict(read.values), where, read.id


def holds_examples(path: Path) -> bool:
    """Whether the first row of a file is a question with its right answer, and not what models answered."""
    try:
        first = next(_rows(path), (None,))[0]
    except (ConfigError, InvalidArgument):
        return False  # whoever reads the file says what is wrong with it
    if not isinstance(first, Mapping) or {"outcomes", "score", "model"} & first.keys():
        return False
    return bool(first.keys() & {*QUESTIONS}) and bool(first.keys() & {*TARGETS})


def _list(path: Path, stated: JsonValue) -> list[Any]:
    if not isinstance(stated, list):
        raise ConfigError(f"{path}: not a list of tests", remedy="Write `tests:` with a list of `vars` and `assert`")
    return stated


def _case(row: object, where: str, name: str, prompt: str | None) -> Case:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}: not an object", remedy='Write {"question": "6 * 7?", "answer": "42"}')
    variables = row["vars"] if isinstance(row.get("vars"), Mapping) else row
    messages = _messages(variables, where, prompt)
    choices = row.get("choices")
    if isinstance(choices, list) and choices:
        messages = _with_choices(messages, [str(choice) for choice in choices])
    metadata = row.get("metadata")
    scope = row.get("scope")
    targets = _targets(row)
    assertions = _assertions(row, where)
    if not targets and not assertions:
        raise ConfigError(
            f"{where}: nothing is expected of the answer",
            remedy=f"Add one of {', '.join(TARGETS)}, or `assert` with a list",
        )
    return Case(
        str(row["id"]) if row.get("id") not in (None, "") else name,
        messages,
        targets,
        assertions,
        scope if isinstance(scope, str) else None,
        dict(metadata) if isinstance(metadata, Mapping) else {},
        _number(row.get("threshold"), "the threshold", where) if assertions else None,
    )


def _number(stated: JsonValue, what: str, where: str) -> float | None:
    if stated is None:
        return None
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 <= stated < math.inf:
        raise ConfigError(f"{where}: {what} is {stated!r}", remedy="Write a number of at least 0")
    return float(stated)


def _messages(variables: JsonMapping, where: str, prompt: str | None) -> tuple[JsonObject, ...]:
    if prompt is not None:
        missing = sorted({name for name in VARIABLE.findall(prompt) if name not in variables})
        if missing:
            raise ConfigError(
                f"{where}: the prompt needs {', '.join(missing)}; there is {', '.join(variables) or 'nothing'}",
                remedy="Name the variables as the rows do",
            )
        return ({"role": "user", "content": VARIABLE.sub(lambda found: str(variables[found[1]]), prompt)},)
    name = next((name for name in QUESTIONS if variables.get(name)), None)
    if name is None:
        raise ConfigError(
            f"{where}: no question under any of {', '.join(QUESTIONS)}",
            remedy="Name the column so, or state `prompt:` with {{variables}}",
        )
    stated = variables[name]
    if isinstance(stated, list):
        messages = tuple(dict(message) for message in stated if isinstance(message, Mapping))
        if len(messages) != len(stated) or not messages or messages[-1].get("role") != "user":
            raise ConfigError(
                f"{where}: {name} is no conversation that ends with the user",
                remedy='Write [{"role": "user", "content": "..."}]',
            )
        return messages
    return ({"role": "user", "content": str(stated)},)


def _with_choices(messages: tuple[JsonObject, ...], choices: list[str]) -> tuple[JsonObject, ...]:
    listed = "\n".join(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    asked = f"{messages[-1].get('content')}\n\n{listed}\n\nAnswer with the letter alone."
    return (*messages[:-1], {**messages[-1], "content": asked})


def _targets(row: JsonMapping) -> tuple[str, ...]:
    stated = next((row[name] for name in TARGETS if row.get(name) not in (None, "")), None)
    if stated is None:
        return ()
    return tuple(map(str, stated)) if isinstance(stated, list) else (str(stated),)


def _assertions(row: JsonMapping, where: str) -> tuple[Assertion, ...]:
    cells = [value for name, value in row.items() if COLUMN_OF_EXPECTED.fullmatch(name) and value not in (None, "")]
    stated = [*asserted(row, where), *cells]
    found = []
    for one in stated:
        if isinstance(one, Mapping):
            kind = str(one.get("type", ""))
            threshold = _number(one.get("threshold"), f"the threshold of {kind}", where)
            weight = _number(one.get("weight"), f"the weight of {kind}", where)
            made = _assertion(kind, one.get("value"), threshold, where)
            found.append(made if weight is None else replace(made, weight=weight))
        else:
            found.append(_short(str(one), where))
    return tuple(found)


def _short(text: str, where: str) -> Assertion:
    """An assertion in a cell of a table: `contains: Paris`, `similar(0.8): ...`, or the very answer."""
    parts = SHORT_ASSERTION.fullmatch(text)
    if parts is None:
        return Assertion("equals", text)
    kind = ALIASES.get(parts[2], parts[2])
    is_refused = kind in NOT_HERE and parts[4] is not None
    if kind not in NAMES and not is_refused:
        return Assertion("equals", text)
    threshold = float(parts[3]) if parts[3] else None
    return _assertion(f"{parts[1] or ''}{kind}", parts[4], threshold, where)


def _assertion(kind: str, value: JsonValue, threshold: float | None, where: str) -> Assertion:
    bare = kind.removeprefix("not-")
    if bare not in NAMES:
        raise ConfigError(f"{where}: unknown assertion {kind!r}", remedy=f"There are: {', '.join(NAMES)}")
    if isinstance(value, str) and value.startswith("file://"):
        raise ConfigError(f"{where}: what {kind} is held to stands in {value}", remedy="Write it here, under `value:`")
    found = Assertion(bare, value, threshold, kind != bare)
    try:
        check_assertion(found)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", remedy=error.remedy) from None
    return found
