"""Grading a fleet on known answers, and the command that keeps what calibrating the search found of it."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator import Completion, ConfigError, Orchestrator, Usage
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.cli import main
from orchestrator.errors import BackendError
from orchestrator.grading import Example, grade_fleet, read_examples
from orchestrator.search import ByValue, Calibration, FixedOrder, GradedQuestion, Mixture, VoteModel, calibrate
from router import ModelProfile

EXAMPLES = [Example(f"What is {n} * 3?", str(3 * n)) for n in range(11, 71)]


class Multiplier(LocalBackend):
    """Right on numbers that it does not fail on."""

    def __init__(self, name: str, price: float, wrong_every: int, *, breaks_on: int = -1) -> None:
        super().__init__(ModelProfile(name, price, price, ttft_s=0.0, output_tokens=5))
        self._wrong_every, self._breaks_on = wrong_every, breaks_on

    async def complete(self, request: Request) -> Completion:
        n = int(re.findall(r"\d+", request.question)[0])
        if n == self._breaks_on:
            raise BackendError(f"{self.profile.name} is broken")
        said = 3 * n + (n % self._wrong_every == 0)
        return Completion(self.profile.name, f"The answer is {said}.", Usage(10, 10))


def fleet(**more: int) -> dict[str, Multiplier]:
    return {m.profile.name: m for m in (Multiplier("small", 1.0, 3), Multiplier("middle", 2.0, 5), Multiplier("large", 50.0, 29, **more))}


def grade(usd: float, **more: int) -> tuple[list[GradedQuestion], int, dict[str, int], float]:
    async def run() -> tuple[list[GradedQuestion], int, dict[str, int], float]:
        async with Orchestrator(fleet(**more), max_tokens=20) as orchestrator:
            found = await grade_fleet(orchestrator, EXAMPLES, usd=usd)
        return list(found.questions), found.left, found.failures, found.usd

    return asyncio.run(run())


def test_every_model_is_graded_by_what_it_says_and_what_that_costs() -> None:
    questions, left, failures, usd = grade(10.0)
    assert (len(questions), left, sum(failures.values())) == (60, 0, 0)
    assert sum(q.right["small"] for q in questions) == sum(n % 3 != 0 for n in range(11, 71))
    assert all(q.cost_usd["large"] == pytest.approx(50 * q.cost_usd["small"]) for q in questions)
    assert usd == pytest.approx(sum(sum(q.cost_usd.values()) for q in questions))
    assert all(
        (q.keys["small"] == q.keys["large"]) == (q.right["small"] == q.right["large"] is True) or not q.right["large"] for q in questions
    )


def test_a_spent_budget_keeps_what_was_graded() -> None:
    each = grade(10.0)[3] / 60
    questions, left, _, usd = grade(30 * each)
    assert 0 < len(questions) < 60
    assert left == 60 - len(questions)
    assert usd <= 30 * each + 1e-9


def test_a_call_that_fails_is_no_answer() -> None:
    questions, _, failures, _ = grade(10.0, breaks_on=17)
    assert failures == {"small": 0, "middle": 0, "large": 1}
    failed = [q for q in questions if q.keys["large"] is None]
    assert len(failed) == 1
    assert not failed[0].right["large"]


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    found = calibrate(grade(10.0)[0], max_usd_per_query=0.0002)
    found.save(tmp_path / "new" / "search.json")
    loaded = Calibration.load(tmp_path / "new" / "search.json")
    assert asdict(loaded) == asdict(found)
    assert loaded.policy == found.policy
    for policy in (FixedOrder(("a", "b"), 2), ByValue(0.01), Mixture(FixedOrder(("a",)), ByValue(0.1), 0.25)):
        Calibration({"a": 0.5}, {"a": 0.1}, VoteModel(copying=(("a", "b", 0.5),)), policy, 0.1, 0.5, 0.1).save(tmp_path / "x.json")
        assert Calibration.load(tmp_path / "x.json").policy == policy


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "vote_model": {}, "policy": {}}', '{"format": 1, "policy": 3}']
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match="not a calibration of the search"):
        Calibration.load(tmp_path / "search.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no examples"),
        ('{"question": "x"}', "the field 'answer' is missing"),
        ('{"question": "x", "answer": ""}', "cannot be empty"),
        ("\n[1]\n", ":2:"),
        ('{"question": "x", "answer": 4}\nnonsense', ":2:"),
    ],
)
def test_mistakes_in_examples_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "examples.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_examples(tmp_path / "examples.jsonl")


def test_the_command_keeps_a_policy_that_the_configuration_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    speed = "ttft_s: 0, tokens_per_s: 1000000"
    models = "\n".join(
        f"  {name}: {{provider: simulated, skill: {skill}, input_usd_per_mtok: {price}, output_usd_per_mtok: {price}, {speed}}}"
        for name, skill, price in (("small", 0.6, 0.1), ("middle", 0.7, 0.3), ("large", 0.95, 3))
    )
    Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\n")
    Path("examples.jsonl").write_text("\n".join(json.dumps({"question": f"What is {n} * 17?", "answer": 17 * n}) for n in range(11, 60)))
    run = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.0001"])
    assert run.exit_code == 0, run.output
    assert "49 questions" in run.output
    assert "policy: " in run.output
    told = json.loads(CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.0001", "--json"]).stdout)
    assert told["expected_usd"] <= 0.0001
    Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\nsearch: .orchestrator/search.json\n")
    with Orchestrator.from_config() as orchestrator:
        answer = orchestrator.answer_sync("What is 31 * 17?")
        assert answer.stopped
        assert orchestrator.value_usd == Calibration.load(".orchestrator/search.json").value_usd
    Path("orchestrator.yaml").write_text(f"models:\n{models.replace('large', 'giant')}\nmemory: null\nsearch: .orchestrator/search.json\n")
    with pytest.raises(ConfigError, match="models that this fleet lacks: large"):
        Orchestrator.from_config()
    Path(".orchestrator/search.json").unlink()
    with pytest.raises(ConfigError, match="cannot be used"):
        Orchestrator.from_config()


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--price", "-1"], "prices must be"), (["--price", "nan"], "prices must be"), (["--price", "0.1", "--usd", "0"], "prices must be")],
)
def test_the_command_refuses_prices_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orchestrator.yaml").write_text("models:\n  c: {provider: calculator}\nmemory: null\n")
    Path("examples.jsonl").write_text('{"question": "What is 2 * 3?", "answer": "6"}')
    run = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", *options])
    assert run.exit_code == 2
    assert told in run.output
    few = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.1"])
    assert few.exit_code == 2
    assert "30 are needed" in few.output


def test_a_certificate_of_the_search_ends_when_the_search_is_calibrated_anew(tmp_path: Path) -> None:
    from orchestrator.certificates import covered_search
    from orchestrator.config import Config

    promise = {"max_loss": 0.05, "confidence": 0.9, "vs": "a", "covers": "search"}
    config = Config.model_validate(
        {"models": {"a": {"provider": "calculator"}}, "quality": promise, "search": str(tmp_path / "search.json")}
    )
    found = set()
    for p in (0.5, 0.6):
        Calibration({"a": p}, {"a": 0.1}, VoteModel(), FixedOrder(("a",)), 0.1, p, 0.1).save(tmp_path / "search.json")
        found.add(covered_search(config))
    assert len(found) == 2
