"""Recorded models, read from parquet files like those of a recorded fleet."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import BackendError, ConfigError, Message
from orchestrator.backends.base import Request
from orchestrator.backends.testing.recorded import RecordedBackend, load_recorded

pa = pytest.importorskip("pyarrow")


def write_fleet(
    folder: Path,
    questions: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    prices: dict[str, Any],
    task: str = "gsm",
) -> Path:
    """A fleet of the recorded kind on disk."""
    import pyarrow.parquet as parquet

    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(questions), folder / f"{task}_questions.parquet")
    parquet.write_table(pa.Table.from_pylist(answers), folder / f"{task}_answers.parquet")
    (folder / "prices.json").write_text(json.dumps(prices))
    return folder


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    questions = [
        {"query_id": "q1", "prompt": " 2 + 2? ", "gold": "4"},
        {"query_id": "q2", "prompt": "3 + 3?", "gold": "6"},
    ]
    answers = [
        {"query_id": q, "model": m, "output": text, "answer": "", "correct": 1, "input_tokens": 10, "output_tokens": n}
        for q, m, text, n in [("q1", "a", "It is 4", 4), ("q2", "a", "It is 6", 8), ("q1", "b", None, 0)]
    ]
    return write_fleet(tmp_path, questions, answers, {"a": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}})


def ask(backend: RecordedBackend, question: str) -> Any:
    return asyncio.run(backend.complete(Request((Message("user", question),), question)))


def test_answers_come_back_word_for_word_with_their_tokens(fleet: Path) -> None:
    a, b = (RecordedBackend(model) for model in load_recorded(fleet, "gsm"))
    answer = ask(a, "2 + 2?")
    assert (answer.text, answer.usage.prefill_tokens, answer.usage.output_tokens, answer.simulated) == (
        "It is 4",
        10,
        4,
        False,
    )
    assert a.profile.output_tokens == 6.0
    assert a.profile.cost_usd(1_000_000, 1_000_000) == 3.0
    assert b.profile.cost_usd(1, 1) is None
    assert ask(b, "2 + 2?").text == ""


def test_a_question_without_a_recording_is_refused(fleet: Path) -> None:
    _, b = (RecordedBackend(model) for model in load_recorded(fleet, "gsm"))
    with pytest.raises(BackendError, match="no recorded answer"):
        ask(b, "3 + 3?")


def test_a_missing_recording_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"crux_questions\.parquet not found"):
        load_recorded(tmp_path, "crux")
