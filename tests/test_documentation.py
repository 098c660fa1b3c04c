"""What the documents name exists: files, modules, links, commands; and the files that they show could be read."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.cli import main
from orchestrator.cli.options import DefaultGroup
from orchestrator.config.distill_job import DistillJob
from orchestrator.config.model_entry import ModelConfig
from orchestrator.config.models import Config
from orchestrator.evaluation.suite import Suite
from orchestrator.pipeline.language.document import Document
from orchestrator.simulation.fleet_file import FleetFile

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("orchestrator", "router", "memory", "verifiers", "tests", "benchmarks", "docs", "examples", "deploy")
PATH = re.compile(rf"(?<![\w/.$])(?:{'|'.join(OURS)})/[\w./-]*\.(?:py|yaml|json|txt|md|svg|png|mjs)\b")
MODULE = re.compile(r"(?<![\w./])orchestrator(?:\.\w+){2,}")  # with one dot it may be a variable of this name
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ADDRESS = re.compile(r"https?://\S+")
SPANS = {"orchestrator.route.reason"}  # attributes of telemetry
NEWS = "CHANGELOG.md"  # it tells how names were, too


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    missing = [link for link in links if not (document.parent / link).exists()]
    text = ADDRESS.sub("", text)  # files of other repositories are not ours to have
    if document.name != NEWS:
        missing += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
        missing += [name for name in MODULE.findall(text) if not is_there(name)]
    assert missing == []


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, an attribute, an entry point, or a file of the user's."""
    from orchestrator.plugins.entry_points import GROUPS

    if name in GROUPS or name in SPANS or name.endswith((".yaml", ".jsonl", ".db")):
        return True
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


COMMAND = re.compile(r"^\s*(?:\$ )?(?:\w+=\S+ )*(orchestrator(?: .*)?)$", re.MULTILINE)
NOT_TOLD = re.compile(r"```text\n.*?```|^orchestrator serves [^\n]*$", re.MULTILINE | re.DOTALL)  # what commands print
SEPARATORS = {"|", "||", "&&", ";", "&", ">", "<"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_document_exist_with_their_options(document: Path) -> None:
    text = re.sub(r"\\\n", " ", NOT_TOLD.sub("", document.read_text(encoding="utf-8")))
    assert [told for line in COMMAND.findall(text) for told in what_is_wrong(line)] == []


def what_is_wrong(line: str) -> list[str]:
    """The options of a command line that its command does not have, and commands that there are not."""
    shell = shlex.shlex(line, posix=True, punctuation_chars=True)
    shell.whitespace_split = True
    try:
        words = list(shell)
    except ValueError:  # a text over several lines
        words = line.split('"')[0].split()
    kind: click.Command = main
    wrong = []
    for word in words[1:]:
        if word in SEPARATORS:
            break
        if isinstance(kind, click.Group) and word in kind.list_commands(click.Context(kind)):
            found = kind.get_command(click.Context(kind), word)
            assert found is not None
            kind = found
        elif word.startswith("-") and word != "-":
            if isinstance(kind, DefaultGroup) and not has_option(kind, word):
                found = kind.get_command(click.Context(kind), "run")  # where none is named
                assert found is not None
                kind = found
            if not has_option(kind, word):
                wrong.append(f"{line.strip()}: {kind.name} has no {word}")
        elif kind is main and word.isidentifier() and word.islower():
            wrong.append(f"{line.strip()}: there is no command {word}")
    return wrong


def has_option(kind: click.Command, word: str) -> bool:
    name = word.split("=")[0]
    known = {option for each in kind.params for option in (*each.opts, *each.secondary_opts)}
    return name in known | {"--help", "-h", "--version"}


FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
OTHERS = {"model_list", "apiVersion", "services", "receivers", "scrape_configs"}  # files of other programs
FILES: dict[type[BaseModel], dict[str, object]] = {  # what such a file holds, and what a part of one leaves out
    Config: {"models": {"m": {"provider": "calculator"}}},
    ModelConfig: {"provider": "vllm"},
    Document: {"version": 1, "name": "shown", "steps": {"a": {"say": "hi"}}},
    DistillJob: {},
    Suite: {},
    FleetFile: {},
}


def yaml_blocks(text: str) -> list[str]:
    """Blocks of YAML, and indented ones that may be."""
    fenced = [block[2] for block in FENCED.finditer(text) if block[1] == "yaml"]
    indented = [re.sub("^    ", "", block, flags=re.MULTILINE) for block in INDENTED.findall(FENCED.sub("", text))]
    return [*fenced, *(block for block in indented if re.match(r"(?:#.*\n)*\w+:(?: |\n)", block))]


SHOWN = [page for page in DOCUMENTS if page.parent.name not in ("tutorials", "how-to")]  # the blocks of those are run
SHOWN.remove(ROOT / "docs" / "plugins.md")  # its file wants the package that the page makes


@pytest.mark.parametrize("document", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_shows_could_be_read(document: Path) -> None:
    for block in yaml_blocks(document.read_text(encoding="utf-8")):
        stated = yaml.safe_load(block)
        if OTHERS & stated.keys():
            continue
        wrong = []
        for kind, rest in FILES.items():
            if stated.keys() <= {field.alias or name for name, field in kind.model_fields.items()}:
                try:
                    kind.model_validate(rest | stated)
                    break
                except ValidationError as error:
                    wrong.append(str(error))
        else:
            pytest.fail(f"no file of ours: {block}\n{wrong}")
