"""Importing is cheap: nothing heavy comes with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "sentence_transformers",
    "faiss",
    "sklearn",
    "scipy",
    "pyarrow",
    "httpx",
    "pydantic",
    "numpy",
    "rich",
    "yaml",
)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import orchestrator", set()),
        ("import orchestrator.cli", set()),
        ("import orchestrator.router", {"numpy"}),
        ("import orchestrator.memory", {"numpy"}),
        ("import orchestrator.verifiers", set()),
        ("from orchestrator import Orchestrator", {"numpy", "pydantic", "httpx"}),
    ],
)
def test_imports_bring_nothing_heavy(statement: str, allowed: set[str]) -> None:
    code = f"import sys; {statement}; print(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert loaded <= allowed
