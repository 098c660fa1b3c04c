"""The engine answers recorded questions from recorded real models, over HTTP: `python -m benchmarks.fleet --data DIR
--task gsm --json FILE`.

A random 30 % of the questions calibrates; accuracy and cost are reported on the other 70 %, as means over five seeds.
The engine sees only questions and the text of answers; the recorded grades are used for the calibration split and for
scoring. Every call goes through a real socket. `ece` is the expected calibration error of the stated confidence in ten
groups of equal size.

`baselines` are simple policies, chosen on the same questions and, but for `majority_K`, under the same price limit;
`frontier` says what other limits buy (replayed), with its own baselines beside each. Both are means over the seeds,
with the figures of each seed under `per_seed`. `accuracy_without_weakest` is the accuracy under the same limit once the
six models that were weakest in calibration are taken away.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet_chart import draw
from benchmarks.output import write_json
from benchmarks.recorded_fleet import Recorded, graded, load, only_models, split
from benchmarks.simple_policies import majorities, within
from orchestrator.backends.base import Backend, estimate_prompt_tokens
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.router.profile import ModelProfile
from orchestrator.search.calibration.calibrate import Comparison, compare_policies
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.policy_replay import replay_policy
from orchestrator.search.prompts import draft_messages
from orchestrator.search.vote_table import VoteTable
from orchestrator.types import Query

AT_ONCE = 16
BINS = 10
WEAKEST, FEWEST = 6, 3  # models taken away, and left
COST_SHARE = {"gsm": 1 / 7, "crux": 0.54}  # of the price of the best single model: what a task is asked to cost at most
DEFAULT_COST_SHARE = 0.6
FRONTIER_SHARES = (0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 1.0)


async def answer_all(
    recorded: Recorded, served: list[Any], fitted: Calibration, calibration: list[int], test: list[int]
) -> tuple[list[tuple[bool, float, float, float, int]], float]:
    """Per question: right, USD, confidence, seconds, drafts; and the wall time in seconds."""
    profiles = profiles_of(recorded, served, calibration)
    gate = asyncio.Semaphore(AT_ONCE)
    with running_server(FleetApp(served, time_scale=0)) as url:
        backends: dict[str, Backend] = {p.name: RemoteBackend(p, base_url=url, model=p.name) for p in profiles}
        engine = Orchestrator(backends, max_tokens=2_048, **fitted.settings)

        async def one(index: int) -> tuple[bool, float, float, float, int]:
            async with gate:
                answer = await engine.answer(recorded.questions[index])
            right = bool(recorded.right[index, recorded.models.index(answer.model)])
            return right, answer.cost_usd or 0.0, answer.confidence, answer.latency_s, len(answer.candidates)

        start = time.perf_counter()
        results = await asyncio.gather(*(one(index) for index in test))
        elapsed = time.perf_counter() - start
        await engine.aclose()
    return results, elapsed


def profiles_of(recorded: Recorded, served: list[Any], calibration: list[int]) -> list[ModelProfile]:
    """What the engine knows of the models: prices, and how long answers were on the calibration split."""
    lengths = recorded.output_tokens[calibration].mean(axis=0)
    return [
        ModelProfile(
            m.profile.name,
            m.profile.input_usd_per_mtok,
            m.profile.output_usd_per_mtok,
            output_tokens=float(tokens),
            ttft_s=0.0,
        )
        for m, tokens in zip(served, lengths, strict=True)
    ]


def compared(recorded: Recorded, served: list[Any], calibration: list[int], max_usd: float) -> Comparison:
    """All policies on the calibration questions, decided on the prices that the engine expects, which counts its prompt
    by itself.
    """
    profiles = profiles_of(recorded, served, calibration)
    expected = np.zeros(recorded.usd.shape)
    for index in calibration:
        tokens = estimate_prompt_tokens(draft_messages(Query.parse(recorded.questions[index]), None))
        expected[index] = [profile.cost_usd(tokens, profile.output_tokens) or 0.0 for profile in profiles]
    return compare_policies([graded(recorded, i, expected) for i in calibration], max_usd_per_query=max_usd)


def oracle(recorded: Recorded, test: list[int]) -> dict[str, float]:
    """The cheapest right model for each question, known in hindsight; where none is right, the cheapest."""
    usd, right = recorded.usd[test], recorded.right[test]
    cheapest = np.where(right, usd, np.inf).min(axis=1)
    spent = np.where(np.isfinite(cheapest), cheapest, usd.min(axis=1))
    return {
        "accuracy": round(float(right.any(axis=1).mean()), 4),
        "cost_usd_per_1k": round(1_000 * float(spent.mean()), 4),
    }


def reliability(confidence: list[float], right: list[bool]) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error over `BINS` groups of equal size (Naeini et al. 2015), and the groups."""
    order = np.argsort(confidence, kind="stable")
    groups = [part for part in np.array_split(order, BINS) if len(part)]
    rows = [
        {
            "confidence": float(np.mean([confidence[i] for i in part])),
            "accuracy": float(np.mean([right[i] for i in part])),
        }
        for part in groups
    ]
    error = sum(
        len(part) * abs(row["confidence"] - row["accuracy"]) for part, row in zip(groups, rows, strict=True)
    ) / len(order)
    return error, [{name: round(value, 4) for name, value in row.items()} for row in rows]


