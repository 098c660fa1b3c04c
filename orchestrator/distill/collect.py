"""Where texts come from: files, prompts, documents, what the fleet answered, what it was asked."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from orchestrator.config.distill_job import DistillJob, SourceConfig
from orchestrator.distill.rows import TextRow
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import StudentLog

DELIMITERS = (",", ";", "\t")
_COLUMNS = ("text", "label", "confidence", "gold", "group", "time")
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
            if not row.text.strip():
                continue
            yield replace(row, text=whole(row.text), time=sortable(row.time))
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
                time=str(taught.at),
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
            yield TextRow(0, text, "decisions", time=str(decision.at))


def _cheapest_right(decisions: DecisionLog, since: float) -> Iterator[TextRow]:
    """What a router decides: for each graded query the model that was right for the least money, or none."""
    for query, at, models in decisions.graded_models(since):
        right = sorted((cost, name) for name, score, cost in models if score >= 0.5)
        yield TextRow(0, query, "outcomes", label=right[0][1] if right else NO_MODEL, teacher="grades", time=str(at))


def whole(text: str) -> str:
    """The text without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def sortable(stated: str) -> str:
    """A moment as text that sorts like it: seconds since 1970 where it is ISO 8601 or a number, else as it stands."""
    try:
        seconds = float(stated)
    except ValueError:
        try:
            moment = datetime.fromisoformat(stated.strip())
        except ValueError:
            return stated
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return f"{seconds + 1e11:020.6f}" if abs(seconds) < 1e11 else stated


def _file_rows(job: DistillJob, source: SourceConfig, path: Path) -> Iterator[TextRow]:
    columns = {name: column for name in _COLUMNS if (column := getattr(source, name)) is not None}
    seen: set[str] = set()
    there: dict[str, None] = {}
    for number, found in enumerate(read_table(path, source.text), 1):
        seen.update(columns.values() & found.keys())
        there.update(dict.fromkeys(found))
        value = {name: _value(found.get(column)) for name, column in columns.items()}
        gold, text = _label(job, value.get("gold")), value.get("text") or ""
        label = gold if source.gold_teaches else _label(job, value.get("label"))
        yield TextRow(
            0,
            text,
            f"file {path.name}",
            gold=gold,
            label=label,
            confidence=_share(value.get("confidence"), path, number),
            teacher="gold" if source.gold_teaches else source.teacher,
            group=value.get("group") or "",
            time=value.get("time") or "",
        )
    for column in columns.values():
        if there and column not in seen:
            raise ConfigError(
                f"{path}: there is no column {column!r}; there are {', '.join(map(repr, there))}",
                remedy="Name the column in the source",
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
    header = content.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)  # spreadsheets of many countries write semicolons
    try:
        for row in csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter):
            yield {str(name): value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV file: {error}", remedy="Save it as CSV again") from None


def _json_lines(path: Path, content: str) -> Iterator[JsonObject]:
    if path.suffix == ".json" and content.lstrip().startswith("["):
        yield from _json_list(path, content)
        return
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}", remedy="One JSON object a line") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{path}:{number}: not a JSON object", remedy='Write lines like {"text": "..."}')
        yield row


def _json_list(path: Path, content: str) -> Iterator[JsonObject]:
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}", remedy="Mend the file, or write one object a line") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigError(f"{path}: element {number} is no object", remedy='Write [{"text": "..."}]')
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


def _value(value: object) -> str | None:
    """A cell as text; whole numbers have no decimals, whatever the file keeps them as."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=str)


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
        try:
            files = sorted(path for path in job.folder.glob(source.documents) if path.is_file())
        except (NotImplementedError, ValueError) as error:
            raise ConfigError(
                f"documents: {source.documents!r}: {error}", remedy="Patterns begin in the job's folder"
            ) from None
        if not files:
            raise ConfigError(f"no file is like {source.documents!r}", remedy=f"Patterns begin in {job.folder}")
        for path in files:
            for record in read_document(path)[: source.limit or MAX_PASSAGES]:
                yield path.name, record.text
