"""Around the router: conversations, logs, replay, learned speed."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.router import ModelProfile, Outcome, Router, SuccessModel, choose
from orchestrator.router.features.conversation import judged_text, without_wrappers
from orchestrator.router.learning.explore import explore
from orchestrator.router.learning.outcomes import LogError, read_log
from orchestrator.router.learning.replay import ReplayedDecision, replay
from orchestrator.router.learning.train import train
from orchestrator.router.speed import Speed

PLAN = [
    ("user", "Derive the eigenvalues of the transfer matrix step by step."),
    ("assistant", "Here is a plan in five steps. Shall I go on?"),
]


@pytest.mark.parametrize("ask", ["yes", "Yes, do it.", "go on", "ok", "Now explain that again, please"])
def test_a_short_ask_that_refers_back_is_judged_with_what_it_refers_to(ask: str) -> None:
    judged = judged_text(ask, PLAN)
    assert "eigenvalues" in judged
    assert "Shall I go on?" in judged
    assert judged.endswith(ask)


@pytest.mark.parametrize(
    "ask", ["What is the capital of France?", "Write a poem about the sea and the wind over the harbour tonight."]
)
def test_a_self_contained_ask_stands_for_itself(ask: str) -> None:
    assert judged_text(ask, PLAN) == ask


def test_boilerplate_around_an_ask_does_not_count() -> None:
    tools = (
        "<tools>" + json.dumps([{"name": f"tool{i}", "description": "does a thing"} for i in range(200)]) + "</tools>"
    )
    assert judged_text(f"{tools}\nhi there") == "hi there"
    assert judged_text("hi there", [("system", "x" * 100_000)]) == "hi there"
    assert judged_text("hi there", [("system", "<tools>" + "x" * 100_000 + "</tools>")]) == "hi there"
    assert len(judged_text("yes", [("user", "a" * 10**6), ("assistant", "b" * 10**6)])) < 2_000
    assert judged_text("<tools>only a wrapper</tools>") == "<tools>only a wrapper</tools>"


def test_wrappers_are_cut_in_linear_time_whatever_the_text() -> None:
    assert without_wrappers("a <tools x='1'>b</tools> c <rules>d</RULES> e").split() == ["a", "c", "e"]
    assert without_wrappers("a < b and c > d") == "a < b and c > d"
    hostile = "<tools>" * 250_000 + "<rules>" + "</context>" * 1_000
    assert without_wrappers(hostile) == hostile
    assert without_wrappers("<tools></tools>" * 100_000 + "ask").strip() == "ask"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_logs_of_every_form_give_the_same_outcomes(tmp_path: Path) -> None:
    flat = write(
        tmp_path / "flat.jsonl",
        '{"query": "q", "model": "a", "score": 1}\n\n{"prompt": "q", "model": "b", "score": 0.5}\n',
    )
    nested = write(
        tmp_path / "n.jsonl",
        '{"messages": [{"role": "user", "content": "q"}], "outcomes": {"a": {"score": 1}, "b": 0.5, "c": null}}\n',
    )
    wide = write(tmp_path / "wide.csv", "prompt,a,b,a|total_cost,eval_name\nq,True,0.5,0.001,x\n")
    records = write(
        tmp_path / "r.json", json.dumps({"model_name": "a", "records": [{"origin_query": "q", "score": 1.0}]})
    )
    expected = {("q", "a", 1.0), ("q", "b", 0.5)}
    for path in (flat, nested, wide):
        assert {(o.query, o.model, o.score) for o in read_log(path).outcomes} == expected
    assert [(o.query, o.model, o.score) for o in read_log(records).outcomes] == [("q", "a", 1.0)]


def test_parquet_in_routellms_form(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = [{"prompt": "q", "mixtral": False, "gpt-4": True, "dataset": "mmlu", "query_id": 3}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert {(o.model, o.score) for o in read_log(tmp_path / "t.parquet").outcomes} == {("mixtral", 0.0), ("gpt-4", 1.0)}


def test_rows_without_outcomes_are_queries_without_labels(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "l.jsonl", '{"query": "only asked"}\n'))
    assert (log.outcomes, log.unlabelled) == ([], ["only asked"])


def test_a_graders_reliability_becomes_a_weight(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "l.jsonl", '{"query": "q", "model": "m", "score": 1, "reliability": 0.9}\n'))
    assert log.outcomes[0].weight == pytest.approx(0.64)
    for stated in ("0.5", "2", '"sure"'):
        with pytest.raises(LogError, match="reliability"):
            read_log(
                write(tmp_path / "l.jsonl", f'{{"query": "q", "model": "m", "score": 1, "reliability": {stated}}}\n')
            )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", "{broken\n", "a.jsonl:1: not JSON"),
        ("a.jsonl", "[]\n", "a.jsonl:1: not a JSON object"),
        (
            "a.jsonl",
            '{"query": "q", "model": "m", "score": 1}\n{"query": "q", "model": "m", "score": NaN}\n',
            "a.jsonl:2",
        ),
        ("a.jsonl", '{"query": "q", "model": "m", "score": 7}\n', "not a number in"),
        ("a.jsonl", '{"model": "m", "score": 1}\n', "no text under"),
        ("a.jsonl", "", "holds no rows"),
        ("a.json", "{}", "model_name"),
        ("a.pkl", "x", "logs end in"),
    ],
)
def test_logs_that_cannot_be_read_say_where(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(LogError, match=says):
        read_log(write(tmp_path / name, content))


def logged(n: int, seed: int) -> list[ReplayedDecision]:
    """A policy that explores: `a` with probability 0.7, `b` else. `b` is right more often, and dearer."""
    rng = np.random.default_rng(seed)
    decisions = []
    for number in range(n):
        model = "a" if rng.random() < 0.7 else "b"
        p = {"a": 0.6, "b": 0.8}[model]
        decisions.append(
            ReplayedDecision(
                f"q{number}",
                model,
                0.7 if model == "a" else 0.3,
                float(rng.random() < p),
                {"a": 0.001, "b": 0.01}[model],
            )
        )
    return decisions


@pytest.mark.parametrize("predicted", [0.2, 0.7, 0.95])
def test_replay_finds_the_truth_even_with_wrong_predictions(predicted: float) -> None:
    inside = 0
    for seed in range(40):
        found = replay(logged(800, seed), lambda _: "b", lambda *_: predicted, lambda *_: 0.005)
        assert found.quality.low is not None
        assert found.quality.high is not None
        inside += found.quality.low <= 0.8 <= found.quality.high
        assert found.cost_usd.value == pytest.approx(0.01, abs=0.002)
    assert inside >= 34  # 95 % intervals, 40 runs
    assert found.effective_decisions == pytest.approx(found.agreeing)
    assert 0 < found.agreeing < found.decisions


def test_a_prediction_that_no_decision_corrects_has_no_interval() -> None:
    for decisions in (logged(800, 0), logged(800, 0)[:1]):
        found = replay(decisions, lambda _: "another", lambda *_: 1.2, lambda *_: -0.005)
        assert (found.agreeing, found.quality.value, found.cost_usd.value) == (0, 1.0, 0.0)
        assert (found.quality.low, found.quality.high, found.cost_usd.low) == (None, None, None)


def test_replay_refuses_logs_without_propensities() -> None:
    with pytest.raises(ValueError, match="no logged decisions"):
        replay([], lambda _: "a", lambda *_: 0.5, lambda *_: 0.0)
    for propensity in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="propensity"):
            replay([ReplayedDecision("q", "a", propensity, 1.0, 0.0)], lambda _: "a", lambda *_: 0.5, lambda *_: 0.0)


def test_speed_moves_from_the_profile_to_what_is_observed_and_forgets() -> None:
    profile = ModelProfile("m", 1.0, 1.0, output_tokens=200, ttft_s=0.5, tokens_per_s=50)
    speed = Speed.of(profile)
    assert speed.apply(profile) == profile
    for _ in range(100):
        speed = speed.observe(ttft_s=0.1, decode_s=1.0, output_tokens=100)
    learned = speed.apply(profile)
    assert (learned.ttft_s, learned.tokens_per_s, learned.output_tokens) == pytest.approx((0.1, 100, 100), rel=0.1)
    for _ in range(300):
        speed = speed.observe(ttft_s=2.0, decode_s=4.0, output_tokens=100)
    assert speed.apply(profile).ttft_s == pytest.approx(2.0, rel=0.05)
    with pytest.raises(ValueError, match="finite"):
        speed.observe(ttft_s=float("nan"), decode_s=1.0, output_tokens=1)
    assert speed.observe(ttft_s=0.1, decode_s=0.0, output_tokens=0).apply(profile).tokens_per_s > 0


def test_exploration_is_bounded_and_its_propensities_are_true() -> None:
    fleet = [
        ModelProfile("a", 1.0, 1.0),
        ModelProfile("b", 1.2, 1.2),
        ModelProfile("dear", 99.0, 99.0),
        ModelProfile("weak", 0.5, 0.5),
        ModelProfile("x"),
    ]
    route = choose(fleet, {"a": 0.9, "b": 0.85, "dear": 0.99, "weak": 0.2, "x": 0.9}, quality=0.88)
    assert route.chosen == "a"
    rng = random.Random(0)
    drawn = [explore(route, rng, rate=0.2, most_extra_usd=0.001) for _ in range(5_000)]
    assert {e.model for e in drawn} == {"a", "b"}
    for name in ("a", "b"):
        propensity = next(e.propensity for e in drawn if e.model == name)
        assert sum(e.model == name for e in drawn) / 5_000 == pytest.approx(propensity, abs=0.02)
    assert explore(route, rng, rate=0.2, most_extra_usd=-1.0).propensity == 1.0
    with pytest.raises(ValueError, match="rate"):
        explore(route, rng, rate=1.0, most_extra_usd=1.0)
    with pytest.raises(ValueError, match="nothing to explore"):
        explore(choose([], {}), rng, rate=0.1, most_extra_usd=1.0)


def test_a_configuration_is_replayed_on_logged_decisions(tmp_path: Path) -> None:
    config = "models:\n  a: {provider: simulated, skill: 0.55, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.1}\n"
    config += (
        "  b: {provider: simulated, skill: 0.9, input_usd_per_mtok: 9, output_usd_per_mtok: 9}\nmemory: "
        "null\nquality: 0.999\n"
    )
    write(tmp_path / "new.yaml", config)
    lines = [
        json.dumps(
            {"query": d.query, "model": d.model, "propensity": d.propensity, "score": d.score, "cost_usd": d.cost_usd}
        )
        for d in logged(600, 1)
    ]
    log = write(tmp_path / "log.jsonl", "\n".join(lines))
    done = CliRunner().invoke(main, ["replay", str(log), "--policy", str(tmp_path / "new.yaml"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (
        found["quality"]["low"] <= 0.8 <= found["quality"]["high"]
    )  # the policy always takes `b`, which is right on 80 %
    assert found["logged_quality"] == pytest.approx(0.66, abs=0.06)
    assert "interval" in CliRunner().invoke(main, ["replay", str(log), "--policy", str(tmp_path / "new.yaml")]).stdout
    broken = write(tmp_path / "broken.jsonl", '{"query": "q", "model": "a", "score": 1, "cost_usd": 0}')
    refused = CliRunner().invoke(main, ["replay", str(broken), "--policy", str(tmp_path / "new.yaml")])
    assert refused.exit_code == 2
    assert "propensity is None" in refused.stderr


def test_a_short_system_message_counts_where_the_ask_does_not_say_what_to_do() -> None:
    system = [("system", "Prove the theorem that the user states, in full rigour.")]
    theorem = "Every bounded sequence of real numbers has a convergent subsequence."
    assert judged_text(theorem, system) == f"{system[0][1]}\n{theorem}"
    assert judged_text("What is the capital of France?", system) == "What is the capital of France?"


def lengths_log(n: int) -> list[Outcome]:
    """Essays are long and sums are short; the second model writes twice as much, a third has no known lengths."""
    rng = np.random.default_rng(0)
    outcomes = []
    for number in range(n):
        essay = number % 2 == 0
        query = (
            f"Write an essay about topic {number} and explain every detail of it."
            if essay
            else f"What is {number} plus 7?"
        )
        tokens = (600.0 if essay else 30.0) * float(rng.uniform(0.8, 1.25))
        outcomes += [
            Outcome(query, "brief", 1.0, output_tokens=tokens),
            Outcome(query, "wordy", 1.0, output_tokens=2 * tokens),
        ]
        outcomes.append(Outcome(query, "silent", 1.0))
    return outcomes


def test_expected_lengths_follow_the_query_and_the_model_and_move_the_price(tmp_path: Path) -> None:
    model = train(lengths_log(120), buckets=1 << 10)
    model.save(tmp_path)
    fleet = [ModelProfile(name, 1.0, 1.0) for name in ("brief", "wordy", "silent")]
    for success in (model, SuccessModel.load(tmp_path)):
        router = Router(success)
        essay, sum_ = (
            router.route(q, fleet)
            for q in ("Write an essay about topic 7 and explain every detail of it.", "What is 3 plus 7?")
        )
        costs = {o.model: o.cost_usd * 1e6 for o in essay.options if o.cost_usd is not None}
        assert costs["brief"] == pytest.approx(600, rel=0.3)
        assert costs["wordy"] == pytest.approx(1_200, rel=0.3)
        assert costs["silent"] == 250.0  # never measured: what its profile says
        assert (sum_.option("brief").cost_usd or 0) * 1e6 == pytest.approx(30, rel=0.5)
        assert essay.option("brief").latency_s > sum_.option("brief").latency_s
        assert router.route_many(["What is 3 plus 7?"], fleet)[0].option("brief") == sum_.option("brief")


def test_too_few_or_meaningless_lengths_leave_the_profiles_own() -> None:
    assert train(lengths_log(20), buckets=1 << 8).lengths is None
    rng = np.random.default_rng(1)
    noise = [Outcome(f"question number {i}?", "m", 1.0, output_tokens=float(rng.uniform(50, 500))) for i in range(100)]
    lengths = train(noise, buckets=1 << 8).lengths
    assert lengths is not None
    assert (
        np.abs(lengths.weights).max() < 0.05
    )  # nothing to be learned from the query: every one is about as long as the mean


@pytest.mark.parametrize("tokens", ["-1", '"many"', "1e999"])
def test_lengths_that_are_no_numbers_are_refused_with_their_place(tmp_path: Path, tokens: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"query": "q", "model": "m", "score": 1, "output_tokens": ' + tokens + "}", encoding="utf-8")
    with pytest.raises(LogError, match=r"log\.jsonl:1: the output tokens of 'm'"):
        read_log(log)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "prompt,small,large\na,1e0,50%\nb,0,1.0e+00\n", {"small": [1.0, 0.0], "large": [0.5, 1.0]}),
        ("a.csv", 'prompt;small;large\na;"0,5";yes\nb;wrong;No\n', {"small": [0.5, 0.0], "large": [1.0, 0.0]}),
        ("a.csv", "\ufeffprompt,qwen-max,temperature,latency_s\na,1,0.7,0.4\n", {"qwen-max": [1.0]}),
        ("a.csv", "prompt,small,large\na,1,\nb,NaN,0\n", {"small": [1.0], "large": [0.0]}),
        ("a.csv", f"prompt,small\n{'word ' * 60_000},1\n", {"small": [1.0]}),
        ("a.jsonl", '{"query": "a", "outcomes": [{"model": "small", "score": "100 %"}]}', {"small": [1.0]}),
        ("a.csv", 'query,outcomes\na,"{""small"": 0.25}"\n', {"small": [0.25]}),
        (
            "a.jsonl",
            '{"messages": [{"role": "user", "content": [{"text": "Hi?"}]}], "model": "m", "score": true}',
            {"m": [1.0]},
        ),
    ],
)
def test_logs_are_read_as_people_write_them(
    tmp_path: Path, name: str, content: str, expected: dict[str, list[float]]
) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / name).write_bytes(content.encode(encoding))
        found: dict[str, list[float]] = {}
        for outcome in read_log(tmp_path / name).outcomes:
            found.setdefault(outcome.model, []).append(outcome.score)
        assert found == expected


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"prompt,small\na,-1\n", "the score of 'small' is -1.0"),
        ("a.csv", b"prompt,small\na,150%\n", "the score of 'small' is 1.5"),
        ("a.csv", b"prompt,small\na,1,2,3\n", "more cells than the header"),
        ("a.jsonl", b'{"query": "a", "model": null, "score": 1}', "the model is None"),
        ("a.jsonl", b'{"query": "a", "outcomes": "x"}', "its outcomes are 'x'"),
        ("a.csv", "prompt,small\nGröße,1\n".encode("latin-1"), "not UTF-8 text"),
    ],
)
def test_what_is_no_score_is_told(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogError, match=re.escape(says)):
        read_log(tmp_path / name)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,small,temperature,answer\na,1,0.7,words\nb,,0.7,more words\n")
    assert read_log(tmp_path / "a.csv").left_out == {
        "column temperature: a measure, no model": 2,
        "column answer: text, no score": 2,
        "no score of small": 1,
    }
