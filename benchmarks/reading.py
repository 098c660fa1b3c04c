"""Are two recorded answers judged the same exactly when both are right?

`python -m benchmarks.reading --data DIR --json FILE`.

For every ordered pair of answers to one question, the first of which is recorded right: `merge_precision` is the share
of the pairs judged the same in which the other one is recorded right, too; `merge_recall` the share of the pairs of
right answers that are judged the same. `non_answers_recall` is the share of the answers from which the data set itself
could extract nothing that are read as no answer, or as none that is stated for sure; for tools, where nothing is
extracted, that of the texts in tests/non_answers.jsonl that are labelled as non-answers (the rules were written with
these at hand). `us_per_answer` is the time of reading (tools: of comparing) alone, the median of three passes.

Only the test part is looked at: a random 70 % of the questions (seed 0); the reader was written on the other 30 %.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator.verifiers import equivalent_calls, read_answer
from orchestrator.verifiers.answers.equivalence import compare

SEED, CALIBRATION_SHARE, PASSES = 0, 0.3, 3
LABELLED = Path(__file__).parent.parent / "tests" / "non_answers.jsonl"
TASKS = {"gsm8k": "gsm", "crux": "crux", "mmlu_pro": "mmlupro"}


def test_part(ids: Sequence[Any]) -> set[Any]:
    order = sorted(ids)
    random.Random(SEED).shuffle(order)
    return set(order[int(CALIBRATION_SHARE * len(order)) :])


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as parquet

    rows: list[dict[str, Any]] = parquet.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def count_pairs(right: Sequence[bool], is_same: Sequence[Sequence[bool]]) -> tuple[int, int, int]:
    """Of answers with these grades, where `is_same[i][j]` says which are judged the same.

    Pairs judged the same and both right, judged the same and one wrong, both right and not judged the same.
    """
    both = merged_wrong = missed = 0
    for i, ok in enumerate(right):
        for j in range(len(right)):
            if not ok or i == j:
                continue
            same = is_same[i][j]
            both += same and right[j]
            merged_wrong += same and not right[j]
            missed += right[j] and not same
    return both, merged_wrong, missed


def summary(pairs: Sequence[tuple[int, int, int]], non_answers: Sequence[bool], us: float) -> dict[str, float | None]:
    both, wrong, missed = (sum(column) for column in zip(*pairs, strict=True))
    return {
        "merge_precision": round(both / max(both + wrong, 1), 5),
        "merge_recall": round(both / max(both + missed, 1), 5),
        "non_answers_recall": round(statistics.fmean(non_answers), 4) if non_answers else None,
        "us_per_answer": round(us, 1),
    }


def measure_texts(folder: Path, task: str) -> dict[str, float | None]:
    prompts = {row["query_id"]: row["prompt"] for row in read_rows(folder, f"{task}_questions")}
    answers = defaultdict(list)
    chosen = test_part([*prompts])
    for row in read_rows(folder, f"{task}_answers"):
        if row["query_id"] in chosen:
            answers[row["query_id"]].append(row)
    pairs, non_answers = [], []
    for query_id, rows in answers.items():
        prompt = prompts[query_id]
        readings = [read_answer(row["output"] or "", prompt) for row in rows]
        same = [[bool(compare(x, y, prompt)) for y in readings] for x in readings]
        pairs.append(count_pairs([bool(row["correct"]) for row in rows], same))
        non_answers += [
            reading.value is None or not reading.is_sure
            for row, reading in zip(rows, readings, strict=True)
            if row["answer"] is None
        ]
    texts = [(row["output"] or "", prompts[query_id]) for query_id, rows in answers.items() for row in rows]
    return summary(
        pairs, non_answers, time_of(lambda: [read_answer(text, prompt) for text, prompt in texts]) / len(texts)
    )


def measure_tools(folder: Path) -> dict[str, float | None]:
    questions = {row["id"]: row for row in read_rows(folder, "tool_questions")}
    answers = defaultdict(list)
    chosen = test_part([*questions])
    for row in read_rows(folder, "tool_answers"):
        if row["id"] in chosen:
            answers[row["id"]].append(row)
    pairs, jobs = [], []
    for question_id, rows in answers.items():
        question = questions[question_id]
        tools = json.loads(question["tools"])
        calls = [json.loads(row["calls"]) if row["calls"] else [] for row in rows]
        same = [[bool(equivalent_calls(x, y, tools)) for y in calls] for x in calls]
        pairs.append(count_pairs([bool(row["correct"]) for row in rows], same))
        jobs += [(calls[0], each, tools) for each in calls]
    labelled = [
        row
        for row in map(json.loads, LABELLED.read_text(encoding="utf-8").splitlines())
        if row["source"].startswith("tools/")
    ]
    non_answers = [read_answer(row["text"], row["query"]).value is None for row in labelled if row["label"] != "answer"]
    return summary(pairs, non_answers, time_of(lambda: [equivalent_calls(*job) for job in jobs]) / len(jobs))


def time_of(run: Callable[[], Any]) -> float:
    """Microseconds of one pass, the median of three."""
    found = []
    for _ in range(PASSES):
        start = time.perf_counter()
        run()
        found.append(1e6 * (time.perf_counter() - start))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {name: measure_texts(arguments.data / "fleet", task) for name, task in TASKS.items()}
    found["tools"] = measure_tools(arguments.data / "tools")
    write_json(found, arguments.json)


if __name__ == "__main__":
    main()
