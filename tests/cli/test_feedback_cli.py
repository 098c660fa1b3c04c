"""From `ask` to `feedback` to a router trained on one's own traffic, as one types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main

CONFIG = """\
models:
  calculator: {provider: calculator}
  small: {provider: simulated, skill: 0.6, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.1, ttft_s: 0,
      tokens_per_s: 1000000}
  large: {provider: simulated, skill: 0.9, input_usd_per_mtok: 5, output_usd_per_mtok: 5, ttft_s: 0,
      tokens_per_s: 1000000}
online: {path: %s, explore: 0.3}
strategy: single
memory: null
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG % (tmp_path / "log.db"), encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--config", str(folder / "c.yaml")])


def test_ask_prints_an_id_that_feedback_takes(folder: Path) -> None:
    asked = run(folder, "ask", "What is 17 * 23?")
    assert asked.exit_code == 0
    answer_id = asked.stderr.split("orchestrator feedback ")[1].split()[0]
    done = run(folder, "feedback", answer_id, "--score", "1")
    assert (done.exit_code, done.stdout) == (0, "graded calculator: 1\n")
    compared = run(folder, "feedback", answer_id, "--expected", "390", "--json")
    assert json.loads(compared.stdout) == {"answer": answer_id, "graded": {"calculator": 0.0}}
    for arguments, code in ((("nobody", "--score", "1"), 1), ((answer_id,), 2), ((answer_id, "--score", "7"), 2)):
        assert run(folder, "feedback", *arguments).exit_code == code


def test_the_decision_log_trains_and_replays(folder: Path) -> None:
    pytest.importorskip("scipy")
    for number in range(40):
        asked = json.loads(run(folder, "ask", f"How many lamps are in crate {number}?", "--json").stdout)
        assert run(folder, "feedback", asked["id"], "--score", str(number % 2)).exit_code == 0
    trained = CliRunner().invoke(
        main, ["train-router", str(folder / "log.db"), "--out", str(folder / "r"), "--encoder", "none", "--json"]
    )
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["outcomes"] == 40
    replayed = CliRunner().invoke(
        main, ["replay", str(folder / "log.db"), "--policy", str(folder / "c.yaml"), "--json"]
    )
    assert replayed.exit_code == 0, replayed.output
    found = json.loads(replayed.stdout)
    assert found["decisions"] == 40
    assert found["logged_quality"] == 0.5  # whatever was explored, every other answer was graded right
    assert found["quality"]["low"] < found["quality"]["value"] < found["quality"]["high"]
    missing = CliRunner().invoke(main, ["train-router", str(folder / "none.db")])
    assert missing.exit_code == 2
    assert "no such file" in missing.stderr
