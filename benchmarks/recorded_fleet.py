"""Recorded fleets as benchmarks use them: questions, what each model answered, whether that was right, and what it
cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.backends.testing.recorded import load_recorded
from orchestrator.search.calibration.calibrate import GradedQuestion
from orchestrator.verifiers import group_answers, read_answer

NOTHING = read_answer("")
Prices = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Recorded:
    """Everything on file: `keys` (`None` for what is no answer), `right`, `usd` and `output_tokens` have shape
    (questions, models).
    """

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


def graded(recorded: Recorded, index: int, expected_usd: Prices | None = None) -> GradedQuestion:
    """`expected_usd` are the prices that the engine expects, shape (questions, models)."""
    models = recorded.models
    return GradedQuestion(
        dict(zip(models, recorded.keys[index], strict=True)),
        dict(zip(models, recorded.right[index].tolist(), strict=True)),
        dict(zip(models, recorded.usd[index].tolist(), strict=True)),
        {} if expected_usd is None else dict(zip(models, expected_usd[index].tolist(), strict=True)),
    )


def only_models(recorded: Recorded, columns: list[int]) -> Recorded:
    """The fleet of the models number `columns`."""
    return Recorded(
        recorded.questions,
        [recorded.models[column] for column in columns],
        [[keys[column] for column in columns] for keys in recorded.keys],
        recorded.right[:, columns],
        recorded.usd[:, columns],
        recorded.output_tokens[:, columns],
    )
