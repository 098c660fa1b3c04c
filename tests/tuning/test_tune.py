"""Tuning: what is cheaper and as good is found, what only looks so is not promoted, and what is written can be used."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from orchestrator import ConfigError, Orchestrator
from orchestrator.cli import main
from orchestrator.config.models import Config, load_config, read_config
from orchestrator.evaluation.dataset import holds_examples
from orchestrator.router import ModelProfile, Outcome
from orchestrator.tuning import answers_of_log, tune
from orchestrator.tuning.promotion import judge, level_of, loses_too_much
from orchestrator.tuning.trial import Proposal, Trial

PRICES = {"small": 0.2, "large": 20.0}
RIGHT = {"small": 0.9, "large": 0.9}


def config_of(folder: Path, **stated: object) -> Path:
    models = {
        name: {
            "provider": "compatible",
            "model": name,
            "base_url": "http://127.0.0.1:9/v1",
            "input_usd_per_mtok": price,
            "output_usd_per_mtok": price,
            "skill": 0.5 if name == "small" else 0.9,
        }
        for name, price in PRICES.items()
    }
    path = folder / "orchestrator.yaml"
    path.write_text("# ours\n" + yaml.safe_dump({"version": 1, "models": models, "memory": None, **stated}))
    return path


def graded(questions: int, right: dict[str, float], seed: int = 0) -> list[dict[str, Any]]:
    """Sums, and what models said to them: `right` is the share of each that is right."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(questions):
        said = {}
        for name, share in right.items():
            ok = bool(rng.random() < share)
            said[name] = {
                "score": int(ok),
                "answer": f"The answer is {7 * n + (0 if ok else int(rng.integers(1, 9)))}.",
            }
        rows.append({"query": f"What is {n} * 7?", "outcomes": said})
    return rows


def outcomes(rows: Sequence[dict[str, Any]]) -> list[Outcome]:
    return [
        Outcome(str(row["query"]), model, float(said["score"]), answer=said["answer"])
        for row in rows
        for model, said in row["outcomes"].items()
    ]


def loaded(path: Path) -> tuple[Config, dict[str, ModelProfile]]:
    config = load_config(path)
    from orchestrator.fleet.build import fleet_from_config

    return config, {name: backend.profile for name, backend in fleet_from_config(config).backends.items()}


def test_a_model_that_is_as_good_for_a_hundredth_is_found(tmp_path: Path) -> None:
    config, profiles = loaded(config_of(tmp_path))
    answers = answers_of_log(outcomes(graded(300, RIGHT)), profiles)
    found = tune(config, answers, max_loss=0.05)
    assert found.promoted is not None
    assert found.promoted.cost.value < 0.6
    assert found.promoted.quality.value > -0.05
    assert found.made is not None
    assert found.made.calibration is not None


def test_a_fleet_that_needs_its_strong_model_keeps_it(tmp_path: Path) -> None:
    config, profiles = loaded(config_of(tmp_path, quality=0.97, strategy="single"))
    right = {"small": 0.4, "large": 0.98}
    answers = answers_of_log(outcomes(graded(200, right)), profiles)
    found = tune(config, answers, max_loss=0.02)
    assert found.promoted is None or found.promoted.quality.value > -0.02


def dealt(rng: np.random.Generator, n: int, loss: float, cheaper: float) -> tuple[Trial, list[Trial]]:
    """A present configuration, and proposals that lose `loss` and cost `cheaper` of its price."""
    score = (rng.random(n) < 0.85).astype(float)
    usd = rng.lognormal(0.0, 1.5, n) / 1_000
    proposals = []
    for number in range(4):
        lost = rng.random(n) < (loss + 0.03) / 0.85
        won = rng.random(n) < 0.03 / 0.15
        new = np.where(score > 0, np.where(lost, 0.0, 1.0), np.where(won, 1.0, 0.0))
        proposals.append(Trial(Proposal(f"p{number}"), new, usd * cheaper * rng.lognormal(0.0, 0.3, n)))
    return Trial(Proposal("present"), score, usd), proposals


