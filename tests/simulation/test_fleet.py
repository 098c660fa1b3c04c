"""Many engines: policies, sizes, traces, and the command."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.fleet import POLICIES, SimulatedFleet, simulate
from orchestrator.simulation.fleet_file import load_fleet
from orchestrator.simulation.request import SimulatedRequest
from orchestrator.simulation.sizing import estimated_replicas, meets, needed_replicas, simulated_slice
from orchestrator.simulation.summary import SimulationSummary, summarize
from orchestrator.simulation.trace import read_trace
from orchestrator.simulation.workload import Length, Workload

ENGINE = Engine(0.012, 1e-4, 3e-5, 3e-9, token_budget=8_192, max_sequences=256, kv_tokens=200_000)
REPEATS = Workload(Length(500, 500), Length(100, 200), groups=60, shared_tokens=8_192)
DISTINCT = Workload(Length(1_500, 4_000), Length(200, 500))


def summary(workload: Workload, policy: str, rate: float, replicas: int = 4) -> SimulationSummary:
    found = summarize(simulate(workload.requests(rate, 120.0, seed=1), SimulatedFleet(ENGINE, replicas, policy)))
    assert found is not None
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_answers_every_request_once(policy: str) -> None:
    asked = replace(REPEATS, turns=3.0).requests(6.0, 60.0, seed=2)
    outcomes = simulate(asked, SimulatedFleet(ENGINE, 4, policy))
    assert len(outcomes) == len(asked)
    for request, outcome in zip(asked, outcomes, strict=True):
        assert outcome.arrival_s == request.arrival_s
        assert outcome.output_tokens == request.output_tokens
        assert request.arrival_s < outcome.first_token_s <= outcome.last_token_s < math.inf


def test_where_prefixes_repeat_placement_by_cache_is_much_better_and_elsewhere_no_worse() -> None:
    assert summary(REPEATS, "cache_aware", 9.0).ttft_s.p90 < summary(REPEATS, "least_loaded", 9.0).ttft_s.p90 / 5
    for rate in (2.0, 8.0, 14.0):
        aware, least = (summary(DISTINCT, policy, rate).ttft_s.mean for policy in ("cache_aware", "least_loaded"))
        assert aware <= least / 0.95


def test_an_index_that_forgets_is_worse_than_one_that_is_told() -> None:
    asked = REPEATS.requests(9.0, 120.0, seed=1)
    small, told = (
        np.mean([each.ttft_s for each in simulate(asked, SimulatedFleet(ENGINE, 4, policy, index_chunks=chunks))])
        for policy, chunks in (("cache_aware", 60), ("precise", 0))
    )
    assert told < small


def test_sessions_stay_on_their_replica() -> None:
    asked = replace(DISTINCT, turns=4.0, pause_s=2.0).requests(4.0, 60.0, seed=4)
    places: dict[str, set[int]] = {}
    for request, outcome in zip(asked, simulate(asked, SimulatedFleet(ENGINE, 4, "session")), strict=True):
        places.setdefault(request.session, set()).add(outcome.replica)
    assert max(map(len, places.values())) == 1
    assert len(set.union(*places.values())) == 4


def test_a_disaggregated_fleet_writes_without_being_held_up() -> None:
    assert (
        summary(DISTINCT, "disaggregated", 10.0).per_token_s.p95
        < summary(DISTINCT, "least_loaded", 10.0).per_token_s.p95
    )


def test_the_same_seed_gives_the_same_simulation() -> None:
    one, other = (
        simulate(DISTINCT.requests(5.0, 30.0, seed=7), SimulatedFleet(ENGINE, 3, "random"), seed=7) for _ in range(2)
    )
    assert [each.last_token_s for each in one] == [each.last_token_s for each in other]


def test_the_smallest_fleet_that_meets_a_target_is_found() -> None:
    targets = {"ttft_p95_s": 1.0}
    sized, _ = needed_replicas(DISTINCT, SimulatedFleet(ENGINE, 1, "least_loaded"), 30.0, 60.0, targets)
    assert meets(sized.summary, targets)
    fewer, _ = simulated_slice(
        DISTINCT, SimulatedFleet(ENGINE, sized.replicas - 1, "least_loaded"), 30.0, 60.0, targets
    )
    assert not fewer.meets_targets


def test_a_large_fleet_is_a_multiple_of_a_slice() -> None:
    small, _ = simulated_slice(DISTINCT, SimulatedFleet(ENGINE, 16, "least_loaded"), 60.0, 60.0, {})
    large, _ = simulated_slice(DISTINCT, SimulatedFleet(ENGINE, 16_000, "least_loaded"), 60_000.0, 60.0, {})
    assert large.simulated_replicas == 16
    assert large.summary.latency_s.mean == pytest.approx(small.summary.latency_s.mean, rel=0.01)
    assert estimated_replicas(DISTINCT, ENGINE, 1e6) > 1_000


def test_targets_that_nothing_meets_are_told() -> None:
    with pytest.raises(InvalidArgument, match="do not meet ttft_p95_s"):
        needed_replicas(DISTINCT, SimulatedFleet(ENGINE, 1, "least_loaded"), 1.0, 20.0, {"ttft_p95_s": 0.001})


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"policy": "cache"}, "no policy 'cache'"),
        ({"replicas": 0}, "cannot have 0"),
        ({"policy": "disaggregated", "replicas": 1}, "cannot have 1"),
        ({"replicas": 2, "prefill_replicas": 2}, "cannot read prompts alone"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(stated: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        SimulatedFleet(ENGINE, **stated)  # type: ignore[arg-type]


def test_requests_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="order of their arrivals"):
        simulate([SimulatedRequest(2.0, 5, 5), SimulatedRequest(1.0, 5, 5)], SimulatedFleet(ENGINE, 1))


# Traces


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_published_traces_are_read_in_their_own_words(tmp_path: Path) -> None:
    mooncake = tmp_path / "m.jsonl.gz"
    rows = [{"timestamp": 1_000 * n, "input_length": 900, "output_length": 5, "hash_ids": [0, n + 1]} for n in range(3)]
    mooncake.write_bytes(gzip.compress(lines(*rows).encode()))
    assert [each.arrival_s for each in read_trace(mooncake).requests] == [0, 1, 2]
    assert read_trace(mooncake).requests[1].chunks == (0, 2)
    azure = tmp_path / "a.csv"
    azure.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0,3180,8\n"
    )
    found = read_trace(azure)
    assert [each.prompt_tokens for each in found.requests] == [4_808, 3_180]
    assert found.requests[1].arrival_s == pytest.approx(0.02004, abs=1e-6)
    assert not found.observed


def test_two_clocks_become_one(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(
        lines(
            {
                "input_toks": 9,
                "output_toks": 2,
                "arrival_time": 1e9,
                "queued_ts": 50.0,
                "first_token_ts": 51.0,
                "last_token_ts": 52.0,
            },
            {
                "input_toks": 9,
                "output_toks": 2,
                "arrival_time": 1e9 + 1,
                "queued_ts": 51.3,
                "first_token_ts": 53.0,
                "last_token_ts": 54.0,
            },
        )
    )
    observed = read_trace(path).observed
    assert [each.first_token_s - each.request.arrival_s for each in observed] == pytest.approx([1.0, 2.0])


def test_own_records_say_times_by_their_length(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text(lines({"at": 7.0, "prefill_tokens": 9, "output_tokens": 2, "ttft_s": 0.5, "latency_s": 2.0}))
    (each,) = read_trace(path).observed
    assert (each.first_token_s, each.last_token_s) == (0.5, 2.0)


def test_rows_with_gaps_are_counted_and_too_many_are_an_error(tmp_path: Path) -> None:
    good = {"at": 1.0, "prompt_tokens": 9, "output_tokens": 2}
    path = tmp_path / "t.jsonl"
    path.write_text(lines(*[good] * 20, {"at": 1.0, "prompt_tokens": 9}))
    found = read_trace(path)
    assert (len(found.requests), found.skipped) == (20, 1)
    assert found.first_skipped.startswith("line 21: no number of tokens (output_tokens")
    path.write_text(lines(good, {"at": "soon", "prompt_tokens": 9, "output_tokens": 2}))
    with pytest.raises(InvalidArgument, match=r"1 of 2 rows cannot be used \(line 2: at is no time: 'soon'\)"):
        read_trace(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no rows"),
        (b"{]\n", "t.jsonl:1: not JSON"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a,b\n1,2\n", "1 of 1 rows"),
    ],
)
def test_what_is_no_trace_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=told):
        read_trace(path)


# The command

FLEET = """
engine: {step_s: 0.012, prefill_token_s: 1.0e-4, sequence_s: 3.0e-5, max_sequences: 256, kv_tokens: 200000}
replica_usd_per_hour: 12
targets: {ttft_p95_s: 1.0}
workload: {prompt_tokens: 900, prompt_tokens_p90: 2000, output_tokens: 100, groups: 10, shared_tokens: 2048}
"""


def test_the_command_says_that_it_simulates_how_many_are_needed_and_what_they_cost(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    chart = tmp_path / "chart.svg"
    run = CliRunner().invoke(
        main, ["simulate", str(tmp_path / "fleet.yaml"), "--rate", "20", "--seconds", "30", "--chart", str(chart)]
    )
    assert run.exit_code == 0, run.output
    assert run.stdout.startswith("SIMULATION of 20 requests a second")
    assert all(len(line) <= 80 for line in run.stdout.splitlines())
    assert "(simulation)" in chart.read_text()
    ElementTree.fromstring(chart.read_text())
    found = CliRunner().invoke(
        main, ["simulate", str(tmp_path / "fleet.yaml"), "--rate", "20", "--seconds", "30", "--json"]
    )
    told = json.loads(found.stdout)
    assert told["simulation"] is True
    least, aware = told["policies"]
    assert aware["replicas"] <= least["replicas"]
    assert least["usd_per_hour"] == 12 * least["replicas"]
    assert least["meets_targets"] is True


def test_a_trace_that_is_too_slow_for_its_gaps_is_noted(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    rows = [{"at": at, "prompt_tokens": 900, "output_tokens": 10} for at in (0.0, 1.0, 5_000.0)]
    (tmp_path / "t.jsonl").write_text(lines(*rows))
    run = CliRunner().invoke(
        main, ["simulate", str(tmp_path / "fleet.yaml"), "--trace", str(tmp_path / "t.jsonl"), "--json"]
    )
    assert json.loads(run.stdout)["notes"] == ["the trace has a gap of 4,999 s without requests"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("engine: {step_s: 0.01}\n", "say how many replicas there are"),
        ("engine: {step_s: 0.01, learn: x.jsonl}\nreplicas: 2\n", "f.yaml:1:9: an engine has its numbers"),
        (
            "engine: {step_s: 0.01}\nreplicas: 2\npolices: [random]\n",
            "f.yaml:3:1: unknown field 'polices'. Did you mean 'policies'",
        ),
        ("engine: {step_s: 0.01}\ntargets: {ttft_p96_s: 1}\n", "no target 'ttft_p96_s'"),
        ("engine: {step_s: -1}\nreplicas: 2\n", "f.yaml:1:18: "),
        ("", "empty or not a mapping"),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_fleet(tmp_path / "f.yaml")
    assert told in str(raised.value)


def test_a_file_that_is_not_there_and_a_command_without_requests_are_told(tmp_path: Path) -> None:
    run = CliRunner().invoke(main, ["simulate", str(tmp_path / "none.yaml"), "--rate", "1"])
    assert (run.exit_code, "No such file" in run.stderr) == (2, True)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    run = CliRunner().invoke(main, ["simulate", str(tmp_path / "fleet.yaml")])
    assert "Give --trace FILE or --rate NUMBER" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rate", "5", "--speed", "2"], "--speed plays a trace faster, and there is none"),
        (["--trace", "t.jsonl", "--replicas", "3000000"], "at most 4,096 replicas, not 3,000,000"),
        (["--trace", "t.jsonl", "--rate", "5"], "a trace and a rate exclude each other"),
    ],
)
def test_options_that_cannot_be_meant_are_told(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "t.jsonl").write_text(lines({"arrival": 1.0, "prompt_tokens": 9, "output_tokens": 2}))
    given = [str(tmp_path / each) if each == "t.jsonl" else each for each in arguments]
    result = CliRunner().invoke(main, ["simulate", str(tmp_path / "fleet.yaml"), *given])
    assert result.exit_code
    assert told in result.stderr


def test_a_large_rate_is_printed_as_a_number(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    result = CliRunner().invoke(main, ["simulate", str(tmp_path / "fleet.yaml"), "--rate", "100000"])
    assert "100,000 requests a second" in result.output
