"""Where texts come from: files, prompts, documents, what the fleet answered, what it was asked."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config.distill_job import DistillJob, SourceConfig
from orchestrator.distill.rows import TextRow
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import StudentLog

MAX_TEXT_CHARS = 100_000
MAX_PASSAGES = 10_000
NO_MODEL = "none"  # of those that were asked was right
csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Places:
    """Where a job finds what the fleet keeps."""

    students: Callable[[], StudentLog]
    decisions: Callable[[], DecisionLog]


def collect(job: DistillJob, places: Places) -> Iterator[TextRow]:
    """Rows of all sources but documents, in order; their ids are 0.

    Raises `ConfigError` on a file that cannot be read, or lacks a column.
    """
    for source in job.collect:
        count = 0
        for row in _rows_of(job, source, places):
            if not row.text.strip() or len(row.text) > MAX_TEXT_CHARS:
                continue
            yield row
            count += 1
            if count == source.limit:
                break


def _rows_of(job: DistillJob, source: SourceConfig, places: Places) -> Iterator[TextRow]:
    if source.file is not None:
        yield from _file_rows(job, source, job.folder / source.file)
    elif source.prompts:
        for text in source.prompts:
            yield TextRow(0, text, "prompts")
    elif source.traffic is not None:
        for taught in places.students().taught(job.name, since=time.time() - source.traffic):
            yield TextRow(
                0,
                taught.text,
                "traffic",
                label=taught.answer,
                confidence=taught.confidence,
                teacher=taught.model,
                time=f"{taught.at:017.3f}",
            )
    elif source.outcomes is not None:
        yield from _cheapest_right(places.decisions(), time.time() - source.outcomes)
    elif source.decisions is not None:
        yield from _asked(job, places.decisions(), time.time() - source.decisions)


def _asked(job: DistillJob, decisions: DecisionLog, since: float) -> Iterator[TextRow]:
    task = job.task.as_task()
    for decision in decisions.recent(1_000_000):
        text = task.text_of(decision.query) if decision.at >= since else None
        if text is not None:
            yield TextRow(0, text, "decisions", time=f"{decision.at:017.3f}")


def _cheapest_right(decisions: DecisionLog, since: float) -> Iterator[TextRow]:
    """What a router decides: for each graded query the model that was right for the least money, or none."""
    for query, at, models in decisions.graded_models(since):
        right = sorted((cost, name) for name, score, cost in models if score >= 0.5)
        yield TextRow(
            0, query, "outcomes", label=right[0][1] if right else NO_MODEL, teacher="grades", time=f"{at:017.3f}"
        )


def _file_rows(job: DistillJob, source: SourceConfig, path: Path) -> Iterator[TextRow]:
    for number, found in enumerate(read_table(path, source.text), 1):
        text = _column(found, source.text, path, number)
        gold = _optional(found, source.gold, path, number)
        label = gold if source.gold_teaches else _optional(found, source.label, path, number)
        yield TextRow(
            0,
            text or "",
            f"file {path.name}",
            gold=_label(job, gold),
            label=_label(job, label),
            confidence=_share(_optional(found, source.confidence, path, number), path, number),
            teacher="gold" if source.gold_teaches else source.teacher,
            group=_optional(found, source.group, path, number) or "",
            time=_optional(found, source.time, path, number) or "",
        )


def _label(job: DistillJob, stated: str | None) -> str | None:
    """As it is spelt among the task's labels, where these are known."""
    if stated is None or not stated.strip():
        return None
    labels = {label.casefold(): label for label in job.task.labels}
    return labels.get(stated.strip().casefold(), stated.strip())


def read_table(path: Path, text: str) -> Iterator[Mapping[str, object]]:
    """Rows of a CSV, JSON lines, Parquet or text file. Raises `ConfigError` on one that cannot be read."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text (byte {error.start})"
        raise ConfigError(f"{path}: cannot be read: {reason}", remedy="Name a file in UTF-8") from None
    if path.suffix == ".csv":
        yield from _csv(path, content)
    elif path.suffix in (".jsonl", ".ndjson", ".json"):
        yield from _json_lines(path, content)
    elif path.suffix == ".txt":
        yield from ({text: line} for line in content.splitlines() if line.strip())
    else:
        raise ConfigError(f"{path}: unknown kind of file", remedy="Use .csv, .jsonl, .parquet or .txt")


def _csv(path: Path, content: str) -> Iterator[JsonObject]:
    try:
        for row in csv.DictReader(io.StringIO(content, newline="")):
            yield {str(name): value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV file: {error}", remedy="Save it as CSV again") from None


def _json_lines(path: Path, content: str) -> Iterator[JsonObject]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}", remedy="One JSON object a line") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{path}:{number}: not a JSON object", remedy='Write lines like {"text": "..."}')
        yield row


def _parquet(path: Path) -> Iterator[Mapping[str, object]]:
    try:
        import pyarrow.parquet as parquet  # extra `train`

        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ImportError:
        raise ConfigError(
            f"{path}: Parquet needs the package pyarrow", remedy="pip install 'compound-orchestrator[train]'"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as Parquet: {error}", remedy="Check the file") from None


def _column(row: Mapping[str, object], name: str, path: Path, number: int) -> str | None:
    if name not in row:
        there = ", ".join(map(repr, row)) or "none"
        raise ConfigError(
            f"{path}: row {number} has no column {name!r}; there are {there}", remedy="Name the column in the source"
        )
    value = row[name]
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _optional(row: Mapping[str, object], name: str | None, path: Path, number: int) -> str | None:
    return None if name is None else _column(row, name, path, number)


def _share(stated: str | None, path: Path, number: int) -> float:
    if stated is None or not stated.strip():
        return 1.0
    try:
        value = float(stated)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{path}: row {number}: a confidence lies in [0, 1], not {stated!r}", remedy="Mend the file")
    return value


def passages(job: DistillJob) -> Iterator[tuple[str, str]]:
    """(name, passage) of the documents that a job names. Raises `ConfigError` where a pattern finds no file."""
    from orchestrator.memory.ingest.documents import read_document  # heavy

    for source in job.collect:
        if source.documents is None:
            continue
        files = sorted(path for path in job.folder.glob(source.documents) if path.is_file())
        if not files:
            raise ConfigError(f"no file is like {source.documents!r}", remedy=f"Patterns begin in {job.folder}")
        for path in files:
            for record in read_document(path)[: source.limit or MAX_PASSAGES]:
                yield path.name, record.text
