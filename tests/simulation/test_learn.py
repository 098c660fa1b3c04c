"""An engine that is learned from its own requests, and predicts others."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InvalidArgument
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.learn import learn_engine
from orchestrator.simulation.observation import ObservedRequest
from orchestrator.simulation.replica import SimulatedReplica
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest
from orchestrator.simulation.workload import Length, Workload

DATA = Path(__file__).parents[2].parent / "shared/data/serving"
WORKLOAD = Workload(Length(900, 2_500), Length(300, 600))


def answered(engine: Engine, asked: list[SimulatedRequest]) -> list[SimulatedOutcome]:
    replica = SimulatedReplica(engine)
    outcomes = [replica.submit(request) for request in asked]
    replica.drain()
    return outcomes


def observed(
    asked: list[SimulatedRequest], outcomes: list[SimulatedOutcome], noise: float = 0.0
) -> list[ObservedRequest]:
    rng = random.Random(5)
    found = []
    for request, outcome in zip(asked, outcomes, strict=True):
        first = request.arrival_s + outcome.ttft_s * math.exp(rng.gauss(0, noise))
        last = first + (outcome.last_token_s - outcome.first_token_s) * math.exp(rng.gauss(0, noise))
        found.append(ObservedRequest(request, first, last))
    return found


@pytest.mark.parametrize(
    ("engine", "rate"),
    [
        pytest.param(Engine(0.02, 9e-5, 8e-5, 1.2e-7, kv_tokens=42_000), 10.0, id="short of memory"),
        pytest.param(Engine(0.03, 1.5e-4, 1e-4, 1.2e-7, max_sequences=64), 10.0, id="64 at once"),
        pytest.param(Engine(0.008, 3e-5, 3e-5, 2e-8, token_budget=8_192), 3.0, id="idle"),
    ],
)
def test_the_other_requests_are_predicted_from_the_first_hundred(engine: Engine, rate: float) -> None:
    asked = WORKLOAD.requests(rate, 300 / rate, seed=3)
    real = answered(engine, asked)
    learned = learn_engine(observed(asked[:100], real[:100], noise=0.01), asked[100:])
    predicted = answered(learned.engine, asked)
    for name in ("ttft_s", "per_token_s", "latency_s"):
        ours = np.mean([getattr(each, name) for each in predicted[100:]])
        theirs = np.mean([getattr(each, name) for each in real[100:]])
        assert ours == pytest.approx(theirs, rel=0.05)


def test_without_first_tokens_latencies_are_learned_alone() -> None:
    engine = Engine(0.02, 9e-5, 8e-5)
    asked = WORKLOAD.requests(1.0, 60.0, seed=1)
    seen = [replace(each, first_token_s=math.nan) for each in observed(asked, answered(engine, asked))]
    learned = learn_engine(seen)
    again = np.mean([each.latency_s for each in answered(learned.engine, asked)])
    assert again == pytest.approx(np.mean([each.last_token_s - each.request.arrival_s for each in seen]), rel=0.05)
    assert learned.ttft_error == 0.0


def test_limits_that_are_known_are_kept() -> None:
    engine = Engine(0.02, 9e-5, 8e-5, 1e-7, max_sequences=16)
    asked = WORKLOAD.requests(3.0, 40.0, seed=2)
    learned = learn_engine(observed(asked, answered(engine, asked)), known=replace(engine, step_s=1.0))
    assert learned.engine.max_sequences == 16
    assert learned.engine.step_s == pytest.approx(0.02, rel=0.3)


def test_too_few_requests_and_times_that_cannot_be_are_refused() -> None:
    asked = WORKLOAD.requests(1.0, 30.0)
    seen = observed(asked, answered(Engine(0.02, 9e-5), asked))
    with pytest.raises(InvalidArgument, match="from 3 requests"):
        learn_engine(seen[:3])
    with pytest.raises(InvalidArgument, match="request 2: its tokens come in no order"):
        learn_engine([*seen[:2], replace(seen[2], last_token_s=0.0), *seen[3:]])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="recorded runs are not at hand")
@pytest.mark.parametrize("name", ["RTX4090_Llama-3.1-8B", "RTXPRO6000_Qwen3-32B"])
def test_recorded_runs_of_a_real_engine_are_predicted(name: str) -> None:
    from benchmarks.simulate import recorded_run

    found = recorded_run(DATA / f"vllm_{name}.jsonl")
    assert found["mean_error"] <= 0.03
    assert found["p99_error"] <= 0.08
