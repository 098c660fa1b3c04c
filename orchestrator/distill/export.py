"""Rows as files for fine-tuning elsewhere. The same rows and seed give the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.answers import label_in
from orchestrator.distill.rows import Taught
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject

Writer = Callable[[Path], None]


def export(job: DistillJob, rows: Sequence[Taught], folder: Path) -> list[Path]:
    """Writes what the job names; each file is whole or not there. Raises `ConfigError` where one cannot be written."""
    written = []
    for part in ("train", "test"):
        own = sorted((e for e in rows if e.row.part == part and e.is_exported), key=lambda each: each.row.id)
        if "openai" in job.export.formats:
            written.append(_whole(folder / f"{part}.openai.jsonl", _lines(openai_row(job, each) for each in own)))
        if "huggingface" in job.export.formats:
            lines = _lines(huggingface_row(job, each) for each in own)
            written.append(_whole(folder / f"{part}.huggingface.jsonl", lines))
        if "parquet" in job.export.formats and own:
            written.append(_whole(folder / f"{part}.parquet", _parquet(job, own)))
    if job.export.preferences:
        learned = sorted((e for e in rows if e.row.part == "train" and e.is_exported), key=lambda each: each.row.id)
        pairs = [pair for each in learned for pair in preference_pairs(job, each)]
        written.append(_whole(folder / "preferences.jsonl", _lines(pairs)))
    return written


def openai_row(job: DistillJob, taught: Taught) -> JsonObject:
    """One row as OpenAI's fine-tuning takes it."""
    return {"messages": [*_prompt(job, taught), {"role": "assistant", "content": taught.answer}]}


def huggingface_row(job: DistillJob, taught: Taught) -> JsonObject:
    """One row as TRL's trainers take it: prompt and completion as messages, and where it comes from."""
    return {
        "prompt": _prompt(job, taught),
        "completion": [{"role": "assistant", "content": taught.answer}],
        "label": taught.label,
        "confidence": round(taught.confidence, 6),
        "teacher": taught.teacher,
        "synthetic": taught.row.is_synthetic,
        "id": taught.row.id,
    }


def preference_pairs(job: DistillJob, taught: Taught) -> list[JsonObject]:
    """The answer against each other one that says something else.

    The margin is the difference in P(correct): a draft that a check ruled out has none.
    """
    pairs = []
    for draft in taught.drafts:
        text = str(draft.get("text") or "")
        other = label_in(job, text)
        if not text or other == taught.label or text.strip() == taught.answer.strip():
            continue
        believed = 0.0 if draft.get("ruled_out") else 1.0 - taught.confidence
        pairs.append(
            {
                "prompt": _prompt(job, taught),
                "chosen": [{"role": "assistant", "content": taught.answer}],
                "rejected": [{"role": "assistant", "content": text}],
                "margin": round(max(taught.confidence - believed, 0.0), 6),
                "id": taught.row.id,
            }
        )
    return pairs


def _prompt(job: DistillJob, taught: Taught) -> list[JsonObject]:
    system: list[JsonObject] = [] if job.task.system is None else [{"role": "system", "content": job.task.system}]
    return [*system, {"role": "user", "content": job.task.as_task().query_of(taught.row.text)}]


def _lines(rows: Iterable[JsonObject]) -> Writer:
    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")

    return write


def _parquet(job: DistillJob, rows: Sequence[Taught]) -> Writer:
    def write(path: Path) -> None:
        try:
            import pyarrow as arrow  # extra `train`
            import pyarrow.parquet as parquet
        except ImportError:
            raise ConfigError(
                "Parquet needs the package pyarrow", remedy="pip install 'compound-orchestrator[train]'"
            ) from None
        columns: dict[str, list[Any]] = {
            "id": [each.row.id for each in rows],
            "text": [each.row.text for each in rows],
            "query": [job.task.as_task().query_of(each.row.text) for each in rows],
            "answer": [each.answer for each in rows],
            "label": [each.label for each in rows],
            "confidence": [each.confidence for each in rows],
            "teacher": [each.teacher for each in rows],
            "gold": [each.row.gold for each in rows],
            "synthetic": [each.row.is_synthetic for each in rows],
            "source": [each.row.source for each in rows],
        }
        parquet.write_table(arrow.table(columns), path)

    return write


def write_text(path: Path, text: str) -> Path:
    """A text as a whole file. Raises `ConfigError` where it cannot be written."""

    def write(new: Path) -> None:
        new.write_text(text, encoding="utf-8")

    return _whole(path, write)


def _whole(path: Path, write: Writer) -> Path:
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(new)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error}",
            remedy="Make room and run the job again: what was taught is kept, and nothing is paid twice",
        ) from None
    return path
