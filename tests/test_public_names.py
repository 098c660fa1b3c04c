"""What a user of version 0.1 could have imported or typed still works.

Every module, name, member, parameter, command and option.

public_names.json was read from the source before the packages were put in order. Names that moved answer with a
`DeprecationWarning`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli import main

NAMES: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "public_names.json").read_text(encoding="utf-8"))

REMOVED = {
    "orchestrator.cli.show:show_answer": "an answer is printed from its stream: Printer and show_facts",
    "orchestrator.storage.database:prepare": "made tables of one version only; migrations.migrate takes all of them",
}


@pytest.fixture(autouse=True)
def _old_names_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.mark.parametrize("package", ["orchestrator", "router", "memory", "verifiers"])
def test_every_name_can_still_be_imported(package: str) -> None:
    modules = {name: names for name, names in NAMES["modules"].items() if name.split(".")[0] == package}
    missing = [f"{module}:{name}" for module, names in modules.items() for name in _missing(module, names.split())]
    assert [name for name in missing if name not in REMOVED] == []


def _missing(module: str, names: list[str]) -> list[str]:
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return ["(module)"]
    return [name for name in names if not hasattr(loaded, name)]


def test_members_of_public_classes_are_still_there() -> None:
    missing = []
    for owner, members in NAMES["members"].items():
        known = (
            set(dir(_resolve(owner)))
            | set(_parameters(_resolve(owner)))
            | set(inspect.get_annotations(_resolve(owner)))
        )
        known |= set(getattr(_resolve(owner), "model_fields", ()))
        missing += [f"{owner}.{member}" for member in members.split() if member not in known]
    assert missing == []


def test_parameters_of_public_functions_are_still_accepted() -> None:
    missing = []
    for owner, parameters in NAMES["parameters"].items():
        accepted = _parameters(_resolve(owner))
        missing += [
            f"{owner}({name})" for name in parameters.split() if name not in accepted and not name.startswith("**")
        ]  # nobody passes that by its name
    assert missing == []


def _resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _parameters(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [{each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "") + each.name for each in parameters]


def test_every_command_and_option_can_still_be_typed() -> None:
    missing = []
    for line, words in NAMES["commands"].items():
        accepted = _accepted(line.split()[1:])
        missing += [f"{line} {word}" for word in words.split() if word not in accepted]
    assert missing == []


def _accepted(names: list[str]) -> set[str]:
    command: click.Command = main
    for name in names:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    return options | {each.name for each in command.params if isinstance(each, click.Argument) and each.name}
