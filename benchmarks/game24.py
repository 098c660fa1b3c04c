"""Game of 24 with recorded GPT-4 samples (Yao et al. 2023): `python -m benchmarks.game24 --data DIR --json FILE`.

Two samplers: chains of thought (100 recorded for each problem), and a whole tree search (one recorded run, which solves
a problem or does not). The check is exact arithmetic. Problems come one after the other in random order; what is known
of the samplers is what was drawn before (`Learned`), beginning with nothing. Whoever draws pays the recorded price:
reading the prompt once a call, and the written tokens. A solution's worth is varied to trace the frontier; figures are
means over random orders, and per 100 problems.

The recording sums up what the chains have cost, but begins anew on the way. `frontier` and its figures take the last
sum for the cost of all, as the published figures do (chains then seem a third cheaper than they were); those in
`as_recorded` price each problem by what was added for it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import statistics
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator.search.pandora import Box, Learned, next_opening

VALUES_USD = tuple(0.25 * 1.16**step for step in range(33))  # to about 29 USD
ORDERS = 20
LIMITS_USD = (58, 66)
PER_CALL = 20  # the recording drew so many chains a call
IN_USD, OUT_USD = 0.03 / 1_000, 0.06 / 1_000  # GPT-4's list price a token when it was recorded
_EXPRESSION = re.compile(r"[\d+\-*/(). ]+")


@dataclass(frozen=True, slots=True)
class Problem:
    numbers: tuple[int, ...]
    chains: tuple[bool, ...]
    tree: bool
    chain_prompt_usd: float
    chain_usd: float
    tree_usd: float


def is_solution(answer: str, numbers: tuple[int, ...]) -> bool:
    """Whether an expression makes 24 of exactly these numbers.

    Exact arithmetic, nothing evaluated but + - * / and brackets.
    """
    left = answer.lower().replace("answer:", "").split("=")[0].strip()
    if not _EXPRESSION.fullmatch(left) or sorted(map(int, re.findall(r"\d+", left))) != sorted(numbers):
        return False
    try:
        return _value(re.findall(r"\d+|[-+*/()]", left)) == 24
    except (ValueError, ZeroDivisionError, IndexError):
        return False


def _value(tokens: list[str]) -> Fraction:
    """Recursive descent over sums, products and atoms."""

    def atom() -> Fraction:
        token = tokens.pop(0)
        if token == "(":
            inner = sums()
            if tokens.pop(0) != ")":
                raise ValueError("a bracket is not closed")
            return inner
        if token == "-":
            return -atom()
        return Fraction(int(token))

    def products() -> Fraction:
        value = atom()
        while tokens and tokens[0] in "*/":
            value = value * atom() if tokens.pop(0) == "*" else value / atom()
        return value

    def sums() -> Fraction:
        value = products()
        while tokens and tokens[0] in "+-":
            value = value + products() if tokens.pop(0) == "+" else value - products()
        return value

    found = sums()
    if tokens:
        raise ValueError("something is left over")
    return found


def load(data: Path, *, as_recorded: bool) -> list[Problem]:
    chains, trees = (read(data / "search" / f"game24_{kind}.json.gz") for kind in ("cot", "tot"))
    chain_usage, tree_usage = usages(chains), usages(trees)
    if not as_recorded:
        last = chains[-1]["usage_so_far"]
        chain_usage = [{name: value / len(chains) for name, value in last.items()}] * len(chains)
    problems = []
    for chain, tree, drawn, searched in zip(chains, trees, chain_usage, tree_usage, strict=True):
        numbers = tuple(map(int, tree["steps"][0]["x"].split()))
        calls = -(-len(chain["ys"]) // PER_CALL)
        problems.append(
            Problem(
                numbers,
                tuple(is_solution(y.strip().split("\n")[-1], numbers) for y in chain["ys"]),
                any(is_solution(y.strip().split("\n")[-1], numbers) for y in tree["ys"]),
                drawn["prompt_tokens"] / calls * IN_USD,
                drawn["completion_tokens"] / len(chain["ys"]) * OUT_USD,
                searched["cost"],
            )
        )
    return problems


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        sys.exit(f"{path} not found: pass the data folder with --data")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)
    return found


def usages(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Usage of each problem.

    The recording sums it up as it goes, and begins anew where the recording was interrupted.
    """
    found, before = list[dict[str, float]](), dict[str, float]()
    for row in rows:
        now = row["usage_so_far"]
        began_anew = now["cost"] < before.get("cost", 0.0)
        found.append({name: value - (0.0 if began_anew else before.get(name, 0.0)) for name, value in now.items()})
        before = now
    return found


