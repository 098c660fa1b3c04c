"""Grading a fleet on known answers, and the command that keeps what calibrating the search found of it."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator import Completion, ConfigError, Orchestrator, Usage
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.cli import main
from orchestrator.errors import BackendError
from orchestrator.offline.grading import GradingExample, grade_fleet, read_examples
from orchestrator.router import ModelProfile
from orchestrator.search import ByValue, Calibration, FixedOrder, GradedQuestion, Mixture, VoteModel, calibrate
from tests.support.gateway import read_body, reply, served


class Multiplying:
    """A server of models that are wrong on every so manieth number."""

    def __init__(self, wrong_every: dict[str, int]) -> None:
        self._wrong_every = wrong_every

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = json.loads(await read_body(receive))
        if "nowhere" in scope["path"]:
            await reply(send, 404, {"error": {"message": "no such model"}})
            return
        n, times = map(int, re.findall(r"\d+", asked["messages"][-1]["content"])[-2:])
        said = n * times + (n % self._wrong_every[asked["model"]] == 0)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": f"The answer is {said}."},
            "finish_reason": "stop",
        }
        await reply(send, 200, {"choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": 8}})


EXAMPLES = [GradingExample(f"What is {n} * 3?", str(3 * n)) for n in range(11, 71)]


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
    return {
        m.profile.name: m
        for m in (Multiplier("small", 1.0, 3), Multiplier("middle", 2.0, 5), Multiplier("large", 50.0, 29, **more))
    }


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
        (q.keys["small"] == q.keys["large"]) == (q.right["small"] == q.right["large"] is True) or not q.right["large"]
        for q in questions
    )


def test_what_tells_by_itself_what_it_cannot_answer_is_not_graded() -> None:
    from orchestrator import CalculatorBackend, ExtractiveBackend
    from orchestrator.errors import ConfigError

    async def run(**backends: Any) -> list[str]:
        local = {"sums": CalculatorBackend("sums"), "notes": ExtractiveBackend("notes")}
        async with Orchestrator({**local, **backends}, max_tokens=20) as orchestrator:
            return list((await grade_fleet(orchestrator, EXAMPLES, usd=1.0)).failures)

    assert asyncio.run(run(**fleet())) == ["small", "middle", "large"]
    with pytest.raises(ConfigError, match="no model whose answers could be graded"):
        asyncio.run(run())


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
        Calibration(
            {"a": 0.5, "b": 0.6}, {"a": 0.1, "b": 0.2}, VoteModel(copying=(("a", "b", 0.5),)), policy, 0.1, 0.5, 0.1
        ).save(tmp_path / "x.json")
        assert Calibration.load(tmp_path / "x.json").policy == policy


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 99}', '{"format": 1, "vote_model": {}, "policy": {}}', '{"format": 1, "policy": 3}'],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match="not a calibration of the search"):
        Calibration.load(tmp_path / "search.json")


GOOD = {
    "format": 1,
    "p_success": {"a": 0.5, "b": 0.6},
    "cost_usd": {"a": 0.1, "b": 0.2},
    "vote_model": {"spread": 1.0},
    "policy": {"models": ["a"], "agree": 1},
    "value_usd": 0.1,
    "expected_accuracy": 0.5,
    "expected_usd": 0.1,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_success": {}},
        {"p_success": ["a"]},
        {"p_success": {"a": 2, "b": 0.5}},
        {"p_success": {"a": "0.5", "b": 0.5}},
        {"p_success": {"a": float("nan"), "b": 0.5}},
        {"cost_usd": {"a": 0.1}},
        {"cost_usd": {"a": -1, "b": 0}},
        {"value_usd": -3},
        {"value_usd": float("inf")},
        {"policy": {"models": "ab", "agree": 1}},
        {"policy": {"models": ["zz"], "agree": 1}},
        {"policy": {"models": ["a"], "agree": 1.9}},
        {"policy": {"value_usd": float("nan")}},
        {"policy": {"value_usd": 10**400}},
        {"policy": {"share": 10**400, "first": {"value_usd": 1}, "second": {"value_usd": 2}}},
        {"policy": {"share": 0.5, "first": {"share": 1}, "second": {"value_usd": 2}}},
        {"vote_model": {"slope": "x"}},
        {"vote_model": {"slope": None}},
        {"vote_model": {"slope": -1}},
        {"vote_model": {"slope": float("nan")}},
        {"vote_model": {"intercept": -1e9}},
        {"vote_model": {"spread": 1e308}},
        {"vote_model": {"spread": float("nan")}},
        {"vote_model": {"easier": []}},
        {"vote_model": {"pulls": [[["a"], 1]]}},
        {"vote_model": {"pulls": 3}},
        {"vote_model": {"unknown": 3}},
    ],
)
def test_a_damaged_calibration_is_refused_as_a_whole(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = tmp_path / "search.json"
    path.write_text(json.dumps(GOOD))
    assert Calibration.load(path).policy == FixedOrder(("a",))
    path.write_text(json.dumps(GOOD | wrong))
    with pytest.raises(ValueError, match="not a calibration of the search"):
        Calibration.load(path)
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="not a calibration of the search"):
        Calibration.load(path)


def test_examples_may_hold_any_line_separator_but_the_newline(tmp_path: Path) -> None:
    rows = [
        {"question": "What\u2028is\x85one?", "answer": True},
        {"question": "And two?", "answer": 2.5},
        {"question": "And two?", "answer": 3},
    ]
    (tmp_path / "examples.jsonl").write_text(
        "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8-sig"
    )
    assert [example.answer for example in read_examples(tmp_path / "examples.jsonl")] == ["True", "2.5"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no examples"),
        ('{"question": "x"}', "the field 'answer' is missing"),
        ('{"question": "x", "answer": ""}', "cannot be empty"),
        ('{"question": "x", "answer": NaN}', "must be text or a number"),
        ('{"question": "x", "answer": "1"}\n{"question": "a\\u0000b", "answer": "1"}', ":2: the query is binary data"),
        ("[" * 100_000, ":1: not JSON"),
        ("\n[1]\n", ":2: not an object"),
        ('{"question": "x", "answer": null}', "must be text or a number"),
        ('\ufeff{"question": "x", "answer": [1]}', ":1: the answer must be"),
        ('{"question": "x", "answer": 4}\nnonsense', ":2:"),
    ],
)
def test_mistakes_in_examples_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "examples.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_examples(tmp_path / "examples.jsonl")


def test_the_command_keeps_a_policy_that_the_configuration_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with served(Multiplying({"small": 3, "middle": 5, "large": 40})) as url:
        check_the_command(url)


def check_the_command(url: str) -> None:
    models = "\n".join(
        f"  {name}: {{provider: compatible, base_url: {url}/v1, input_usd_per_mtok: {price}, output_usd_per_mtok: "
        f"{price}}}"
        for name, price in (("small", 0.1), ("middle", 0.3), ("large", 3))
    )
    Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\n")
    Path("examples.jsonl").write_text(
        "\n".join(json.dumps({"question": f"What is {n} * 17?", "answer": 17 * n}) for n in range(11, 60))
    )
    run = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.0001"])
    assert run.exit_code == 0, run.output
    assert "asking 3 models 49 questions" in run.output
    assert re.search(r"large +right +48 \( 98.0%\)", run.output), run.output
    assert "policy: ask " in run.output
    told = json.loads(
        CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.0001", "--json"]).stdout
    )
    assert told["expected_usd"] <= 0.0001
    Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\nsearch: gone.json\n")
    again = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.0001"])
    assert again.exit_code == 0, again.output
    Path("folder").write_text("a file")
    unwritable = CliRunner().invoke(
        main, ["calibrate-search", "examples.jsonl", "--price", "0.0001", "--out", "folder/x.json"]
    )
    assert unwritable.exit_code == 2
    assert "cannot be written" in unwritable.output
    assert "graded" not in unwritable.output
    Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\nsearch: .orchestrator/search.json\n")
    with Orchestrator.from_config() as orchestrator:
        assert orchestrator.answer_sync("What is 31 * 17?").text == "The answer is 527."
        assert orchestrator.value_usd == Calibration.load(".orchestrator/search.json").value_usd
    stated = "value_usd: 0.05\nquality: 0.85\nstrategy: adaptive\n"  # as in the example configuration
    Path("orchestrator.yaml").write_text(
        f"models:\n{models}\nmemory: null\nsearch: .orchestrator/search.json\n{stated}"
    )
    with Orchestrator.from_config() as orchestrator:
        assert orchestrator.value_usd == Calibration.load(".orchestrator/search.json").value_usd
        assert orchestrator.answer_sync("What is 31 * 17?").route.quality == 1.0
    Path("orchestrator.yaml").write_text(
        f"models:\n{models}\nmemory: null\nsearch: .orchestrator/search.json\nstrategy: single\n"
    )
    with pytest.raises(ConfigError, match="both say how to search"):
        Orchestrator.from_config()
    Path("orchestrator.yaml").write_text(
        f"models:\n{models.replace('large', 'giant')}\nmemory: null\nsearch: .orchestrator/search.json\n"
    )
    with pytest.raises(ConfigError, match="models that this fleet lacks: large"):
        Orchestrator.from_config()
    Path(".orchestrator/search.json").unlink()
    with pytest.raises(ConfigError, match="cannot be used"):
        Orchestrator.from_config()


def test_nothing_is_kept_where_nothing_could_be_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("examples.jsonl").write_text(
        "\n".join(json.dumps({"question": f"What is {n} * 17?", "answer": 17 * n}) for n in range(11, 60))
    )

    def run(models: str, *options: str) -> str:
        Path("orchestrator.yaml").write_text(f"models:\n{models}\nmemory: null\n")
        found = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.001", *options])
        assert found.exit_code == 2, found.output
        assert not Path(".orchestrator/search.json").exists()
        return found.output

    assert "hardly an answer is right: of 49" in run(
        "  a: {provider: simulated, skill: 0.5, ttft_s: 0, tokens_per_s: 1000000, input_usd_per_mtok: 1, "
        "output_usd_per_mtok: 1}"
    )
    with served(Multiplying({"right": 1_000, "wrong": 1})) as url:
        priced = "{{provider: compatible, base_url: {}/v1, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}"
        right = "  right: " + priced.format(url)
        assert "broken failed on 49 of 49 questions" in run(f"{right}\n  broken: " + priced.format(f"{url}/nowhere"))
        assert "are needed (right: " in run(right, "--usd", "0.0001")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--price", "-1"], "prices must be"),
        (["--price", "nan"], "prices must be"),
        (["--price", "0.1", "--usd", "0"], "prices must be"),
    ],
)
def test_the_command_refuses_prices_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orchestrator.yaml").write_text("models:\n  c: {provider: calculator}\nmemory: null\n")
    Path("examples.jsonl").write_text('{"question": "What is 2 * 3?", "answer": "6"}')
    run = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", *options])
    assert run.exit_code == 2
    assert told in run.output
    few = CliRunner().invoke(main, ["calibrate-search", "examples.jsonl", "--price", "0.1"])
    assert few.exit_code == 2
    assert "examples.jsonl has 1 examples, 30 are needed" in few.output


def test_a_certificate_of_the_search_ends_when_the_search_is_calibrated_anew(tmp_path: Path) -> None:
    from orchestrator.config.models import Config
    from orchestrator.learning.certificates import covered_search

    promise = {"max_loss": 0.05, "confidence": 0.9, "vs": "a", "covers": "search"}
    config = Config.model_validate(
        {"models": {"a": {"provider": "calculator"}}, "quality": promise, "search": str(tmp_path / "search.json")}
    )
    found = set()
    for p in (0.5, 0.6):
        Calibration({"a": p}, {"a": 0.1}, VoteModel(), FixedOrder(("a",)), 0.1, p, 0.1).save(tmp_path / "search.json")
        found.add(covered_search(config))
    assert len(found) == 2