def frontier(
    recorded: Recorded, comparison: Comparison, calibration: list[int], test: list[int], best_usd: float
) -> list[dict[str, Any]]:
    """What the policies that calibration chooses for other price limits do on the test questions, and the baselines
    under the same limits.
    """
    table = VoteTable.of([graded(recorded, i) for i in test])
    questions = [recorded.questions[i] for i in test]
    found = []
    for share in FRONTIER_SHARES:
        limit = share * best_usd
        fitted = comparison.choose(limit)
        accuracy, usd = replay_policy(table, comparison.fleet, fitted.policy, questions).summary
        found.append(
            {
                "max_usd_per_1k": round(1_000 * limit, 4),
                "accuracy": round(accuracy, 4),
                "cost_usd_per_1k": round(1_000 * usd, 4),
                "expected_accuracy": round(fitted.expected_accuracy, 4),
                "baselines": within(recorded, calibration, test, 1_000 * limit),
            }
        )
    return found


def measure(recorded: Recorded, served: list[Any], *, seeds: list[int], cost_share: float) -> dict[str, Any]:
    runs = [measure_once(recorded, served, seed=seed, cost_share=cost_share) for seed in seeds]
    first = runs[0]
    means = {
        name: round(statistics.fmean(run[name] for run in runs), 4)
        for name, value in first.items()
        if isinstance(value, float)
    }
    error, groups = reliability(
        [c for run in runs for c in run["confidences"]], [ok for run in runs for ok in run["right"]]
    )
    rest = {name: value for name, value in first.items() if name not in ("confidences", "right")}
    together = {
        "calibration": [run["calibration"] for run in runs],
        "baselines": over_seeds([run["baselines"] for run in runs]),
        "frontier": [over_seeds(points) for points in zip(*(run["frontier"] for run in runs), strict=True)],
    }
    return {**rest, **means, **together, "ece": round(error, 4), "reliability": groups, "seeds": seeds}


def over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds that have a figure, name by name, each with the figures of the seeds beside it."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        found[name] = over_seeds(values) if isinstance(values[0], dict) else round(statistics.fmean(values), 4)
    if any(not isinstance(value, dict) for value in found.values()):
        found["per_seed"] = list(rows)
    return found


