"""Which tools to call: the engine decides from what recorded real models proposed, over HTTP.

`python -m benchmarks.tools --data DIR --json FILE`

A random 30 % of the questions calibrates; accuracy and cost are reported on the other 70 %, as means over five seeds.
The engine sees the questions, the tools, and what each model wanted called; the recorded grades are used for the
calibration split and for scoring. `ece` is the expected calibration error of the stated confidence in ten groups of
equal size, over all seeds. `at_fifth_cost_accuracy` is the accuracy of the policy that calibration chooses for a fifth
of the best single model's price. `own_ms_per_step` is the time that a step of an agent's run costs beside its model and
its tool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agent_steps import own_ms_per_step
from benchmarks.fleet import AT_ONCE, reliability
from benchmarks.output import write_json
from benchmarks.recorded_fleet import split
from orchestrator.backends.base import Backend, estimate_prompt_tokens
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.recorded import RecordedModel, load_recorded_calls
from orchestrator.backends.testing.simulated import question_key
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.router.profile import ModelProfile
from orchestrator.search.calibration.calibrate import Comparison, compare_policies
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.call_grading import grade_calls
from orchestrator.search.prompts import draft_messages
from orchestrator.search.vote_table import GradedQuestion
from orchestrator.types import Query, ToolCall

COST_SHARE, FIFTH = 0.45, 0.16  # of the best single model's price: what calibration may choose at most, in the mean


@dataclass(frozen=True)
class ToolFleet:
    """Everything on file; `right` and `usd` have shape (questions, models)."""

    questions: list[str]
    tools: list[list[dict[str, Any]]]
    categories: list[str]
    models: list[RecordedModel]
    right: np.ndarray[Any, np.dtype[np.bool_]]
    usd: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def names(self) -> list[str]:
        return [model.profile.name for model in self.models]


def load(folder: Path) -> ToolFleet:
    import pyarrow.parquet as parquet

    models = load_recorded_calls(folder)
    names = [model.profile.name for model in models]
    rows = parquet.read_table(folder / "tool_questions.parquet").to_pylist()
    row_of = {row["id"]: index for index, row in enumerate(rows)}
    right = np.zeros((len(rows), len(models)), dtype=bool)
    usd = np.zeros((len(rows), len(models)))
    for answer in parquet.read_table(folder / "tool_answers.parquet").to_pylist():
        row, column = row_of[answer["id"]], names.index(answer["model"])
        right[row, column] = bool(answer["correct"])
        price = models[column].profile.cost_usd(answer["prompt_tokens"], answer["output_tokens"])
        usd[row, column] = price or 0.0
    tools = [json.loads(row["tools"]) for row in rows]
    return ToolFleet([row["question"] for row in rows], tools, [row["category"] for row in rows], models, right, usd)


async def graded(fleet: ToolFleet, index: int, profiles: Sequence[ModelProfile]) -> GradedQuestion:
    """One question with what each model proposed, and the prices that the engine expects."""
    key = question_key(fleet.questions[index], fleet.tools[index])
    tokens = estimate_prompt_tokens(draft_messages(Query.parse(fleet.questions[index]), None), fleet.tools[index])
    replies = {model.profile.name: model.reply(key, 0) for model in fleet.models}
    return await grade_calls(
        fleet.questions[index],
        fleet.tools[index],
        {name: [ToolCall.parse(call) for call in reply.calls] for name, reply in replies.items()},
        dict(zip(fleet.names, fleet.right[index].tolist(), strict=True)),
        dict(zip(fleet.names, fleet.usd[index].tolist(), strict=True)),
        {p.name: p.cost_usd(tokens, p.output_tokens) or 0.0 for p in profiles},
    )


def profiles_of(fleet: ToolFleet, calibration: Sequence[int]) -> list[ModelProfile]:
    """What the engine knows of the models: prices, and how long their answers were on the calibration split."""
    found = []
    for model in fleet.models:
        replies = [model.reply(question_key(fleet.questions[i], fleet.tools[i]), 0) for i in calibration]
        length = statistics.fmean(reply.output_tokens for reply in replies)
        p = model.profile
        found.append(
            ModelProfile(p.name, p.input_usd_per_mtok, p.output_usd_per_mtok, output_tokens=length, ttft_s=0.0)
        )
    return found


async def answer_all(
    fleet: ToolFleet, profiles: Sequence[ModelProfile], fitted: Calibration, test: Sequence[int]
) -> list[tuple[bool, float, float, int]]:
    """Per question: right, USD, confidence, and how many models were asked."""
    gate = asyncio.Semaphore(AT_ONCE)
    with running_server(FleetApp(fleet.models, time_scale=0)) as url:
        backends: dict[str, Backend] = {p.name: RemoteBackend(p, base_url=url, model=p.name) for p in profiles}
        engine = Orchestrator(backends, max_tokens=2_048, **fitted.settings)

        async def one(index: int) -> tuple[bool, float, float, int]:
            async with gate:
                answer = await engine.answer(Query.parse(fleet.questions[index], tools=tuple(fleet.tools[index])))
            right = bool(fleet.right[index, fleet.names.index(answer.model)])
            return right, answer.cost_usd or 0.0, answer.confidence, len(answer.candidates)

        found = await asyncio.gather(*(one(index) for index in test))
        await engine.aclose()
    return found


def measure(fleet: ToolFleet, seeds: Sequence[int], cost_share: float) -> dict[str, Any]:
    runs = [measure_once(fleet, seed, cost_share) for seed in seeds]
    means = {
        name: round(statistics.fmean(run[name] for run in runs), 4)
        for name, value in runs[0].items()
        if isinstance(value, float)
    }
    error, groups = reliability(
        [p for run in runs for p in run["confidences"]], [ok for run in runs for ok in run["right"]]
    )
    kept = [{k: v for k, v in run.items() if k not in ("confidences", "right")} for run in runs]
    return {**means, "ece": round(error, 4), "reliability": groups, "per_seed": kept, "seeds": list(seeds)}


def measure_once(fleet: ToolFleet, seed: int, cost_share: float) -> dict[str, Any]:
    calibration, test = split(len(fleet.questions), seed)
    profiles = profiles_of(fleet, calibration)
    best_usd = _price_of_the_best(fleet, calibration)
    start = time.perf_counter()
    comparison = asyncio.run(_compared(fleet, calibration, profiles, best_usd))
    fitted_s = time.perf_counter() - start
    chosen = comparison.choose(cost_share * best_usd)
    results = asyncio.run(answer_all(fleet, profiles, chosen, test))
    cheap = comparison.choose(FIFTH * best_usd)
    at_fifth = asyncio.run(answer_all(fleet, profiles, cheap, test))
    single = fleet.right[test].mean(axis=0)
    usd = fleet.usd[test].mean(axis=0)
    best = max(range(len(single)), key=lambda column: (single[column], -usd[column]))
    by_category = {
        category: round(
            statistics.fmean(r[0] for r, i in zip(results, test, strict=True) if fleet.categories[i] == category), 4
        )
        for category in dict.fromkeys(fleet.categories)
    }
    return {
        "accuracy": float(np.mean([r[0] for r in results])),
        "cost_usd_per_1k": 1_000 * float(np.mean([r[1] for r in results])),
        "best_single_accuracy": float(single[best]),
        "best_single_cost_usd_per_1k": 1_000 * float(usd[best]),
        "at_fifth_cost_accuracy": float(np.mean([r[0] for r in at_fifth])),
        "at_fifth_cost_usd_per_1k": 1_000 * float(np.mean([r[1] for r in at_fifth])),
        "drafts_per_question": float(np.mean([r[3] for r in results])),
        "calibration_s": fitted_s,
        "by_category": by_category,
        "policy": chosen.policy.in_words,
        "confidences": [r[2] for r in results],
        "right": [r[0] for r in results],
    }


async def _compared(
    fleet: ToolFleet, calibration: Sequence[int], profiles: Sequence[ModelProfile], max_usd: float
) -> Comparison:
    questions = [await graded(fleet, index, profiles) for index in calibration]
    return compare_policies(questions, max_usd_per_query=max_usd)


def _price_of_the_best(fleet: ToolFleet, calibration: Sequence[int]) -> float:
    """USD for a question, of the single model that was most often right in calibration."""
    right, usd = fleet.right[calibration].mean(axis=0), fleet.usd[calibration].mean(axis=0)
    return float(usd[max(range(len(right)), key=lambda column: (right[column], -usd[column]))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--cost-share", type=float, default=COST_SHARE, help="of the best single model's price")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(load(arguments.data / "tools"), arguments.seeds, arguments.cost_share)
    write_json({**found, "own_ms_per_step": own_ms_per_step()}, arguments.json)


if __name__ == "__main__":
    main()
