"""The OpenAPI document is true: schemathesis finds nothing that contradicts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.gateway.api.endpoints import ENDPOINTS
from orchestrator.gateway.api.openapi import document
from orchestrator.gateway.api.validators import schemas
from tests.support.gateway import running_gateway

EVERYTHING = ("inference", "memory", "feedback", "usage", "traces", "files", "admin")


def test_the_document_is_what_is_served(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        told = gateway.get("/openapi.json").json()
    assert told == document(ENDPOINTS)
    operations = {(method.upper(), path) for path, item in told["paths"].items() for method in item}
    assert operations == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    names = [operation["operationId"] for item in told["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))


def test_every_schema_that_is_named_exists() -> None:
    text = str(document(ENDPOINTS))
    named = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= schemas().keys()


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    with running_gateway(tmp_path, online={"path": str(tmp_path / "decisions.db")}) as gateway:
        key = gateway.new_key(permissions=EVERYTHING)
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{gateway.url}/openapi.json",
            "-H",
            f"Authorization: Bearer {key}",
        ]
        ran = subprocess.run(
            [*command, "--max-examples", "3", "--seed", "1"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            timeout=400,
        )
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert "No issues found" in ran.stdout or "passed" in ran.stdout