def measure_once(recorded: Recorded, served: list[Any], *, seed: int, cost_share: float) -> dict[str, Any]:
    calibration, test = split(len(recorded.questions), seed)
    best_usd = price_of_the_best(recorded, calibration)
    max_usd = cost_share * best_usd
    comparison = compared(recorded, served, calibration, max(max_usd, FRONTIER_SHARES[-1] * best_usd))
    fitted = comparison.choose(max_usd)
    results, elapsed = asyncio.run(answer_all(recorded, served, fitted, calibration, test))
    single = {
        name: {
            "accuracy": round(float(recorded.right[test, column].mean()), 4),
            "cost_usd_per_1k": round(1_000 * float(recorded.usd[test, column].mean()), 4),
        }
        for column, name in enumerate(recorded.models)
    }
    best = max(single.values(), key=lambda s: (s["accuracy"], -s["cost_usd_per_1k"]))
    return {
        "accuracy": round(statistics.fmean(r[0] for r in results), 4),
        "cost_usd_per_1k": round(1_000 * statistics.fmean(r[1] for r in results), 4),
        "best_single_accuracy": best["accuracy"],
        "best_single_cost_usd_per_1k": best["cost_usd_per_1k"],
        **without_weakest(recorded, served, calibration, test, max_usd),
        "models": single,
        "oracle": oracle(recorded, test),
        "mean_confidence": round(statistics.fmean(r[2] for r in results), 4),
        "drafts_per_query": round(statistics.fmean(r[4] for r in results), 3),
        "queries_per_s": round(len(test) / elapsed, 1),
        "calibration": {
            "seed": seed,
            "questions": len(calibration),
            "max_usd_per_1k": round(1_000 * max_usd, 4),
            "policy": str(fitted.policy),
            "spread": fitted.vote_model.spread,
            "concentration": round(fitted.vote_model.concentration, 4),
            "expected_accuracy": round(fitted.expected_accuracy, 4),
            "expected_usd_per_1k": round(1_000 * fitted.expected_usd, 4),
        },
        "test_questions": len(test),
        "baselines": {
            **majorities(recorded, calibration, test),
            **within(recorded, calibration, test, 1_000 * max_usd),
        },
        "frontier": frontier(recorded, comparison, calibration, test, best_usd),
        "confidences": [r[2] for r in results],
        "right": [r[0] for r in results],
    }


def without_weakest(
    recorded: Recorded, served: list[Any], calibration: list[int], test: list[int], max_usd: float
) -> dict[str, float]:
    """Accuracy and price when the models that were weakest in calibration are not there; nothing where too few would be
    left.
    """
    if len(recorded.models) < WEAKEST + FEWEST:
        return {}
    left = sorted(np.argsort(recorded.right[calibration].mean(axis=0), kind="stable")[WEAKEST:].tolist())
    strong = only_models(recorded, left)
    there = [served[column] for column in left]
    fitted = compared(strong, there, calibration, max_usd).choose(max_usd)
    results, _ = asyncio.run(answer_all(strong, there, fitted, calibration, test))
    return {
        "accuracy_without_weakest": round(statistics.fmean(r[0] for r in results), 4),
        "cost_usd_per_1k_without_weakest": round(1_000 * statistics.fmean(r[1] for r in results), 4),
    }


def price_of_the_best(recorded: Recorded, calibration: list[int]) -> float:
    """USD for a question, of the best single model; among those that the calibration split cannot tell from it (one
    standard error), the dearest.
    """
    accuracy = recorded.right[calibration].mean(axis=0)
    error = float(np.sqrt(accuracy.max() * (1 - accuracy.max()) / len(calibration)))
    return float(recorded.usd[calibration].mean(axis=0)[accuracy >= accuracy.max() - error].max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--task", default="gsm")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument(
        "--cost-share",
        type=float,
        help="mean price that calibration may choose, as a share of the best single model's [1/7 for gsm, 0.54 for "
        "crux, else 0.6]",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--chart", type=Path, help="a picture of the frontier and of the reliability (needs matplotlib)"
    )
    arguments = parser.parse_args()
    share = arguments.cost_share or COST_SHARE.get(arguments.task, DEFAULT_COST_SHARE)
    recorded, served = load(arguments.data / "fleet", arguments.task)
    found = measure(recorded, served, seeds=arguments.seeds, cost_share=share)
    write_json(found, arguments.json)
    if arguments.chart:
        draw(found, arguments.task, arguments.chart)


if __name__ == "__main__":
    main()
