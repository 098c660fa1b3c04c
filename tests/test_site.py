"""The site that `make docs` builds, where it was built: every name is in the reference, and search finds it."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

import orchestrator
from orchestrator.cli import GROUPS
from orchestrator.config.models import Config, GatewayConfig
from orchestrator.pipeline import Pipeline
from orchestrator.pipeline.language.document import Document, Expected, StepBudget
from orchestrator.pipeline.language.step import Retry
from orchestrator.pipeline.loading.step_registry import MEMORY, VERBS
from orchestrator.search.controller import _WORDS
from orchestrator.trace import EVENTS

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
needs_site = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="make docs builds it")
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions")
READER = re.compile(r"^For (?:whoever|who)\b", re.MULTILINE)


def stated_pages(nav: object) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav
    return {page for part in parts for page in stated_pages(part)}  # type: ignore[attr-defined]


def test_every_page_stands_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}
    assert pages <= stated_pages(nav)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_page_says_for_whom_it_is(page: Path) -> None:
    beginning = "\n".join(page.read_text(encoding="utf-8").splitlines()[:6])
    assert READER.search(beginning), beginning


@needs_site
def test_the_reference_names_all_that_the_package_offers() -> None:
    python = (SITE / "reference" / "python.html").read_text(encoding="utf-8")
    classes = [name for name in orchestrator.__all__ if isinstance(getattr(orchestrator, name), type)]
    assert [name for name in classes if f">{name}</" not in python and f'"{name}"' not in python] == []
    commands = (SITE / "reference" / "commands.html").read_text(encoding="utf-8")
    assert [name for group in GROUPS.values() for name in group if f"orchestrator {name}" not in commands] == []
    fields = (SITE / "reference" / "fields.html").read_text(encoding="utf-8")
    names = [*Config.model_fields, *GatewayConfig.model_fields]
    assert [name for name in names if f"<code>{name}</code>" not in fields] == []
    assert "Sentinel" not in commands


@needs_site
@pytest.mark.parametrize("word", ["certificate", "budget_exceeded", "orchestrator_cost_usd"])
def test_search_finds_words_of_every_kind_of_page(word: str) -> None:
    index = json.loads((SITE / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any(word in document["text"] or word in document["title"] for document in index["docs"])


@needs_site
def test_nothing_is_fetched_from_elsewhere() -> None:
    page = (SITE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', page) == []


EXAMPLES = yaml.safe_load((ROOT / ".ci" / "reference_examples.yaml").read_text(encoding="utf-8"))
A_FILE = """version: 1
name: example
inputs: {question: text, rows: list}
tools: {orders: {http: "https://shop.example.com/orders/{id}", parameters: {id: text}}}
steps:
  step:
"""


def sections(of: object) -> dict[str, type[BaseModel]]:
    """The section that an annotation names, and all within it, by name."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        within = {k: v for field in of.model_fields.values() for k, v in sections(field.annotation).items()}
        return {of.__name__: of, **within}
    return {name: kind for part in get_args(of) for name, kind in sections(part).items()}


@pytest.mark.parametrize(("name", "section"), [(n, s) for n, s in sections(Config).items() if s is not Config])
def test_the_example_of_a_section_is_valid_and_has_every_field(name: str, section: type[BaseModel]) -> None:
    text = EXAMPLES["sections"][name]
    shown = set(re.findall(r"^(?:# )?(\w+):", text, re.MULTILINE))
    assert shown == {field.alias or name for name, field in section.model_fields.items()}
    section.model_validate(yaml.safe_load(text))


PIPELINE_SECTIONS = {**sections(Document), **sections(Expected), **sections(StepBudget), **sections(Retry)}


@pytest.mark.parametrize("name", PIPELINE_SECTIONS)
def test_the_example_of_a_pipeline_section_is_valid_and_has_every_field(name: str) -> None:
    section, text = PIPELINE_SECTIONS[name], EXAMPLES["pipeline"][name]
    assert set(yaml.safe_load(text)) == {field.alias or name for name, field in section.model_fields.items()}
    section.model_validate(yaml.safe_load(text))


def test_the_example_of_a_pipeline_is_one(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "tickets.yaml").write_text("tools: {near: {http: 'https://shop.example.com/near'}}")
    (tmp_path / "example.yaml").write_text(EXAMPLES["pipeline"]["Document"])
    Pipeline.load(tmp_path / "example.yaml", root=tmp_path)


@pytest.mark.parametrize("verb", [*VERBS, *(f"memory {name}" for name in MEMORY)])
def test_the_example_of_a_verb_is_valid(verb: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        "{version: 1, name: other, inputs: {question: text}, steps: {a: {say: '${inputs.question}'}}}"
    )
    (tmp_path / "example.yaml").write_text(A_FILE + textwrap.indent(EXAMPLES["verbs"][verb], "    "))
    Pipeline.load(tmp_path / "example.yaml", root=tmp_path)


@needs_site
@pytest.mark.parametrize("page", ["fields", "verbs", "pipeline-file"])
def test_every_field_of_the_reference_has_a_meaning(page: str) -> None:
    site = (SITE / "reference" / f"{page}.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>\s*<td>.*?</td>\s*<td>.*?</td>\s*<td>(.*?)</td>\s*</tr>", site, re.DOTALL)
    assert len(rows) > 40
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_every_event_that_is_told_is_described() -> None:
    told = set()
    for path in (ROOT / "orchestrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
                first = node.args[0] if node.args else None
                parts = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
                told |= {p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)}
    told |= {word for words in _WORDS.values() for word in words[1:]}
    assert told == set(EVENTS)
