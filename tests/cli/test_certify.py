"""A promised quality from configuration to certificate to routed query, and everything that voids it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from orchestrator import ConfigError, Orchestrator
from orchestrator.cli import main

pytest.importorskip("scipy")
CONFIG = """\
models:
  calc: {provider: calculator}
  cheap: {provider: simulated, skill: 0.7, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.1}
  strong: {provider: simulated, skill: 0.9, input_usd_per_mtok: 5, output_usd_per_mtok: 5}
router: ROUTER
quality: {max_loss: 0.05, confidence: 0.9, vs: strong}
memory: null
"""


def write_log(path: Path, n: int, seed: int) -> Path:
    """On poems the cheap model is as good as the strong one, on proofs it is far worse."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(n):
        poem = rng.random() < 0.5
        query = f"Write a poem about the {rng.choice(['sea', 'wind', 'rain'])} and night {seed}{number}." if poem else (
            f"Prove that the {rng.choice(['sum', 'product', 'limit'])} of sequence {seed}{number} converges and derive "
            "its value."
        )  # fmt: skip
        outcomes = {"cheap": float(rng.random() < (0.9 if poem else 0.3)), "strong": float(rng.random() < 0.9)}
        lines.append(json.dumps({"query": query, "outcomes": outcomes}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = write_log(tmp_path / "train.jsonl", 300, 1)
    assert run("train-router", str(log), "--out", str(tmp_path / "r"), "--encoder", "none").exit_code == 0
    (tmp_path / "c.yaml").write_text(CONFIG.replace("ROUTER", str(tmp_path / "r")), encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def certified(folder: Path) -> dict[str, Any]:
    done = run("certify", str(write_log(folder / "more.jsonl", 800, 2)), "--config", str(folder / "c.yaml"), "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_promise_is_certified_and_kept_by_routing(folder: Path) -> None:
    found = certified(folder)
    assert 0.3 < found["certificate"]["cheap_share"] < 0.6
    assert found["certificate"]["bound"] <= 0.05
    with Orchestrator.from_config(folder / "c.yaml") as orchestrator:
        poem, proof = (
            orchestrator.route(q)
            for q in (
                "Write a poem about the sea and night 9.",
                "Prove that the sum of sequence 2199 converges and derive its value.",
            )
        )
        assert (poem.chosen, proof.chosen) == ("cheap", "strong")
        assert "below that of strong" in poem.reason
        assert "strong is the reference" in proof.reason
        assert orchestrator.route("2 + 2").chosen == "calc"
        answer = orchestrator.answer_sync("Write a poem about the sea and night 9.")
    assert (answer.model, len(answer.candidates)) == ("cheap", 1)


def test_too_few_labels_are_refused_with_the_number_that_would_do(folder: Path) -> None:
    done = run("certify", str(write_log(folder / "few.jsonl", 20, 3)), "--config", str(folder / "c.yaml"))
    assert done.exit_code == 1
    assert "labels would do" in done.stderr
    assert not (folder / "r" / "certificate.json").exists()


def test_queries_that_the_router_was_trained_on_do_not_count(folder: Path) -> None:
    done = run("certify", str(folder / "train.jsonl"), "--config", str(folder / "c.yaml"))
    assert done.exit_code == 1
    assert "no calibration labels" in done.stderr
    assert "was trained on" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("input_usd_per_mtok: 5", "input_usd_per_mtok: 6", "void"),
        ("max_loss: 0.05", "max_loss: 0.02", "another promise"),
        ("skill: 0.7,", "skill: 0.7, model: other,", "void"),
    ],
)
def test_what_changes_voids_the_certificate(folder: Path, old: str, new: str, says: str) -> None:
    certified(folder)
    changed = folder / "c.yaml"
    changed.write_text(changed.read_text().replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        Orchestrator.from_config(changed)


def test_a_promise_without_certificate_or_router_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="nothing backs this promise"):
        Orchestrator.from_config(folder / "c.yaml")
    (folder / "d.yaml").write_text((folder / "c.yaml").read_text().replace("router:", "# router:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="needs a router"):
        Orchestrator.from_config(folder / "d.yaml")


@pytest.mark.parametrize(
    ("quality", "says"),
    [
        ("{max_loss: 2, vs: strong}", "quality.max_loss"),
        ("{max_los: 0.03, vs: strong}", "Did you mean 'max_loss'?"),
        ("1.5", "quality: input should be less than or equal to 1"),
        ("high", "quality: input should be a valid number"),
    ],
)
def test_mistakes_in_a_promise_are_told_once_and_in_its_own_words(folder: Path, quality: str, says: str) -> None:
    text = (folder / "c.yaml").read_text().replace("{max_loss: 0.05, confidence: 0.9, vs: strong}", quality)
    (folder / "e.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Orchestrator.from_config(folder / "e.yaml")
    assert says in str(caught.value)
    assert "PromiseConfig" not in str(caught.value)


def write_answers(path: Path, n: int, seed: int) -> Path:
    """Three models.

    On poems all are right, on proofs the cheap ones err, each in its own way, so that their agreement means something.
    """
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(n):
        poem = rng.random() < 0.5
        query = (
            f"How many lines has poem {seed}{number} about the sea?"
            if poem
            else f"How many steps has the proof of lemma {seed}{number}?"
        )
        outcomes = {}
        for name, skill in (("cheap", 0.97 if poem else 0.5), ("second", 0.97 if poem else 0.55), ("strong", 0.95)):
            right = bool(rng.random() < skill)
            said = number if right else number + int(rng.integers(1, 400))
            outcomes[name] = {"score": float(right), "answer": f"The answer is {said}", "output_tokens": 40}
        lines.append(json.dumps({"query": query, "outcomes": outcomes}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_whole_search_is_certified_on_recorded_answers_and_keeps_to_its_target(tmp_path: Path) -> None:
    log = write_answers(tmp_path / "train.jsonl", 300, 1)
    assert run("train-router", str(log), "--out", str(tmp_path / "r"), "--encoder", "none").exit_code == 0
    config = CONFIG.replace("ROUTER", str(tmp_path / "r")).replace("vs: strong}",
    "vs: strong, covers: search}").replace(
        "  strong:", "  second: {provider: simulated, skill: 0.7, input_usd_per_mtok: 0.2, output_usd_per_mtok: 0.2}\n "
                     " strong:"
    )  # fmt: skip
    (tmp_path / "c.yaml").write_text(config, encoding="utf-8")
    done = run(
        "certify", str(write_answers(tmp_path / "more.jsonl", 400, 2)), "--config", str(tmp_path / "c.yaml"), "--json"
    )
    assert done.exit_code == 0, done.output
    certificate = json.loads(done.stdout)["certificate"]
    assert certificate["cheap_share"] > 0.3
    assert certificate["bound"] <= 0.05
    with Orchestrator.from_config(tmp_path / "c.yaml") as orchestrator:
        assert orchestrator.route("How many lines has poem 7 about the sea?").quality == pytest.approx(
            1 - certificate["threshold"]
        )
    without_answers = write_log(tmp_path / "no.jsonl", 30, 3).read_text().replace('"cheap"', '"second": 1.0, "cheap"')
    (tmp_path / "no.jsonl").write_text(without_answers, encoding="utf-8")
    refused = run("certify", str(tmp_path / "no.jsonl"), "--config", str(tmp_path / "c.yaml"))
    assert refused.exit_code == 2
    assert "no text of the answer" in refused.stderr
    (tmp_path / "d.yaml").write_text(config.replace("memory: null", "memory: null\nvalue_usd: 0.5"), encoding="utf-8")
    with pytest.raises(ConfigError, match="void"):  # another search than the certified one
        Orchestrator.from_config(tmp_path / "d.yaml")
