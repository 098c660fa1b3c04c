"""Tutorials and how-to pages: every block of them runs, in order, as their reader would run them."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.guide import BLOCK, ROOT, follow, free_port, read_blocks
from tests.support.played_providers import played_providers
from tests.support.postgres import postgres_server

PAGES = sorted([*(ROOT / "docs" / "tutorials").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")])
ELSEWHERE = re.compile(r"^\s*(?:pip|pipx|uv|docker|helm|kubectl|systemctl|make|cd|git|brew|export|openssl|#|cat|\w+=)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_works(page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_port()
    _, replies = read_blocks(page, port)
    with ExitStack() as stack:
        variables = {}
        if "$DATABASE_URL" in page.read_text(encoding="utf-8"):
            folder = tmp_path_factory.mktemp("pg")
            variables["DATABASE_URL"] = stack.enter_context(postgres_server(folder))
        url = stack.enter_context(played_providers(replies))
        follow(page, tmp_path, url, port, variables)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_could_not_be(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = [b[3] for b in BLOCK.finditer(text) if b[1] == "sh"]
    logical = [line for block in shown for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert [line for line in logical if not ELSEWHERE.match(line)] == []
    assert re.search(r"^    orchestrator", text, re.MULTILINE) is None  # commands stand in blocks that are run
