"""A suite against models on a real server: figures, expectations, early ends, the page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from orchestrator import Answer
from orchestrator.cli import main
from orchestrator.evaluation.assertions import grade
from orchestrator.evaluation.case import Assertion, Case
from orchestrator.evaluation.result import ScoredAnswer, VariantResult, judge_expectations
from orchestrator.evaluation.suite import Expectation
from tests.support.gateway import read_body, reply, served


class Sums:
    """A server of models that are wrong on every so manieth number."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong_every = {"good": 1_000, "weak": 3}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = json.loads(await read_body(receive))
        self.calls += 1
        text = asked["messages"][-1]["content"]
        if "Rate" in text or "rate the answer" in text:
            said = '{"own_answer": "8", "ratings": {"rubric": {"why": "", "score": 10}}}'
        else:
            n = int(re.findall(r"\d+", text)[0])
            said = f"The answer is {2 * n + (n % self.wrong_every[asked['model']] == 0)}."
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        await reply(send, 200, {"choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": 8}})


@pytest.fixture(scope="module")
def sums() -> Iterator[tuple[Sums, str]]:
    app = Sums()
    with served(app) as url:
        yield app, url


def suite(folder: Path, url: str, **stated: Any) -> Path:
    models = {
        name: {
            "provider": "compatible",
            "model": name,
            "base_url": f"{url}/v1",
            "input_usd_per_mtok": price,
            "output_usd_per_mtok": price,
        }
        for name, price in (("good", 10.0), ("weak", 1.0))
    }
    (folder / "orchestrator.yaml").write_text(
        yaml.safe_dump({"version": 1, "models": models, "memory": None, "strategy": "single"})
    )
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(1, 201)]
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = {
        "name": "sums",
        "data": [{"file": "q.jsonl"}],
        "configurations": {
            "strong": {"models": ["good"]},
            "cheap": {"models": ["weak"]},
        },
        **stated,
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


def run(*arguments: str | Path) -> tuple[int, Any]:
    done = CliRunner().invoke(main, ["eval", *map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_figures_and_a_loss_that_is_found(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    code, found = run(suite(tmp_path, sums[1], expect=[{"of": "cheap", "loses_at_most": 0.05}], stop_early=False))
    assert code == 1
    strong, cheap = found["configurations"]
    assert (strong["score"]["value"], found["examples"]) == (1.0, 200)
    assert cheap["score"]["value"] == pytest.approx(134 / 200)
    assert cheap["usd_per_1k"] == pytest.approx(strong["usd_per_1k"] / 10, rel=0.05)
    (beside,) = found["comparisons"]
    assert (beside["won"], beside["lost"]) == (0, 66)
    assert beside["p_value"] < 1e-6
    assert beside["difference"]["low"] < -0.33 < beside["difference"]["high"]
    assert found["expectations"][0]["standing"] == "failed"


def test_a_run_ends_as_soon_as_all_is_decided(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    expected = [{"of": "cheap", "loses_at_most": 0.05}, {"of": "strong", "score_at_least": 0.8}]
    before = sums[0].calls
    code, found = run(suite(tmp_path, sums[1], expect=expected))
    assert code == 1
    assert [each["standing"] for each in found["expectations"]] == ["failed", "met"]
    assert 30 <= found["examples"] < 200
    assert "every expectation was decided" in found["stopped"]
    assert sums[0].calls - before < 400


def test_what_is_expected_and_shown_passes(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    expected = [
        {"of": "strong", "score_at_least": 0.9},
        {"of": "cheap", "score_at_least": 0.6, "certain": False},
        {"of": "cheap", "usd_per_1k_at_most": 0.1},
        {"of": "cheap", "p95_seconds_at_most": 60},
    ]
    code, found = run(suite(tmp_path, sums[1], expect=expected))
    assert code == 0, found["expectations"]
    assert found["passed"] is True


def test_few_examples_show_nothing_and_say_so(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    stated = suite(tmp_path, sums[1], expect=[{"of": "strong", "score_at_least": 0.9}])
    stated.write_text(stated.read_text().replace("file: q.jsonl", "file: q.jsonl\n  sample: 5"))
    code, found = run(stated)
    assert code == 1
    assert found["expectations"][0]["standing"] == "not shown"


def test_money_that_is_short_ends_the_run_with_what_was_graded(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    code, found = run(suite(tmp_path, sums[1], usd=0.05, expect=[{"of": "strong", "score_at_least": 0.99}]))
    assert "the budget is spent" in found["stopped"]
    assert found["usd"] <= 0.05
    assert 0 < found["examples"] < 200
    assert code == 1


def fleet_suite(folder: Path, url: str, **stated: Any) -> Path:
    """One configuration: it drafts with the good model where its own money allows it, and the suite's is no matter."""
    path = suite(folder, url, configurations={"today": "orchestrator.yaml"}, **stated)
    config = yaml.safe_load((folder / "orchestrator.yaml").read_text())
    config["models"]["good"]["skill"], config["models"]["weak"]["skill"] = 0.95, 0.5
    (folder / "orchestrator.yaml").write_text(yaml.safe_dump({**config, "budget": {"usd": 0.02}}))
    return path


def test_the_suites_money_does_not_change_what_is_measured(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    found = {usd: run(fleet_suite(tmp_path, sums[1], usd=usd, stop_early=False))[1] for usd in (0.03, 10.0)}
    assert found[10.0]["configurations"][0]["score"]["value"] == 1.0
    assert found[0.03]["configurations"][0]["score"]["value"] == 1.0
    assert {answer["model"] for answer in found[0.03]["answers"]} == {"good"}
    assert 0 < found[0.03]["examples"] < 200
    assert found[0.03]["usd"] <= 0.03


@pytest.mark.parametrize("budget", [None, {"usd": 5.0}, {"usd": 0.05}])
@pytest.mark.parametrize("at_once", [1, 50])
def test_money_that_does_for_all_is_used_for_all(
    tmp_path: Path, sums: tuple[Sums, str], budget: dict[str, float] | None, at_once: int
) -> None:
    path = fleet_suite(tmp_path, sums[1], usd=0.5, at_once=at_once, stop_early=False)
    config = yaml.safe_load((tmp_path / "orchestrator.yaml").read_text())
    config["strategy"] = "cascade"
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump({**config, "budget": budget or {}}))
    _, found = run(path)
    assert found["examples"] == 200, found["stopped"]
    assert found["configurations"][0]["errors"] == 0
    assert found["usd"] < 0.5


def test_too_little_money_for_one_question_is_told_before_any_is_asked(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    before = sums[0].calls
    done = CliRunner().invoke(main, ["eval", str(fleet_suite(tmp_path, sums[1], usd=0.01))])
    assert done.exit_code == 2
    assert "no example can be answered by all configurations" in " ".join(done.stderr.split())
    assert "one question may cost 0.020000" in " ".join(done.stderr.split())
    assert sums[0].calls == before


def test_what_is_shown_does_not_part_from_the_interval_beside_it(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    expected = [{"of": "strong", "score_at_least": 0.8}]
    path = suite(tmp_path, sums[1], expect=expected, stop_early=False)
    path.write_text(path.read_text().replace("file: q.jsonl", "file: q.jsonl\n  sample: 40"))
    code, found = run(path)
    assert found["configurations"][0]["score"]["low"] > 0.8
    assert found["expectations"][0]["standing"] == "met"
    assert code == 0


@pytest.mark.parametrize(
    "expected",
    [{"p95_seconds_at_most": 60}, {"usd_per_1k_at_most": 10}, {"loses_at_most": 0.9}, {"score_at_least": 0.0}],
)
def test_a_configuration_of_which_no_answer_came_meets_nothing(tmp_path: Path, expected: dict[str, float]) -> None:
    path = suite(tmp_path, "http://127.0.0.1:9", expect=[{"of": "cheap", **expected}])
    path.write_text(path.read_text().replace("file: q.jsonl", "file: q.jsonl\n  sample: 3"))
    code, found = run(path)
    assert code == 1
    assert found["expectations"][0]["standing"] == "failed"
    assert "none of its answers came" in found["expectations"][0]["told"]
    assert [each["p95_s"] for each in found["configurations"]] == [None, None]
    assert "none" in CliRunner().invoke(main, ["eval", str(path)]).output


def test_answers_that_failed_make_nothing_quicker_or_cheaper() -> None:
    def row(seconds: float, usd: float, error: str = "") -> ScoredAnswer:
        return ScoredAnswer(Case("a", ()), "", not error, "", usd, seconds, 0.5, "m", error)

    result = VariantResult("v", (row(2.0, 0.001), row(0.0, 0.0, "backend_unavailable"), row(0.0, 0.0, "timeout")))
    assert result.usd_per_1k == pytest.approx(1.0)
    assert result.seconds_at(0.5) == result.seconds_at(0.95) == 2.0
    slow = judge_expectations(result, [result], [Expectation(of="v", p95_seconds_at_most=3)], 0.95)
    assert (slow[0].standing, slow[0].told) == ("failed", "2 answers never came")


def test_the_page_holds_every_answer_and_runs_no_script(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    page, out = tmp_path / "r.html", tmp_path / "r.json"
    run(suite(tmp_path, sums[1], name="<script>alert(1)</script>", stop_early=False), "--html", page, "--out", out)
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.index("right: 6") < html.index("right: 4")  # what the two part in comes first
    assert len(json.loads(out.read_text())["answers"]) == 400


def test_a_rubric_is_judged_by_the_named_model(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    stated = suite(tmp_path, sums[1], judge="good")
    tests = [{"vars": {"question": "What is 4 + 4?"}, "assert": [{"type": "llm-rubric", "value": "Is it polite?"}]}]
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(tests))
    stated.write_text(stated.read_text().replace("q.jsonl", "q.yaml"))
    code, found = run(stated)
    assert (code, found["configurations"][0]["score"]["value"]) == (0, 1.0)
    stated.write_text(stated.read_text().replace("judge: good", "judge: nobody"))
    code, found = run(stated)
    assert code == 2
    assert "has no model 'nobody'" in found["error"]["message"]


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"baseline": "strog"}, "there is no configuration 'strog'. Did you mean 'strong'?"),
        ({"expect": [{"of": "strong", "loses_at_most": 0.1}]}, "cannot lose against itself"),
        ({"expect": [{"of": "cheap"}]}, "an expectation has one limit"),
        ({"configurations": {"a": {"strategy": "adaptiv"}}}, "Did you mean 'adaptive'?"),
        ({"configurations": {"a": {"models": ["nobody"]}}}, "has no model 'nobody'"),
        ({"data": [{"file": "none.jsonl"}]}, "none.jsonl"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, sums: tuple[Sums, str], stated: dict[str, Any], told: str) -> None:
    code, found = run(suite(tmp_path, sums[1], **stated))
    assert code == 2
    assert told in found["error"]["message"]


def test_a_name_that_is_not_known_is_told_at_its_line(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    expected = [{"of": "cheap", "score_at_least": 0.5}, {"of": "chep", "loses_at_most": 1.0}]
    stated = suite(tmp_path, sums[1], expect=expected)
    place = next(n for n, line in enumerate(stated.read_text().splitlines(), 1) if "chep" in line)
    code, found = run(stated)
    assert code == 2
    assert place > 1
    assert f"{stated.name}:{place}:" in found["error"]["message"]


def test_what_is_printed_fits_a_terminal(tmp_path: Path, sums: tuple[Sums, str]) -> None:
    done = CliRunner().invoke(main, ["eval", str(suite(tmp_path, sums[1]))])
    table = [line for line in done.stdout.splitlines() if " to " in line and "beside" not in line]
    assert len(table) == 2
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize(
    ("text", "is_undecided"),
    [
        ("Paris, the capital city of France.", True),
        ("Sure! I believe that the capital of France is Paris.", True),
        ("It is Rome.", False),
    ],
)
def test_what_cannot_be_compared_is_told_apart_from_what_is_wrong(text: str, is_undecided: bool) -> None:
    case = Case("1", ({"role": "user", "content": "What is the capital of France?"},), ("Paris",))
    found = asyncio.run(grade(case, Answer(text, 0.5, "m", 0.0, 0.1, False, "")))
    assert (found.passed, found.undecided) == (False, is_undecided)


def test_a_server_that_is_down_is_no_score_of_zero_alone(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}')
    model = {"provider": "compatible", "base_url": "http://127.0.0.1:9/v1", "input_usd_per_mtok": 0}
    model |= {"output_usd_per_mtok": 0, "retries": 0}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump({"models": {"a": model}, "memory": None}))
    found = {"name": "down", "data": [{"file": "q.jsonl"}], "configurations": {"plain": {"config": "fleet.yaml"}}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(found))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["eval", str(tmp_path / "suite.yaml"), "--html", str(page)])
    assert "1 of 1 answers of plain failed, and count as wrong: " in done.output
    assert "cannot connect" in done.output
    assert "0.000</" not in page.read_text()
    assert run(tmp_path / "suite.yaml")[1]["configurations"][0]["calibration_error"] is None


@pytest.mark.parametrize(
    ("threshold", "weight", "passes"),
    [(None, 1.0, False), (0.5, 1.0, True), (0.6, 1.0, False), (None, 0.0, True), (0.6, 0.1, True)],
)
def test_a_part_of_what_is_held_against_an_answer_may_do(threshold: float | None, weight: float, passes: bool) -> None:
    held = (Assertion("contains", "42"), Assertion("contains", "43", weight=weight))
    case = Case("a", ({"role": "user", "content": "6 * 7?"},), (), held, threshold=threshold)
    assert asyncio.run(grade(case, Answer("42", 0.5, "m", 0.0, 0.1, False, ""))).passed is passes


class Judges(Sums):
    """As `Sums`; its judgements cannot be read, or fail."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        text = json.loads(body)["messages"][-1]["content"]
        if "ate the answer" not in text:
            said, status = "The answer is 8.", 200
        else:
            said, status = "I cannot help with that.", 400 if self.fails else 200
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 8}
        answer = {"choices": [choice], "usage": usage} if status == 200 else {"error": {"message": "no"}}
        await reply(send, status, answer)


@pytest.mark.parametrize("kind", ["llm-rubric", "not-llm-rubric"])
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_judge_does_not_decide_counts_as_wrong(tmp_path: Path, kind: str, fails: bool) -> None:
    with served(Judges(fails=fails)) as url:
        path = suite(tmp_path, url, judge="good", expect=[{"of": "cheap", "score_at_least": 0.5}])
        row = {"question": "What is 4 + 4?", "assert": [{"type": kind, "value": "is polite"}]}
        (tmp_path / "q.jsonl").write_text("\n".join([json.dumps(row)] * 12))
        code, found = run(path)
    assert code == 1
    assert {each["passed"] for each in found["answers"]} == {False}
    assert found["configurations"][0]["undecided"] == 12
    assert all(("the judge gave no grade" in each["why"]) is fails for each in found["answers"])
    assert found["usd"] > 0
