"""The engine answers recorded questions from recorded real models, over HTTP: `python -m benchmarks.fleet --data DIR --task gsm --json FILE`.

A random 30 % of the questions calibrates; accuracy and cost are reported on the other 70 %, as means over five seeds. The engine sees only questions
and the text of answers; the recorded grades are used for the calibration split and for scoring. Every call goes through a real socket. `ece` is the
expected calibration error of the stated confidence in ten groups of equal size; `frontier` says what other prices buy (replayed), `baselines` what
fixed policies do, both of the first seed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_json
from orchestrator.backends.base import Backend
from orchestrator.backends.fleet_server import FleetApp, running_server
from orchestrator.backends.recorded import load_recorded
from orchestrator.backends.remote import RemoteBackend
from orchestrator.engine import Orchestrator
from orchestrator.search.calibrate import VALUES_USD, Calibration, GradedQuestion, calibrate, replay_search
from router import Router, SuccessModel
from router.calibration import logit
from router.profile import ModelProfile
from router.success import Ability
from verifiers import group_answers, read_answer

AT_ONCE = 16
BINS, FIRST_SEED = 10, 0
MAJORITIES = (3, 5, 11)
NOTHING = read_answer("")
COST_SHARE = {"gsm": 1 / 7}  # of the price of the best single model: what a task is asked to cost at most
DEFAULT_COST_SHARE = 0.6


@dataclass(frozen=True)
class Recorded:
    """Everything on file: `keys` (`None` for what is no answer), `right`, `usd` and `output_tokens` have shape (questions, models)."""

    questions: list[str]
    models: list[str]
    keys: list[list[str | None]]
    right: np.ndarray[Any, np.dtype[np.bool_]]
    usd: np.ndarray[Any, np.dtype[np.float64]]
    output_tokens: np.ndarray[Any, np.dtype[np.float64]]


def load(folder: Path, task: str) -> tuple[Recorded, list[Any]]:
    import pyarrow.parquet as parquet

    served = load_recorded(folder, task)
    profiles = {model.profile.name: model.profile for model in served}
    rows = parquet.read_table(folder / f"{task}_questions.parquet").to_pylist()
    row_of = {row["query_id"]: index for index, row in enumerate(rows)}
    questions = [row["prompt"] for row in rows]
    models = list(profiles)
    readings = [[NOTHING] * len(models) for _ in rows]
    right = np.zeros((len(rows), len(models)), dtype=bool)
    usd = np.zeros((len(rows), len(models)))
    output_tokens = np.zeros((len(rows), len(models)))
    for answer in parquet.read_table(folder / f"{task}_answers.parquet").to_pylist():
        row, column = row_of[answer["query_id"]], models.index(answer["model"])
        readings[row][column] = read_answer(answer["output"] or "", questions[row])
        right[row, column] = bool(answer["correct"])
        usd[row, column] = profiles[answer["model"]].cost_usd(answer["input_tokens"], answer["output_tokens"]) or 0.0
        output_tokens[row, column] = answer["output_tokens"]
    keys = [list(group_answers(said, question).keys) for said, question in zip(readings, questions, strict=True)]
    return Recorded(questions, models, keys, right, usd, output_tokens), served


def split(n: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the calibration 30 % and of the test 70 %."""
    order = np.random.default_rng(seed).permutation(n)
    cut = round(0.3 * n)
    return order[:cut].tolist(), order[cut:].tolist()


def graded(recorded: Recorded, index: int) -> GradedQuestion:
    models = recorded.models
    return GradedQuestion(
        dict(zip(models, recorded.keys[index], strict=True)),
        dict(zip(models, recorded.right[index].tolist(), strict=True)),
        dict(zip(models, recorded.usd[index].tolist(), strict=True)),
    )


async def answer_all(
    recorded: Recorded, served: list[Any], fitted: Calibration, calibration: list[int], test: list[int]
) -> tuple[list[tuple[bool, float, float, float, int]], float]:
    """Per question: right, USD, confidence, seconds, drafts; and the wall time in seconds."""
    lengths = recorded.output_tokens[calibration].mean(axis=0)  # how long answers are is learned from the calibration split, too
    profiles = [
        ModelProfile(m.profile.name, m.profile.input_usd_per_mtok, m.profile.output_usd_per_mtok, output_tokens=float(tokens), ttft_s=0.0)
        for m, tokens in zip(served, lengths, strict=True)
    ]
    router = Router(SuccessModel(abilities={name: Ability(logit(p), 0.0) for name, p in fitted.p_success.items()}))
    gate = asyncio.Semaphore(AT_ONCE)
    with running_server(FleetApp(served, time_scale=0)) as url:
        backends: dict[str, Backend] = {p.name: RemoteBackend(p, base_url=url, model=p.name) for p in profiles}
        engine = Orchestrator(
            backends,
            router=router,
            vote_model=fitted.vote_model,
            value_usd=fitted.value_usd,
            quality=1.0,
            strategy="adaptive",
            max_tokens=2_048,
        )

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


