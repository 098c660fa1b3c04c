"""Files, modules and links that the documents name exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

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
