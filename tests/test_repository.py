"""What is published, and the habits of the repository: versions, extras, workflows, names that no platform lacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import orchestrator

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CHECKER = ROOT / "build" / "deploy" / "bin" / "check-jsonschema"
# What Windows lacks, and macOS in part.
ONLY_POSIX = ("fcntl", "grp", "pwd", "resource", "termios", "uvloop")


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "orchestrator" / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == orchestrator.__version__
    assert f"## [{orchestrator.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_tools_of_developers_are_no_extras() -> None:
    published = {name.lower() for wanted in EXTRAS.values() for name in wanted}
    assert {"dev", "bench", "docs", "release"}.isdisjoint(EXTRAS)
    assert not [name for name in published if name.startswith(("pytest", "ruff", "mypy", "hypothesis"))]


def test_all_brings_every_extra_that_is_no_engine() -> None:
    (stated,) = EXTRAS["all"]
    brought = set(re.findall(r"[\w-]+", stated.split("[")[1]))
    heavy = {"embeddings", "multilingual", "train", "ray", "kv-events", "local-model", "fine-tune", "ui", "all"}
    assert brought == EXTRAS.keys() - heavy


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_nothing_that_a_platform_lacks_is_needed_to_begin(platform: str, tmp_path: Path) -> None:
    """Not the platform itself: this machine, without the modules that the platform lacks, under its name."""
    missing = ONLY_POSIX if platform == "win32" else ("uvloop",)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "import orchestrator.cli, orchestrator.verifiers, orchestrator.memory, orchestrator.gateway.app\n"
        "from orchestrator.verifiers.sandbox import pool\n"
        f"pool.sys = type('', (), {{'platform': {platform!r}}})\n"
        "print(pool._why_not_landlock())\n"
        "from orchestrator import Orchestrator\n"
        "with Orchestrator('calculator') as fleet: print(fleet.answer_sync('6 * 7').text)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["code is confined by Landlock and seccomp, which only Linux has", "42"]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ],
)
def test_workflows_fit_their_schemas(schema: str, files: str) -> None:
    found = sorted(map(str, ROOT.glob(files)))
    assert found
    if not CHECKER.exists():
        pytest.skip("make build/deploy/.ready brings the schemas")
    done = subprocess.run([CHECKER, "--builtin-schema", schema, *found], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_workflows_run_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in stated["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {}).get("target", [])
            asked = re.findall(r"make ([a-z][\w-]*)", json.dumps(job))
            assert {*asked, *matrix} <= targets, path.name
            assert job["timeout-minutes"] <= 60, path.name


def test_the_folder_of_the_container_is_json() -> None:
    stated = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert "make lint" in stated["postCreateCommand"]
