"""The `openai` npm package against the gateway, where node and the package are (`make test` installs it beside
node).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import running_gateway

HERE = Path(__file__).parents[1]
PACKAGES = HERE.parent / "build" / "node" / "node_modules"


def test_the_npm_client(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (PACKAGES / "openai").exists():
        pytest.skip("node or its package openai is not installed")
    script = tmp_path / "client.mjs"
    script.write_text((HERE / "openai_client.mjs").read_text())
    os.symlink(PACKAGES, tmp_path / "node_modules")
    with running_gateway(tmp_path) as gateway:
        ran = subprocess.run(
            [node, str(script), f"{gateway.url}/v1", gateway.key],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    got = json.loads(ran.stdout)
    assert {"auto", "small", "large"} <= set(got.pop("models"))
    assert got == {
        "chat": "Paris",
        "stream": "Paris",
        "usage": 30,
        "searched": "42",
        "tool": "Paris",
        "structured": "Paris",
        "dimensions": 256,
        "response": "Paris",
        "responseStream": "Paris",
        "missing": ["NotFoundError", 404, "model_not_found"],
        "wrong": ["BadRequestError", 400, "invalid_request"],
        "stranger": ["AuthenticationError", 401, "invalid_api_key"],
    }
