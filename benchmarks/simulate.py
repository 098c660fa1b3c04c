"""How well simulated serving engines agree with real ones, and what the gateway's placement is worth.

`python -m benchmarks.simulate --data ../shared/data --json FILE`.

For each recorded run of vLLM (serving/vllm_*.jsonl) an engine is learned from requests 1 to 100 (the others give their
arrivals and lengths, not their times), and the means of time to first token, time per token and latency of requests 101
to 300 are predicted: `mean_error` is the largest of the three errors, `p99_error` that of the 99th percentiles.

`mooncake_replay_s`: seconds of one core for Mooncake's conversation trace on eight replicas with prefix caches.
`cache_aware_ttft_p90_ratio`: time to first token (p90) of least loaded over cache aware on the traffic of `llm_d`,
whose prefixes repeat; `..._at_rates` the same at 6, 8 and 10 requests a second without an end; `..._without_repeats`
the smallest at five rates where no prefix repeats.

`llm_d`: the published benchmark of llm-d (Llama-3.1-70B on four pods of four H100, 83 groups that share 8,000 tokens, a
question and an answer of 1,000, Poisson stages of 3 to 20 requests a second that each end before the next begins;
llm-d-kv-cache-manager, benchmarking/37-capacity). The memory is the published one. The seconds of a step were chosen by
the published time per token of the run with precise placement, those of a prompt token by the time to first token under
load, how much the approximate index remembers by its own run: the run with random placement and the waiting of the one
with precise placement are predicted.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_json
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.fleet import FleetRun, SimulatedFleet, simulate
from orchestrator.simulation.learn import LearnedEngine, learn_engine
from orchestrator.simulation.replica import SimulatedReplica
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest
from orchestrator.simulation.trace import RequestTrace, read_trace
from orchestrator.simulation.workload import Length, Workload

LEARNED = 100
# Llama-3.1-70B in 16 bits on four H100, about: 25 % of the weights' bandwidth is lost, 38 % of the arithmetic reached.
H100_70B = Engine(
    step_s=0.0115,
    prefill_token_s=9.9e-5,
    sequence_s=3e-5,
    context_token_s=3e-9,
    token_budget=8_192,
    max_sequences=256,
    kv_tokens=461_376,
    overhead_s=0.05,
)
STAGES = ((10, 25), (3, 210), (4, 180), (5, 120), (6, 120), (8, 90), (10, 70), (12, 60), (15, 50), (20, 50))
PIECE = 500  # tokens: both lengths are multiples of it
GROUPS, SHARED, QUESTION, ANSWER = 83, 8_000, 1_000, 1_000
APPROXIMATE_CHUNKS = 350
SEEDS = 5
PUBLISHED_S = {"precise": 0.275, "approximate": 7.5, "load": 78.0, "random": 85.0}
PUBLISHED_TOKENS_PER_S = {"precise": 5_650, "approximate": 5_096, "load": 3_018, "random": 2_895}
POLICIES: dict[str, dict[str, Any]] = {
    "precise": {"policy": "precise"},
    "approximate": {"policy": "cache_aware", "index_chunks": APPROXIMATE_CHUNKS},
    "load": {"policy": "least_loaded"},
    "random": {"policy": "random"},
}


@dataclass(frozen=True)
class Times:
    """Times of some requests, in seconds."""

    ttft: np.ndarray
    per_token: np.ndarray
    latency: np.ndarray

    @classmethod
    def of(cls, outcomes: Sequence[SimulatedOutcome]) -> Times:
        found = [each for each in outcomes if not each.refused]
        columns = ([getattr(each, name) for each in found] for name in ("ttft_s", "per_token_s", "latency_s"))
        return cls(*map(np.array, columns))

    def errors_against(self, real: Times) -> tuple[dict[str, float], dict[str, float]]:
        """(errors of the means, errors of the 99th percentiles), as shares of what was real."""
        means, p99s = {}, {}
        for name in ("ttft", "per_token", "latency"):
            ours, theirs = getattr(self, name), getattr(real, name)
            means[name] = round(float(ours.mean() / theirs.mean() - 1), 4)
            p99s[name] = round(float(np.percentile(ours, 99) / np.percentile(theirs, 99) - 1), 4)
        return means, p99s


def recorded_run(path: Path) -> dict[str, Any]:
    trace = read_trace(path)
    began = time.process_time()
    learned = learn_engine(trace.observed[:LEARNED], trace.requests[LEARNED:])
    learn_s = time.process_time() - began
    predicted, real = Times.of(_simulated(trace, learned)[LEARNED:]), _real(trace)
    means, p99s = predicted.errors_against(real)
    return {
        "mean_error": max(map(abs, means.values())),
        "p99_error": max(map(abs, p99s.values())),
        "mean_errors": means,
        "p99_errors": p99s,
        "learn_s": round(learn_s, 1),
        "engine": learned.as_dict()["engine"],
    }


def _simulated(trace: RequestTrace, learned: LearnedEngine) -> list[SimulatedOutcome]:
    replica = SimulatedReplica(learned.engine)
    outcomes = [replica.submit(request) for request in trace.requests]
    replica.drain()
    return outcomes


def _real(trace: RequestTrace) -> Times:
    rest = trace.observed[LEARNED:]
    outcomes = []
    for each in rest:
        request = each.request
        outcome = SimulatedOutcome(request.arrival_s, request.prompt_tokens, request.output_tokens)
        outcome.first_token_s, outcome.last_token_s = each.first_token_s, each.last_token_s
        outcomes.append(outcome)
    return Times.of(outcomes)


def mooncake(path: Path) -> dict[str, Any]:
    requests = read_trace(path).requests
    began = time.process_time()
    outcomes = simulate(requests, SimulatedFleet(H100_70B, 8, "cache_aware"))
    replay_s = time.process_time() - began
    ours, theirs = Times.of(outcomes), Times.of(simulate(requests, SimulatedFleet(H100_70B, 8, "least_loaded")))
    return {
        "mooncake_replay_s": round(replay_s, 2),
        "mooncake_requests": len(requests),
        "mooncake_ttft_p90_ratio": round(_p90(theirs) / _p90(ours), 3),
    }


def _p90(times: Times) -> float:
    return float(np.percentile(times.ttft, 90))


def placement() -> dict[str, Any]:
    """Cache aware against least loaded, with and without repeated prefixes, at several loads."""
    least, aware = (_published_traffic(policy=policy) for policy in ("least_loaded", "cache_aware"))
    repeated = [_ratio(Workload(Length(1_000, 1_500), Length(500, 800), GROUPS, SHARED), rate) for rate in (6, 8, 10)]
    without = [_ratio(Workload(Length(2_000, 6_000), Length(300, 700)), rate) for rate in (2, 6, 10, 14, 18)]
    return {
        "cache_aware_ttft_p90_ratio": round(least[0] / aware[0], 1),
        "cache_aware_ttft_p90_ratios_at_rates": [round(ratio, 2) for ratio in repeated],
        "cache_aware_ttft_p90_ratio_without_repeats": round(min(without), 3),
        "cache_aware_ttft_p90_ratios_without_repeats": [round(ratio, 3) for ratio in without],
    }


def _ratio(workload: Workload, rate: float) -> float:
    requests = workload.requests(rate, 240.0, seed=1)
    least, aware = (
        Times.of(simulate(requests, SimulatedFleet(H100_70B, 4, policy, expected_output=500)))
        for policy in ("least_loaded", "cache_aware")
    )
    return _p90(least) / _p90(aware)


def llm_d() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, stated in POLICIES.items():
        p90, tokens_per_s = _published_traffic(**stated)
        found[name] = {
            "ttft_p90_s": round(p90, 3),
            "published_s": PUBLISHED_S[name],
            "error": round(p90 / PUBLISHED_S[name] - 1, 3),
            "output_tokens_per_s": round(tokens_per_s),
            "published_tokens_per_s": PUBLISHED_TOKENS_PER_S[name],
        }
    return found


def _published_traffic(**stated: Any) -> tuple[float, float]:
    """(time to first token, p90; tokens a second), as means over seeds: near capacity much is luck."""
    fleet = SimulatedFleet(H100_70B, 4, chunk_tokens=PIECE, expected_output=ANSWER, **stated)
    found = [_staged(fleet, seed) for seed in range(SEEDS)]
    return float(np.mean([_p90(Times.of(outcomes)) for outcomes, _ in found])), float(
        np.mean([rate for _, rate in found])
    )


def _staged(fleet: SimulatedFleet, seed: int) -> tuple[list[SimulatedOutcome], float]:
    """The outcomes of all stages but the first, which fills the caches; and tokens a second, as the mean of stages."""
    rng, run = random.Random(seed), FleetRun(fleet, seed=seed)
    began, count, order = 0.0, 0, []
    outcomes: list[SimulatedOutcome] = []
    rates = []
    for number, (rate, seconds) in enumerate(STAGES):
        at, placed = began + rng.expovariate(rate), []
        while at < began + seconds:
            order = order or rng.sample(range(GROUPS * 3), GROUPS * 3)
            group, count = order.pop() % GROUPS, count + 1
            shared = tuple(group * 1_000 + piece for piece in range(SHARED // PIECE))
            own = tuple(-count * 1_000 - piece for piece in range(QUESTION // PIECE))
            placed.append(run.place(SimulatedRequest(at, SHARED + QUESTION, ANSWER, shared + own)))
            at += rng.expovariate(rate)
        ended = run.drain()
        if number:
            outcomes += placed
            rates.append(ANSWER * len(placed) / (ended - began))
        began = ended
    return outcomes, float(np.mean(rates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    serving = arguments.data / "serving"
    runs = {path.stem.removeprefix("vllm_"): recorded_run(path) for path in sorted(serving.glob("vllm_*.jsonl"))}
    result: dict[str, Any] = {"simulation": True, "runs": runs}
    result |= {f"{name}.{key}": run[key] for name, run in runs.items() for key in ("mean_error", "p99_error")}
    if runs:
        result["mean_error"] = {name: run["mean_error"] for name, run in runs.items()}
        result["p99_error"] = {name: run["p99_error"] for name, run in runs.items()}
    trace = serving / "mooncake_conversation.jsonl.gz"
    if trace.exists():
        result |= mooncake(trace)
    result |= placement()
    result["llm_d"] = llm_d()
    result["llm_d_error"] = max(abs(each["error"]) for each in result["llm_d"].values())
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
