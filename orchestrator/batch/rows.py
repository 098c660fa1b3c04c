"""Rows of a file, one after the other: JSON lines, CSV, TSV or Parquet, gzip too. Nothing is read ahead.

A row that cannot be read is told with its place and what is wrong with it; the others go on.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from orchestrator.batch.parquet import check_pyarrow
from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonValue

MAX_LINE_BYTES = 32_000_000
PARQUET_ROWS = 1_000
POSITION_ROWS = 256
ID_COLUMNS = ("id", "custom_id")
STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row.

    Attributes:
        number: Its place among the rows, from 1.
        id: What it is called; its number where the file gives no ids.
        values: What it holds.
        mistake: What is wrong with it; "" for a good one.
        position: How much of the file is read with it, in bytes.
    """

    number: int
    id: str
    values: Mapping[str, JsonValue] = field(default_factory=dict)
    mistake: str = ""
    position: int = 0


Raw = tuple[Mapping[str, JsonValue] | None, str, int]  # (values, or what is wrong, position)


def read_rows(path: Path, *, id_column: str | None = None) -> Iterator[InputRow]:
    """The rows of a file, or of what is piped in ("-").

    Their ids stand in `id_column`; where none is named, in `id` or `custom_id` if the first row has it, and else a row
    is called by its number.

    Raises `InvalidArgument` on a file that cannot be read, or that is of a kind that is not known.
    """
    number, column = 0, id_column
    for values, mistake, position in _raw_rows(path):
        number += 1
        if number == 1 and column is None and values is not None:
            column = next((name for name in ID_COLUMNS if name in values), "")
        if values is None:
            yield InputRow(number, f"row {number}", {}, mistake, position)
            continue
        id_, wrong = _id_of(values, number, column or "")
        yield InputRow(number, id_, values, wrong, position)


def _id_of(values: Mapping[str, JsonValue], number: int, column: str) -> tuple[str, str]:
    """(id, what is wrong with it)."""
    if not column:
        return str(number), ""
    found = values.get(column)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        return f"row {number}", f"it has no id in {column!r}"
    return str(found), ""


def size_of(path: Path) -> int | None:
    """How many bytes a file has; `None` for what is piped in."""
    return None if path == STDIN else path.stat().st_size


def _raw_rows(path: Path) -> Iterator[Raw]:
    if path == STDIN:
        yield from _json_lines(sys.stdin.buffer, sys.stdin.buffer)
        return
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else suffixes[-1] if suffixes else ""
    readers: dict[str, Callable[[IO[bytes], IO[bytes]], Iterator[Raw]]] = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json_lines,
        ".csv": _csv,
        ".tsv": _tsv,
    }
    try:
        if kind == ".parquet":
            yield from _parquet(path)
            return
        if kind not in readers:
            raise InvalidArgument(
                f"{path}: a file of this kind cannot be read as rows", remedy="Give .jsonl, .csv, .tsv or .parquet"
            )
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield from readers[kind](gzip.GzipFile(fileobj=file) if packed else file, file)  # type: ignore[arg-type]
    except (OSError, EOFError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{path} cannot be read: {told}", remedy="Check the path, and that it is whole") from None


def _json_lines(lines: IO[bytes], file: IO[bytes]) -> Iterator[Raw]:
    first, position = True, _Position(file)
    while line := lines.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):  # the rest of a line that is too long
                line = lines.readline(MAX_LINE_BYTES)
            yield None, f"the line is longer than {MAX_LINE_BYTES:,} bytes", position.now()
            continue
        text = line.strip()
        if first:
            text, first = text.removeprefix(b"\xef\xbb\xbf"), False
        if text:
            yield *_object(text), position.now()


def _object(text: bytes) -> tuple[Mapping[str, JsonValue] | None, str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return None, f"it is not JSON: {error}"
    if not isinstance(found, dict):
        what = "a list: write one object a line" if isinstance(found, list) else f"{type(found).__name__}, no object"
        return None, f"it is {what}"
    return found, ""


def _csv(lines: IO[bytes], file: IO[bytes]) -> Iterator[Raw]:
    return _table(lines, file, ",")


def _tsv(lines: IO[bytes], file: IO[bytes]) -> Iterator[Raw]:
    return _table(lines, file, "\t")


def _table(lines: IO[bytes], file: IO[bytes], delimiter: str) -> Iterator[Raw]:
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(lines, encoding="utf-8-sig", errors="surrogateescape", newline="")
    kind, position = "CSV" if delimiter == "," else "TSV", _Position(file)
    try:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        names = _names(next(reader, []))
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield None, f"it is no {kind}: {error}", position.now()
                continue
            if cells:
                yield *_record(names, cells), position.now()
    finally:
        text.detach()  # whoever opened the file closes it


def _names(cells: list[str]) -> list[str]:
    names = [name.strip() for name in cells]
    if len(set(names)) < len(names) or "" in names:
        raise InvalidArgument(
            f"the columns of the table are not all named, or two alike: {', '.join(names)[:200]}",
            remedy="Give each column a name of its own in the first line",
        )
    return names


def _record(names: list[str], cells: list[str]) -> tuple[Mapping[str, JsonValue] | None, str]:
    if len(cells) != len(names):
        return None, f"it has {len(cells)} cells, and the table {len(names)} columns"
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return None, "it is not UTF-8"
    return dict(zip(names, cells, strict=True)), ""


def _parquet(path: Path) -> Iterator[Raw]:
    check_pyarrow()
    import pyarrow as arrow  # extra `train`
    import pyarrow.parquet as parquet

    size = path.stat().st_size
    try:
        with parquet.ParquetFile(path) as file:
            rows, done = max(file.metadata.num_rows, 1), 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for values in batch.to_pylist():
                    done += 1
                    yield values, "", size * done // rows
    except arrow.ArrowInvalid as error:
        raise InvalidArgument(f"{path} is no Parquet: {error}", remedy="Check that it is whole") from None


class _Position:
    """How much of a file is read, in bytes; asked of the file now and then only, because others then get the thread."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0
        self._known = 0

    def now(self) -> int:
        """After one more row."""
        self._rows += 1
        if self._rows % POSITION_ROWS == 1:
            try:
                self._known = self._file.tell()
            except OSError:  # a pipe
                self._known = 0
        return self._known