def promoted_share(loss: float, cheaper: float, *, shuffled: bool = False, runs: int = 100) -> float:
    hits = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        present, proposals = dealt(rng, 300, loss, cheaper)
        if shuffled:  # every configuration gets the outcome of a random one on every question: nothing differs
            every = [present, *proposals]
            deal = rng.permuted(np.tile(np.arange(5)[:, None], 300), axis=0)
            columns = np.arange(300)
            score, usd = np.stack([t.score for t in every]), np.stack([t.usd for t in every])
            every = [Trial(t.proposal, score[deal[i], columns], usd[deal[i], columns]) for i, t in enumerate(every)]
            present, proposals = every[0], every[1:]
        climbed: list[Trial] = []
        for trial in proposals:
            climbed.append(trial)
            if loses_too_much(present, trial, max_loss=0.03, level=level_of(0, 0.9)):
                break
        judged = judge(present, [climbed], max_loss=0.03, confidence=0.9)
        hits += any(each.outcome == "promoted" for each in judged)
    return hits / runs


def test_nothing_is_promoted_where_nothing_differs() -> None:
    assert promoted_share(0.0, 1.0, shuffled=True) == 0.0


def test_what_loses_exactly_the_margin_is_promoted_as_rarely_as_promised() -> None:
    assert promoted_share(0.03, 0.5) <= 0.16  # 0.1, and two standard errors of 100 runs


def test_what_loses_nothing_for_half_the_price_is_promoted() -> None:
    assert promoted_share(-0.02, 0.5) > 0.6


