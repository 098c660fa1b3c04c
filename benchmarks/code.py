"""Choosing one of 100 programs that a model wrote, with nothing but tests that it wrote itself.

`python -m benchmarks.code --data DIR --json FILE`.

The 82 even-numbered problems of HumanEval with recorded samples of CodeGen-Mono-16B (the data of CodeT, Chen et al.
2022). All runs in the sandbox. The reference tests only score. Ties count with their mean. `executions` are evaluations
of one expression in one program; dual execution agreement runs every sample on every test, as the paper does.
`quarter_budget` may use a quarter of that. `top20_accuracy` is how often the surest fifth of the choices is right,
`top20_stated` how sure they are said to be.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator.verifiers.code.behaviour import BehaviourVote, suggested_tests, vote_by_behaviour
from orchestrator.verifiers.code.unit_tests import evaluate
from orchestrator.verifiers.sandbox import Limits, Sandbox

CONFIDENT_SHARE = 0.2
REFERENCE_LIMITS = Limits(wall_s=5.0, cpu_s=5)


def load(data: Path) -> list[dict[str, Any]]:
    path = data / "code" / "humaneval_codegen16b_even.jsonl.gz"
    if not path.exists():
        sys.exit(f"{path} not found: pass the data folder with --data")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


async def is_right(program: str, problem: dict[str, Any], sandbox: Sandbox) -> bool:
    scored = f"{program}\n{problem['reference_test']}\ncheck({problem['entry_point']})\n"
    return (await sandbox.run(scored, REFERENCE_LIMITS)).finished


async def dual_agreement(programs: Sequence[str], tests: Counter[str], sandbox: Sandbox) -> tuple[tuple[int, ...], int]:
    """CodeT: groups of programs that pass the same tests, scored by size x tests passed.

    Indices of the best, and executions.
    """
    conditions = [f"bool({condition})" for condition in tests]
    passed = {program: (await evaluate(program, conditions, sandbox)).results for program in dict.fromkeys(programs)}
    groups: dict[tuple[bool, ...], list[int]] = defaultdict(list)
    for index, program in enumerate(programs):
        groups[tuple(result == "True" for result in passed[program])].append(index)
    weights = list(tests.values())
    scores = {
        passes: len(members) * sum(w for w, ok in zip(weights, passes, strict=True) if ok)
        for passes, members in groups.items()
    }
    best = max(scores.values())
    return tuple(i for passes, members in groups.items() if scores[passes] == best for i in members), len(
        programs
    ) * len(tests)


async def measure(problems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = []
    async with Sandbox() as sandbox:
        for problem in problems:
            programs = [problem["prompt"] + sample for sample in problem["samples"]]
            right = {program: await is_right(program, problem, sandbox) for program in dict.fromkeys(programs)}
            tests = suggested_tests(
                ("assert " + sample.lstrip() for sample in problem["test_samples"]), problem["entry_point"]
            )
            dual, dual_executions = await dual_agreement(programs, tests, sandbox)
            every = await vote_by_behaviour(programs, tests, sandbox)
            quarter = await vote_by_behaviour(programs, tests, sandbox, most_executions=dual_executions // 4)

            def accuracy(
                chosen: Sequence[int], programs: list[str] = programs, right: dict[str, bool] = right
            ) -> float:
                return statistics.fmean(right[programs[i]] for i in chosen) if chosen else 0.0

            def row_of(found: BehaviourVote, accuracy: Any = accuracy) -> tuple[float, float]:
                return accuracy(found.best), found.confidence

            rows.append(
                {
                    "random": accuracy(range(len(programs))),
                    "oracle": float(any(right.values())),
                    "dual": accuracy(dual),
                    "all": row_of(every),
                    "quarter": row_of(quarter),
                    "executions": (quarter.executions, every.executions, dual_executions),
                }
            )
    surest = sorted((row["all"] for row in rows), key=lambda pair: -pair[1])[
        : max(round(CONFIDENT_SHARE * len(rows)), 1)
    ]
    return {
        "random": mean(row["random"] for row in rows),
        "dual_agreement": mean(row["dual"] for row in rows),
        "all_samples": mean(row["all"][0] for row in rows),
        "quarter_budget": mean(row["quarter"][0] for row in rows),
        "executions": sum(row["executions"][0] for row in rows),
        "dual_executions": sum(row["executions"][2] for row in rows),
        "all_samples_executions": sum(row["executions"][1] for row in rows),
        "top20_accuracy": mean(accuracy for accuracy, _ in surest),
        "top20_stated": mean(stated for _, stated in surest),
        "oracle": mean(row["oracle"] for row in rows),
        "problems": len(rows),
    }


def mean(values: Any) -> float:
    return round(statistics.fmean(values), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--problems", type=int, help="only the first so many")
    arguments = parser.parse_args()
    write_json(asyncio.run(measure(load(arguments.data)[: arguments.problems])), arguments.json)


if __name__ == "__main__":
    main()