def oracle(recorded: Recorded, test: list[int]) -> dict[str, float]:
    """The cheapest right model for each question, known in hindsight; where none is right, the cheapest."""
    usd, right = recorded.usd[test], recorded.right[test]
    cheapest = np.where(right, usd, np.inf).min(axis=1)
    spent = np.where(np.isfinite(cheapest), cheapest, usd.min(axis=1))
    return {"accuracy": round(float(right.any(axis=1).mean()), 4), "cost_usd_per_1k": round(1_000 * float(spent.mean()), 4)}


def reliability(confidence: list[float], right: list[bool]) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error over `BINS` groups of equal size (Naeini et al. 2015), and the groups."""
    order = np.argsort(confidence, kind="stable")
    groups = [part for part in np.array_split(order, BINS) if len(part)]
    rows = [
        {"confidence": float(np.mean([confidence[i] for i in part])), "accuracy": float(np.mean([right[i] for i in part]))}
        for part in groups
    ]
    error = sum(len(part) * abs(row["confidence"] - row["accuracy"]) for part, row in zip(groups, rows, strict=True)) / len(order)
    return error, [{name: round(value, 4) for name, value in row.items()} for row in rows]


def frontier(recorded: Recorded, fitted: Calibration, test: list[int]) -> list[dict[str, float]]:
    questions = [graded(recorded, i) for i in test]
    found = []
    for value_usd in VALUES_USD[::4]:
        accuracy, usd = replay_search(questions, fitted.p_success, fitted.cost_usd, fitted.vote_model, value_usd).summary
        found.append({"value_usd": round(value_usd, 5), "accuracy": round(accuracy, 4), "cost_usd_per_1k": round(1_000 * usd, 4)})
    return found


def baselines(recorded: Recorded, calibration: list[int], test: list[int], max_usd_per_1k: float) -> dict[str, dict[str, float]]:
    """Majorities of the 3, 5 and 11 models that were best in calibration (ties go to the better), and the best fixed cascade of three by calibration:
    if the first two agree, their answer, else the third's, within the price limit.
    """
    by_accuracy = np.argsort(-recorded.right[calibration].mean(axis=0), kind="stable").tolist()
    found = {
        f"majority_{k}": _summary([_majority(recorded, i, by_accuracy[:k]) for i in test]) for k in MAJORITIES if k <= len(by_accuracy)
    }
    tried = []
    for cascade in permutations(range(len(recorded.models)), 3):
        accuracy, usd = np.mean([_cascade(recorded, i, cascade) for i in calibration], axis=0)
        if cascade[0] < cascade[1] and 1_000 * usd <= max_usd_per_1k:
            tried.append((accuracy, -usd, cascade))
    if tried:
        found["agreement_cascade"] = _summary([_cascade(recorded, i, max(tried)[2]) for i in test])
    return found


def _majority(recorded: Recorded, question: int, models: list[int]) -> tuple[bool, float]:
    keys = recorded.keys[question]
    votes = Counter(keys[m] for m in models if keys[m] is not None)
    winner = next((m for m in models if keys[m] is not None and votes[keys[m]] == max(votes.values())), models[0])
    return bool(recorded.right[question, winner]), float(recorded.usd[question, models].sum())


def _cascade(recorded: Recorded, question: int, models: Sequence[int]) -> tuple[bool, float]:
    first, second, third = models
    agree = recorded.keys[question][first] == recorded.keys[question][second] is not None
    asked = [first, second] if agree else [first, second, third]
    return bool(recorded.right[question, first if agree else third]), float(recorded.usd[question, asked].sum())


def _summary(outcomes: list[tuple[bool, float]]) -> dict[str, float]:
    accuracy, usd = np.mean(outcomes, axis=0)
    return {"accuracy": round(float(accuracy), 4), "cost_usd_per_1k": round(1_000 * float(usd), 4)}


def measure(recorded: Recorded, served: list[Any], *, seeds: list[int], cost_share: float) -> dict[str, Any]:
    runs = [measure_once(recorded, served, seed=seed, cost_share=cost_share) for seed in seeds]
    first = runs[0]
    means = {name: round(statistics.fmean(run[name] for run in runs), 4) for name, value in first.items() if isinstance(value, float)}
    error, groups = reliability([c for run in runs for c in run["confidences"]], [ok for run in runs for ok in run["right"]])
    rest = {name: value for name, value in first.items() if name not in ("confidences", "right")}
    return {**rest, **means, "ece": round(error, 4), "reliability": groups, "seeds": seeds}


def measure_once(recorded: Recorded, served: list[Any], *, seed: int, cost_share: float) -> dict[str, Any]:
    calibration, test = split(len(recorded.questions), seed)
    max_usd_per_1k = 1_000 * cost_share * price_of_the_best(recorded, calibration)
    fitted = calibrate([graded(recorded, i) for i in calibration], max_usd_per_query=max_usd_per_1k / 1_000)
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
        "models": single,
        "oracle": oracle(recorded, test),
        "mean_confidence": round(statistics.fmean(r[2] for r in results), 4),
        "drafts_per_query": round(statistics.fmean(r[4] for r in results), 3),
        "queries_per_s": round(len(test) / elapsed, 1),
        "calibration": {
            "seed": seed,
            "questions": len(calibration),
            "max_usd_per_1k": round(max_usd_per_1k, 4),
            "spread": fitted.vote_model.spread,
            "concentration": fitted.vote_model.concentration,
            "value_usd": round(fitted.value_usd, 6),
            "replayed_accuracy": round(fitted.expected_accuracy, 4),
            "replayed_usd_per_1k": round(1_000 * fitted.expected_usd, 4),
        },
        "test_questions": len(test),
        "baselines": baselines(recorded, calibration, test, max_usd_per_1k) if seed == FIRST_SEED else {},
        "frontier": frontier(recorded, fitted, test) if seed == FIRST_SEED else [],
        "confidences": [r[2] for r in results],
        "right": [r[0] for r in results],
    }


def price_of_the_best(recorded: Recorded, calibration: list[int]) -> float:
    """USD for a question, of the best single model; among those that the calibration split cannot tell from it (one standard error), the dearest."""
    accuracy = recorded.right[calibration].mean(axis=0)
    error = float(np.sqrt(accuracy.max() * (1 - accuracy.max()) / len(calibration)))
    return float(recorded.usd[calibration].mean(axis=0)[accuracy >= accuracy.max() - error].max())


def draw(found: dict[str, Any], task: str, file: Path) -> None:
    """Left: accuracy by price of everything measured, the oracle aside. Right: how often answers are right by how much they are believed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (frontier_axes, reliability_axes) = pyplot.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained")

    def points(rows: dict[str, dict[str, float]], marker: str, colour: str, label: str) -> None:
        frontier_axes.scatter(
            [row["cost_usd_per_1k"] for row in rows.values()],
            [row["accuracy"] for row in rows.values()],
            marker=marker,
            color=colour,
            label=label,
        )
        for name, row in rows.items():
            at = row["cost_usd_per_1k"], row["accuracy"]
            short = re.sub(r"^Meta-|-Inst\w*|-20\d+(-\d\d)*|-0\d{3}$", "", name)
            frontier_axes.annotate(
                short,
                at,
                fontsize=7,
                color=colour,
                rotation=-35,
                va="top",
                xytext=(3, -3),
                textcoords="offset points",
                annotation_clip=True,
            )

    points(found["models"], "o", "tab:gray", "single models")
    points(found["baselines"], "s", "tab:orange", "fixed policies")
    curve = sorted((row["cost_usd_per_1k"], row["accuracy"]) for row in found["frontier"])
    frontier_axes.plot(*zip(*curve, strict=True), "-", color="tab:blue", label="this engine, by what a right answer is worth (replayed)")
    frontier_axes.scatter(
        [found["cost_usd_per_1k"]], [found["accuracy"]], marker="*", s=180, color="tab:blue", label="this engine, measured over HTTP"
    )
    best = found["best_single_accuracy"]
    frontier_axes.set(
        xscale="log",
        xlabel="USD for 1,000 questions",
        ylabel="accuracy",
        title=f"{task}: accuracy by price",
        ylim=(best - 0.2, best + 0.03),
    )
    frontier_axes.legend(loc="lower right", fontsize=8)
    frontier_axes.grid(alpha=0.3)
    stated, right = ([row[name] for row in found["reliability"]] for name in ("confidence", "accuracy"))
    low = min(*stated, *right) - 0.03
    reliability_axes.plot((low, 1), (low, 1), "--", color="tab:gray", label="as stated")
    reliability_axes.plot(stated, right, "o-", color="tab:blue", label=f"tenths of the answers, ECE {found['ece']:.3f}")
    reliability_axes.set(xlabel="stated confidence", ylabel="share that is right", title="reliability")
    reliability_axes.legend(fontsize=8)
    reliability_axes.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--task", default="gsm")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument(
        "--cost-share",
        type=float,
        help="mean price that calibration may choose, as a share of the best single model's [1/7 for gsm, else 0.6]",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--chart", type=Path, help="a picture of the frontier and of the reliability (needs matplotlib)")
    arguments = parser.parse_args()
    share = arguments.cost_share or COST_SHARE.get(arguments.task, DEFAULT_COST_SHARE)
    recorded, served = load(arguments.data / "fleet", arguments.task)
    found = measure(recorded, served, seeds=arguments.seeds, cost_share=share)
    write_json(found, arguments.json)
    if arguments.chart:
        draw(found, arguments.task, arguments.chart)


if __name__ == "__main__":
    main()