def play(problems: list[Problem], value_usd: float, order: random.Random) -> tuple[float, float]:
    """(share solved, USD), learning on the way."""
    learned, solved, spent = Learned(), 0, 0.0
    tree_paid = list[float]()
    for problem in order.sample(problems, len(problems)):
        draws = order.sample(problem.chains, len(problem.chains))
        used, is_solved, boxes = 0, False, {"chain": len(draws), "tree": 1}
        while not is_solved:
            # A tree's price is known only when it is paid: what trees have cost so far is what the next one is taken to
            # cost.
            tree_usd = statistics.fmean(tree_paid) if tree_paid else 10 * (problem.chain_prompt_usd + problem.chain_usd)
            opening = next_opening(
                [
                    Box(
                        "chain",
                        learned.chance("chain").after(used),
                        problem.chain_prompt_usd,
                        problem.chain_usd,
                        boxes["chain"],
                    ),
                    Box("tree", learned.chance("tree"), 0.0, tree_usd, boxes["tree"]),
                ],
                value_usd=value_usd,
            )
            if opening is None:
                break
            boxes[opening.name] -= opening.draws
            if opening.name == "tree":
                spent += problem.tree_usd
                tree_paid.append(problem.tree_usd)
                is_solved = problem.tree
                learned.observe("tree", int(is_solved), 1)
            else:
                spent += problem.chain_prompt_usd + opening.draws * problem.chain_usd
                is_solved = any(draws[used : used + opening.draws])
                used += opening.draws
        if used:
            learned.observe("chain", sum(draws[:used]), used)
        solved += is_solved
    return solved / len(problems), 100.0 * spent / len(problems)


def fixed(problems: list[Problem], chains: int, *, stops_early: bool, then_tree: bool) -> tuple[float, float]:
    """What the recording gives for `chains` draws in calls of twenty, in the recorded order."""
    solved, spent = 0, 0.0
    for problem in problems:
        at, is_solved = 0, False
        while at < chains and not (is_solved and stops_early):
            n = min(PER_CALL, chains - at)
            spent += problem.chain_prompt_usd + n * problem.chain_usd
            is_solved = is_solved or any(problem.chains[at : at + n])
            at += n
        if then_tree and not is_solved:
            spent += problem.tree_usd
            is_solved = problem.tree
        solved += is_solved
    return solved / len(problems), 100.0 * spent / len(problems)


def measure(data: Path, orders: int) -> dict[str, Any]:
    found = measured(load(data, as_recorded=False), orders)
    return {**found, "as_recorded": measured(load(data, as_recorded=True), orders)}


def measured(problems: list[Problem], orders: int) -> dict[str, Any]:
    frontier = []
    for value_usd in VALUES_USD:
        played = [play(problems, value_usd, random.Random(seed)) for seed in range(orders)]
        accuracy, usd = (statistics.fmean(column) for column in zip(*played, strict=True))
        frontier.append(
            {"value_usd": round(value_usd, 3), "accuracy": round(accuracy, 4), "usd_per_100": round(usd, 2)}
        )
    policies = {
        "tree": fixed(problems, 0, stops_early=True, then_tree=True),
        "chains_100": fixed(problems, 100, stops_early=False, then_tree=False),
        "chains_20_then_tree": fixed(problems, 20, stops_early=False, then_tree=True),
        "chains_100_then_tree": fixed(problems, 100, stops_early=False, then_tree=True),
        "chains_100_stopping_then_tree": fixed(problems, 100, stops_early=True, then_tree=True),
    }
    return {
        "frontier": frontier,
        **{
            f"accuracy_at_{limit}": max((p["accuracy"] for p in frontier if p["usd_per_100"] <= limit), default=0.0)
            for limit in LIMITS_USD
        },
        "fixed": {name: {"accuracy": round(a, 4), "usd_per_100": round(usd, 2)} for name, (a, usd) in policies.items()},
        "problems": len(problems),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--orders", type=int, default=ORDERS)
    arguments = parser.parse_args()
    write_json(measure(arguments.data, arguments.orders), arguments.json)


if __name__ == "__main__":
    main()
