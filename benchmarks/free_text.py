"""What evidence on answers that cannot be voted on is worth, on recorded outputs: `python -m benchmarks.free_text
--data DIR --json FILE`.

`certainty`: a real model labelled news (AG News) and feelings (emotion) and its log-probabilities were kept. On a
random 30 % it is learned what they are worth (`fit_ensemble`); on the rest the stated P(correct) is compared with what
was right. `auroc` is how well certainty tells right from wrong labels.

`judge`: GPT-4 rated states of the Game of 24 (tree of thoughts), of which it can be computed whether they can be won.
Two states of one problem are compared by its ratings; on 30 % of the problems it is learned what a preference is worth.

Limits: labels are short, so this measures the evidence and not the search with free text; the ratings were given one by
one and not as pairs in both orders, for no such record is at hand. Means over five random splits.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import re
import statistics
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet import reliability
from benchmarks.output import write_json
from orchestrator.search.graded_evidence import COMPARISON, certainty_verdict
from orchestrator.verifiers import Verdict
from orchestrator.verifiers.learning import fit_ensemble

SEEDS = range(5)
CALIBRATION_SHARE, SUREST_SHARE = 0.3, 0.2
MAX_PAIRS = 40  # of one problem
TARGET = Fraction(24)

Graded = tuple[list[Verdict], bool]


def certainty(data: Path, name: str) -> list[list[Graded]]:
    """One group for each text: the certainty of its label, and whether that was right."""
    with (data / "distill" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["teacher_confidence"]]
    return [
        [([certainty_verdict(math.log(max(float(row["teacher_confidence"]), 1e-9)))], row["teacher"] == row["gold"])]
        for row in rows
    ]


def judged(data: Path) -> list[list[Graded]]:
    """One group for each problem: for both states of each pair, of which one can be won, what the judge prefers, and
    whether it can be won.
    """
    with gzip.open(data / "search" / "game24_tot.json.gz", "rt", encoding="utf-8") as file:
        problems = json.load(file)
    groups = []
    for number, problem in enumerate(problems):
        step = problem["steps"][0]
        states = [
            (value, can_win(left))
            for text, value in zip(step["new_ys"], step["values"], strict=True)
            if (left := numbers_left(text))
        ]
        pairs = [pair for pair in combinations(states, 2) if pair[0][1] != pair[1][1]]
        order = np.random.default_rng(number).permutation(len(pairs))[:MAX_PAIRS]
        groups.append([graded for at in order.tolist() for graded in _as_graded(*pairs[at])])
    return groups


def _as_graded(one: tuple[float, bool], other: tuple[float, bool]) -> list[Graded]:
    score = 0.5 if one[0] == other[0] else float(one[0] > other[0])
    return [([Verdict(COMPARISON, p, None)], can) for p, (_, can) in ((score, one), (1.0 - score, other))]


def numbers_left(text: str) -> tuple[Fraction, ...]:
    """The numbers that a step leaves, as it says; () where they cannot be read."""
    found = re.search(r"\(left: ([^)]*)\)", text)
    try:
        return tuple(Fraction(number) for number in found[1].split()) if found else ()
    except (ValueError, ZeroDivisionError):
        return ()


def can_win(numbers: tuple[Fraction, ...]) -> bool:
    return _can_win(tuple(sorted(numbers)))


@lru_cache(maxsize=100_000)
def _can_win(numbers: tuple[Fraction, ...]) -> bool:
    if len(numbers) == 1:
        return numbers[0] == TARGET
    for i, j in combinations(range(len(numbers)), 2):
        a, b = numbers[i], numbers[j]
        rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
        results = {a + b, a - b, b - a, a * b} | ({a / b} if b else set()) | ({b / a} if a else set())
        if any(_can_win(tuple(sorted([*rest, result]))) for result in results):
            return True
    return False


def measure_evidence(groups: Sequence[Sequence[Graded]]) -> dict[str, float]:
    """How well the learned P(correct) fits, on groups that nothing was learned from; means over the seeds."""
    return {
        name: round(statistics.fmean(run[name] for run in runs), 4)
        for runs in [[_once(groups, seed) for seed in SEEDS]]
        for name in runs[0]
    }


def _once(groups: Sequence[Sequence[Graded]], seed: int) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    cut = round(CALIBRATION_SHARE * len(groups))
    train, test = ([graded for at in part for graded in groups[at]] for part in (order[:cut], order[cut:]))
    base = statistics.fmean(ok for _, ok in train)
    ensemble = fit_ensemble(train)
    odds = [base / (1.0 - base) * ensemble.ratio(verdicts) for verdicts, _ in test]
    stated = np.array([each / (1.0 + each) for each in odds])
    right = np.array([ok for _, ok in test])
    surest = np.argsort(-stated, kind="stable")[: round(SUREST_SHARE * len(test))]
    return {
        "right": float(right.mean()),
        "log_loss_without": log_loss(np.full(len(test), base), right),
        "log_loss": log_loss(stated, right),
        "ece": reliability(stated.tolist(), right.tolist())[0],
        "auroc": auroc(stated, right),
        "surest_fifth_stated": float(stated[surest].mean()),
        "surest_fifth_right": float(right[surest].mean()),
        "graded": float(len(train)),
        "tested": float(len(test)),
    }


def log_loss(stated: Any, right: Any) -> float:
    p = np.clip(stated, 1e-6, 1.0 - 1e-6)
    return float(-np.where(right, np.log(p), np.log(1.0 - p)).mean())


def auroc(stated: Any, right: Any) -> float:
    """P(a right one is stated to be likelier than a wrong one), ties counted half (Mann-Whitney)."""
    if right.all() or not right.any():
        return 0.5
    good, bad = stated[right], np.sort(stated[~right])
    below, upto = np.searchsorted(bad, good, "left"), np.searchsorted(bad, good, "right")
    return float((below + upto).mean() / (2 * len(bad)))


def measure(data: Path) -> dict[str, Any]:
    found = {f"certainty_{name}": measure_evidence(certainty(data, name)) for name in ("ag_news", "emotion")}
    return {**found, "judge_game24": measure_evidence(judged(data)), "seeds": list(SEEDS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    write_json(measure(arguments.data), arguments.json)


if __name__ == "__main__":
    main()
