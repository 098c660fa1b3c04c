"""The site that `make docs` builds, where it was built: every name is in the reference, and search finds it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import orchestrator
from orchestrator.cli import GROUPS
from orchestrator.config.models import Config, GatewayConfig

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
needs_site = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="make docs builds it")
READER = re.compile(r"^For (?:whoever|who)\b", re.MULTILINE)


def stated_pages(nav: object) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav
    return {page for part in parts for page in stated_pages(part)}  # type: ignore[attr-defined]


def test_every_page_stands_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages <= stated_pages(nav)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
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