def test_the_command_writes_a_configuration_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config_of(tmp_path)
    log = tmp_path / "graded.jsonl"
    log.write_text("\n".join(map(json.dumps, graded(300, RIGHT))))
    done = CliRunner().invoke(main, ["tune", "graded.jsonl", "--max-loss", "0.05", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    text = Path(found["written"]).read_text()
    assert text.splitlines()[1] == "# ours"
    with Orchestrator.from_config(found["written"]) as fleet:
        assert fleet.route("What is 3 * 7?").chosen in fleet.backends
    assert json.loads(Path("tuned/measured.json").read_text())["questions"] == 300
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # what it names lies beside it
    with Orchestrator.from_config(str(tmp_path / found["written"])) as fleet:
        assert fleet.route("What is 3 * 7?").chosen in fleet.backends


def test_a_log_that_repeats_its_queries_is_told_what_a_cache_would_save(tmp_path: Path) -> None:
    path, log = config_of(tmp_path), tmp_path / "graded.jsonl"
    rows = graded(60, RIGHT)
    command = ["tune", str(log), "--config", str(path), "--out", str(tmp_path / "tuned")]
    log.write_text("\n".join(map(json.dumps, [*rows, *rows[:20]])))
    told = CliRunner().invoke(main, command)
    assert "60 graded questions" in told.output
    assert "25% of the log repeats an earlier query: gateway.cache" in told.output
    assert re.search(r"a change takes about as long; at most \d+ are tried", told.output)
    found = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert (found["repeated_share"], found["interval_confidence"]) == (0.25, 0.95)
    log.write_text("\n".join(map(json.dumps, rows)))
    alone = {"query": "Only one was asked.", "outcomes": {"small": {"score": 1, "answer": "7"}}}
    log.write_text("\n".join(map(json.dumps, [*rows, alone])))
    told = CliRunner().invoke(main, command).output
    assert "gateway.cache" not in told
    assert "left out: 1 queries that not every model" in told


@pytest.mark.parametrize(
    ("rows", "stated", "told"),
    [
        (graded(40, RIGHT), {}, "40 different graded questions are too few"),
        (graded(80, {"small": 0.9}), {}, "no query of the log was answered by all models"),
        ([{"query": "a", "outcomes": {"small": 1, "large": 1}}] * 2, {}, "no text of the answer"),
        (graded(80, {"small": 0.0, "large": 0.0}), {}, "hardly an answer is right"),
        (graded(80, RIGHT), {"quality": {"max_loss": 0.1, "vs": "large"}, "router": "r"}, "quality is a promise"),
    ],
)
def test_what_cannot_be_tuned_is_told(
    tmp_path: Path, rows: list[dict[str, Any]], stated: dict[str, object], told: str
) -> None:
    path = config_of(tmp_path, **stated)
    log = tmp_path / "graded.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    done = CliRunner().invoke(main, ["tune", str(log), "--config", str(path), "--json"])
    assert done.exit_code == 2
    assert told in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", 'question,answer\n"6 * 7?",42\n'),
        ("q.jsonl", '{"input": "6 * 7?", "target": ["42", "forty-two"]}\n'),
        ("q.json", '[{"question": "6 * 7?", "answer": 42}]'),
    ],
)
def test_questions_are_told_from_graded_answers_in_every_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert holds_examples(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.csv", "query,small,large\na,1,0\n"),
        ("g.jsonl", '{"query": "a", "outcomes": {"small": 1}}\n'),
        ("g.jsonl", '{"query": "a", "model": "small", "score": 1, "answer": "b"}\n'),
        ("none.jsonl", ""),
    ],
)
def test_graded_answers_are_no_questions(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert not holds_examples(tmp_path / name)


def test_what_a_log_leaves_open_is_told_and_grades_that_differ_are_averaged(tmp_path: Path) -> None:
    rows = graded(70, RIGHT)
    rows[3]["outcomes"]["small"]["score"] = 1
    again = json.loads(json.dumps(rows[3]))
    again["outcomes"]["small"]["score"] = 0
    again["outcomes"]["other"] = {"score": 1, "answer": "1"}
    partly = {"query": "What else?", "outcomes": {"small": rows[0]["outcomes"]["small"]}}
    _, profiles = loaded(config_of(tmp_path))
    found = answers_of_log(outcomes([*rows, again, partly]), profiles)
    assert found.scores[3][list(profiles).index("small")] == 0.5
    told = "\n".join(found.remarks)
    assert "answers of other, which the configuration does not have" in told
    assert "1 queries that not every model" in told
    assert "1 queries have grades that differ; their mean counts: 'What is 3 * 7?'" in told
    assert "does not say all output_tokens" in told
    assert "small 250" in told


@pytest.mark.parametrize("command", [("tune",), ("calibrate-search", "--price", "0.01")])
def test_what_is_needed_is_looked_for_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setenv("COMPATIBLE_API_KEY", "x")
    rows = [{"question": f"What is {n} * 7?", "answer": str(7 * n)} for n in range(70)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config_of(tmp_path)
    done = CliRunner().invoke(main, [command[0], str(tmp_path / "q.jsonl"), "--config", str(config), *command[1:]])
    assert done.exit_code == 2
    assert "needs scipy. pip install 'compound-orchestrator[train]'" in " ".join(done.stderr.split())
    assert "asking" not in done.stderr


def test_a_log_of_another_fleet_is_no_log() -> None:
    config = read_config({"models": {"a": {"provider": "simulated", "skill": 0.5}}})
    with pytest.raises(ConfigError, match="it holds answers of large, small"):
        answers_of_log(outcomes(graded(3, RIGHT)), dict.fromkeys(config.models))  # type: ignore[arg-type]


def test_a_log_needs_no_key_of_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = tmp_path / "orchestrator.yaml"
    config.write_text("models: {small: {provider: openai, model: gpt-5-mini}, large: {provider: openai, model: gpt-5}}")
    found = CliRunner().invoke(main, ["tune", str(tmp_path / "none.jsonl"), "--config", str(config)])
    assert "no such file. Check the path" in found.stderr
    (tmp_path / "few.jsonl").write_text(
        '{"query": "1 + 1?", "outcomes": {"small": {"score": 1}, "large": {"score": 1}}}'
    )
    found = CliRunner().invoke(main, ["tune", str(tmp_path / "few.jsonl"), "--config", str(config)])
    assert "no API key" not in found.stderr
