"""The package of docs/plugins.md, installed as any other, is used under all five entry points."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")

USE = """
import asyncio, json
from pathlib import Path
from orchestrator import Orchestrator, Pipeline

Path("p.yaml").write_text(
    "{version: 1, name: p, inputs: {who: text}, steps: {a: {shout: 'Hello ${inputs.who}'},"
    " b: {verify: [{polite: {word: hello}}], text: '${a}'}}, output: '${b.passed}'}"
)
with Orchestrator.from_config("orchestrator.yaml") as fleet:
    fleet.remember_sync("Ann lives in Rome.")
    answer = fleet.answer_sync("Please say this again.")
    impolite = fleet.answer_sync("Say this again.", strategy="two_cheapest")
    passed = asyncio.run(Pipeline.load("p.yaml").run({"who": "you"}, orchestrator=fleet)).output
    print(json.dumps({
        "text": answer.text,
        "stopped": answer.stopped,
        "passed": answer.candidates[0].verdicts[0].passed,
        "impolite": impolite.candidates[0].verdicts[0].feedback,
        "encoder": fleet.memory.encoder.fingerprint,
        "pipeline": passed,
    }))
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the package as an installer would leave it, and the configuration that uses it."""
    (tmp_path / "house_rules.py").write_text(block("python"))
    (tmp_path / "orchestrator.yaml").write_text(block("yaml"))
    project = tomllib.loads(block("toml"))["project"]
    info = tmp_path / "house_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); "
    code += arguments[0] if len(arguments) == 1 else f"sys.argv = {['orchestrator', *arguments]!r}; "
    code += "" if len(arguments) == 1 else "from orchestrator.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_package_of_the_page_works_under_every_entry_point(installed: Path) -> None:
    done = run(installed, f"exec({USE!r})")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "text": "Please say this again.",
        "stopped": "both have answered",
        "passed": True,
        "impolite": "Say 'please'.",
        "encoder": "letters-1",
        "pipeline": True,
    }


def test_doctor_lists_plugins_and_says_which_cannot_be_loaded(installed: Path) -> None:
    done = run(installed, "doctor", "--json")
    told = {(check["what"], check["ok"]): check["detail"] for check in json.loads(done.stdout)["checks"]}
    assert told["verifiers plugin", True] == "polite (house_rules:Polite)"
    assert ("steps plugin", True) in told
    (installed / "house_rules.py").write_text("import missing_package\n")
    broken = run(installed, "doctor", "--json")
    assert broken.returncode == 1
    assert "No module named 'missing_package'. Reinstall its package" in broken.stdout
