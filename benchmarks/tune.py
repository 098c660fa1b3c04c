"""Tuning the shipped default on recorded fleets: `python -m benchmarks.tune --data DIR --json FILE`.

For each task and seed 300 graded questions are drawn for `orchestrator.tuning.tune`; what it promotes is measured on up
to 700 questions that it never saw (`held_out`). The present
configuration is the shipped default. The shipped router was trained on these very questions and knows these models by
name, which no user's fleet enjoys: so models are renamed here and only their public MMLU score is stated, as for models
that it never saw. `--known` leaves their names.

`false_promotions`: of 200 runs in which nothing differs. The outcomes of the present configuration and of changes to it
are dealt anew on every question (each gets the outcome of a random one), so that all are alike, and tested as always.
`promotions_at_margin`: of as many runs whose changes lose exactly `max_loss`; at most one in ten is what is promised.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_json
from orchestrator.backends.testing.recorded import RecordedAnswer, load_recorded
from orchestrator.config.models import Config, read_config
from orchestrator.router.learning.shipped import SKILLS
from orchestrator.tuning import GradedAnswers, tune
from orchestrator.tuning.promotion import judge, level_of, loses_too_much
from orchestrator.tuning.stage import PRESENT, Stage, TrialPool
from orchestrator.tuning.trial import Proposal, Trial

TASKS = ("gsm", "crux", "mmlupro")
QUESTIONS, HELD_OUT, NULL_RUNS = 300, 700, 200
CONFIDENCE = 0.9
WORKERS = min(2, os.cpu_count() or 1)
SAME = {"gemini-1.5-flash-002": "gemini-1.5-flash", "Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b-instruct"}


def load(folder: Path, task: str, *, is_known: bool) -> GradedAnswers:
    """A recorded fleet, every model with its answers and the recorded grades."""
    import pyarrow.parquet as parquet

    served = load_recorded(folder, task)
    rows = parquet.read_table(folder / f"{task}_questions.parquet", columns=["query_id", "prompt"]).to_pylist()
    row_of = {row["query_id"]: index for index, row in enumerate(rows)}
    column_of = {model.profile.name: index for index, model in enumerate(served)}
    scores = np.zeros((len(rows), len(served)))
    columns = ["query_id", "model", "correct"]
    for answer in parquet.read_table(folder / f"{task}_answers.parquet", columns=columns).to_pylist():
        scores[row_of[answer["query_id"]], column_of[answer["model"]]] = answer["correct"]
    profiles = [model.profile for model in served]
    if not is_known:
        profiles = [
            replace(p, name=f"model-{i}", skill=SKILLS[SAME.get(p.name, p.name).replace("3_1", "3.1")])
            for i, p in enumerate(profiles)
        ]
    said: list[tuple[RecordedAnswer, ...]] = [tuple(model.answer_to(row["prompt"]) for model in served) for row in rows]
    return GradedAnswers(tuple(row["prompt"] for row in rows), tuple(profiles), tuple(said), scores)


def shipped_default(answers: GradedAnswers) -> Config:
    """The configuration of somebody who names the models and nothing else."""
    models = {
        name: {"provider": "compatible", "model": name, "base_url": "http://127.0.0.1:9/v1"} for name in answers.models
    }
    return read_config({"version": 1, "models": models, "max_tokens": 2_048})


def some(answers: GradedAnswers, rows: Sequence[int]) -> GradedAnswers:
    """The questions number `rows`."""
    return GradedAnswers(
        tuple(answers.questions[row] for row in rows),
        answers.profiles,
        tuple(answers.answers[row] for row in rows),
        answers.scores[list(rows)],
    )


def measure(answers: GradedAnswers, *, seed: int, max_loss: float) -> dict[str, Any]:
    """One run, and what was promoted on questions that it never saw."""
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()
    config, drawn = shipped_default(answers), some(answers, order[: QUESTIONS + HELD_OUT])
    asked = some(answers, order[:QUESTIONS])
    found = tune(config, asked, max_loss=max_loss, seed=seed, workers=WORKERS)
    result: dict[str, Any] = {
        "seconds": round(found.seconds, 1),
        "promoted": None if found.made is None else found.made.name,
        "cost_cut": 0.0,
        "score_change": 0.0,
        "held_out_cost_cut": 0.0,
        "held_out_score_change": 0.0,
        "present_score": round(found.present_score, 4),
        "present_usd_per_1k": round(1_000 * found.present_usd, 4),
        "recipes": [
            {
                "name": each.trial.proposal.name,
                "outcome": each.outcome,
                "score_change": round(each.quality.value, 4),
                "cost_cut": round(1 - each.cost.value, 4),
                "p_loses": round(each.p_loses, 4),
            }
            for each in found.tested
        ],
    }
    if found.promoted is not None and found.made is not None:
        rest = np.arange(QUESTIONS, len(drawn))
        with TrialPool(Stage(config, drawn), WORKERS) as pool:
            begun = [pool.trial(proposal, rest) for proposal in (PRESENT, found.made)]
            old, new = (trial() for trial in begun)
        result |= {
            "cost_cut": round(1 - found.promoted.cost.value, 4),
            "score_change": round(found.promoted.quality.value, 4),
            "held_out_cost_cut": round(1 - float(new.usd.sum() / old.usd.sum()), 4),
            "held_out_score_change": round(float(new.score.mean() - old.score.mean()), 4),
            "held_out_questions": len(rest),
        }
    return result


def null_runs(answers: GradedAnswers, *, max_loss: float, loss: float, runs: int = NULL_RUNS) -> dict[str, Any]:
    """How often anything is promoted where all configurations are alike (`loss` 0), or all proposals lose `loss`."""
    config = shipped_default(answers)
    rows = np.random.default_rng(99).permutation(len(answers))[: 2 * QUESTIONS]
    asked = some(answers, rows.tolist())
    changes = [{"quality": 0.7}, {"quality": 0.9}, {"value_usd": 0.01}, {"value_usd": 0.0025}, {"strategy": "single"}]
    proposals = [PRESENT, *(Proposal(f"proposal {n}", change) for n, change in enumerate(changes))]
    every = np.arange(len(asked))
    with TrialPool(Stage(config, asked), WORKERS) as pool:
        begun = [pool.trial(proposal, every) for proposal in proposals]
        trials = [trial() for trial in begun]
    score, usd = np.stack([t.score for t in trials]), np.stack([t.usd for t in trials])
    promoted = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        drawn = rng.permutation(len(asked))[:QUESTIONS]
        deal = rng.permuted(np.tile(np.arange(len(trials))[:, None], QUESTIONS), axis=0)
        dealt_score, dealt_usd = score[deal, drawn], usd[deal, drawn]
        if loss:  # proposals cost half and lose exactly `loss`: right answers of theirs become wrong by a coin's throw
            dealt_usd[1:] /= 2
            spoilt = rng.random(dealt_score[1:].shape) < loss / dealt_score[1:].mean()
            dealt_score[1:][spoilt] = 0.0
        dealt = [Trial(p, dealt_score[n], dealt_usd[n]) for n, p in enumerate(proposals)]
        judged = judge(dealt[0], [climb(dealt, max_loss)], max_loss=max_loss, confidence=CONFIDENCE, seed=run)
        promoted += any(each.outcome == "promoted" for each in judged)
    return {"runs": runs, "promotions": promoted}


def climb(dealt: Sequence[Trial], max_loss: float) -> list[Trial]:
    """The rungs of a ladder that are reached."""
    climbed: list[Trial] = []
    for trial in dealt[1:]:
        climbed.append(trial)
        if loses_too_much(dealt[0], trial, max_loss=max_loss, level=level_of(0, CONFIDENCE)):
            break
    return climbed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--max-loss", type=float, default=0.03)
    parser.add_argument("--known", action="store_true", help="Leave the models their names, which the router knows.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"max_loss": arguments.max_loss, "seeds": arguments.seeds, "tasks": {}}
    fleets = {t: load(arguments.data / "fleet", t, is_known=arguments.known) for t in arguments.tasks}
    for task, answers in fleets.items():
        runs = [measure(answers, seed=seed, max_loss=arguments.max_loss) for seed in arguments.seeds]
        means = {
            name: round(statistics.fmean(run[name] for run in runs), 4)
            for name in ("cost_cut", "score_change", "held_out_cost_cut", "held_out_score_change", "seconds")
        }
        found["tasks"][task] = {
            **means,
            "promotions": sum(run["promoted"] is not None for run in runs),
            "most_seconds": max(run["seconds"] for run in runs),
            "runs": runs,
        }
        print(task, {name: value for name, value in found["tasks"][task].items() if name != "runs"}, file=sys.stderr)
    first = next(iter(fleets.values()))
    null = null_runs(first, max_loss=arguments.max_loss, loss=0.0)
    margin = null_runs(first, max_loss=arguments.max_loss, loss=arguments.max_loss)
    tasks = found["tasks"].values()
    found |= {
        "cost_cut": round(statistics.fmean(task["held_out_cost_cut"] for task in tasks), 4),
        "score_change": round(statistics.fmean(task["held_out_score_change"] for task in tasks), 4),
        "seconds": max(task["most_seconds"] for task in tasks),
        "null_runs": null["runs"],
        "false_promotions": null["promotions"],
        "promotions_at_margin": margin["promotions"],
    }
    write_json(found, arguments.json)


if __name__ == "__main__":
    main()
