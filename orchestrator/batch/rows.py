"""Rows of a file, one after the other: JSON lines, CSV, TSV or Parquet, gzip too. Nothing is read ahead.

A row that cannot be read is told with its place and what is wrong with it; the others go on.
"""

from __future__ import annotations

import codecs
import gzip
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Protocol, cast

import orjson

from orchestrator.batch.parquet import check_pyarrow
from orchestrator.batch.tables import table_rows
from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonValue

MAX_LINE_BYTES = 32_000_000
PARQUET_ROWS = 1_000
POSITION_ROWS = 256
ID_COLUMNS = ("id", "custom_id")
STDIN = Path("-")
KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row.

    Attributes:
        number: Its place among the rows, from 1.
        id: What it is called; its number where the file gives no ids.
        values: What it holds.
        mistake: What is wrong with it; "" for a good one.
        position: How much of the file is read with it, in bytes.
        content: A hash of `values`, in 12 hexadecimal digits.
    """

    number: int
    id: str
    values: Mapping[str, JsonValue] = field(default_factory=dict)
    mistake: str = ""
    position: int = 0
    content: str = ""


Raw = tuple[Mapping[str, JsonValue] | None, str, int]  # (values, or what is wrong, position)


def read_rows(
    path: Path,
    *,
    id_column: str | None = None,
    kind: str | None = None,
    encoding: str | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[InputRow]:
    """The rows of a file, or of what is piped in ("-").

    `kind` is `jsonl`, `csv`, `tsv` or `parquet` where the name of the file does not say it, `encoding` that of its text
    where it is not UTF-8 (UTF-16 is known by its mark). A line of more than `max_line_bytes` is one wrong row.

    Their ids stand in `id_column`; where none is named, in `id` or `custom_id` if the first row has it, and else a row
    is called by its number. All rows have one, or none; with "" rows are called by their numbers, whatever they hold.

    Raises `InvalidArgument` on a file that cannot be read, or that is of a kind that is not known.
    """
    number, column = 0, id_column
    for values, mistake, position in _raw_rows(path, kind, encoding, max_line_bytes):
        number += 1
        if column is None and values is not None:
            column = next((name for name in ID_COLUMNS if name in values), "")
        if values is None:
            yield InputRow(number, f"row {number}", {}, mistake, position, _hash_of({}))
            continue
        id_, wrong = _id_of(values, number, column or "", may_stray=id_column is not None)
        yield InputRow(number, id_, values, wrong, position, _hash_of(values))


def _id_of(values: Mapping[str, JsonValue], number: int, column: str, *, may_stray: bool) -> tuple[str, str]:
    """(id, what is wrong with it); without a column a row that has an id is wrong, unless ids `may_stray`."""
    if not column:
        stray = next((name for name in ID_COLUMNS if values.get(name) is not None), None)
        if stray is None or may_stray:
            return str(number), ""
        return f"row {number}", f"it has an id in {stray!r}, and the first row has none: name the column with --id"
    found = values.get(column)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        return f"row {number}", f"it has no id in {column!r}"
    return str(found), ""


def _hash_of(values: Mapping[str, JsonValue]) -> str:
    try:
        encoded = orjson.dumps(dict(values), option=orjson.OPT_SORT_KEYS, default=str)
    except (TypeError, ValueError, RecursionError):
        encoded = repr(sorted(values)).encode("utf-8", "backslashreplace")
    return blake2b(encoded, digest_size=6).hexdigest()


def size_of(path: Path) -> int | None:
    """How many bytes a file has; `None` for what is piped in."""
    return None if path == STDIN else path.stat().st_size


def _raw_rows(path: Path, stated: str | None, encoding: str | None, longest: int) -> Iterator[Raw]:
    kind = stated or ("jsonl" if path == STDIN else _kind_of(path))
    if kind == "parquet":
        yield from _parquet(path)
        return
    try:
        if path == STDIN:
            yield from _text_rows(kind, _buffered(sys.stdin.buffer), sys.stdin.buffer, encoding, longest)
            return
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            lines = _buffered(gzip.GzipFile(fileobj=file)) if packed else file
            yield from _text_rows(kind, lines, file, encoding, longest)
    except (OSError, EOFError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{path} cannot be read: {told}", remedy="Check the path, and that it is whole") from None
    except LookupError:
        raise InvalidArgument(f"there is no encoding {encoding!r}", remedy="--encoding latin-1, cp1252, ...") from None


def _buffered(file: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", file))


def _kind_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else suffixes[-1] if suffixes else ""
    if suffix not in KINDS:
        raise InvalidArgument(
            f"{path}: the name does not say what kind of file it is",
            remedy="Name it .jsonl, .csv, .tsv or .parquet, or say --input-format",
        )
    return KINDS[suffix]


def _text_rows(
    kind: str, lines: io.BufferedReader, file: IO[bytes], encoding: str | None, longest: int
) -> Iterator[Raw]:
    mark = lines.peek(2)[:2]
    stated = encoding or ("utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    if kind == "jsonl":
        first = lines.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if first == b"[":
            raise InvalidArgument(
                "the file is one JSON list, not an object a line", remedy="Make lines of it: jq -c '.[]' FILE"
            )
        if stated in ("utf-8", "utf-8-sig"):
            yield from _json_lines(lines, file, longest)
            return
        recoded = _Recoded(lines, stated)
        try:
            yield from _json_lines(recoded, file, longest)
        finally:
            recoded.detach()
        return
    position = _Position(file)
    for values, mistake in table_rows(lines, "\t" if kind == "tsv" else "", stated, longest):
        yield values, mistake, position.now()


class _Recoded:
    """Lines of a text in another encoding, in UTF-8."""

    def __init__(self, lines: io.BufferedReader, encoding: str) -> None:
        self._text = io.TextIOWrapper(lines, encoding=encoding, errors="replace", newline="\n")

    def readline(self, most: int = -1) -> bytes:
        """The next line, or no more than so many characters of it."""
        return self._text.readline(most).encode()

    def detach(self) -> None:
        """Leaves the file to whoever opened it."""
        self._text.detach()


class _Lines(Protocol):
    def readline(self, most: int = -1, /) -> bytes:
        """The next line, or no more than so much of it."""
        ...


def _json_lines(lines: _Lines, file: IO[bytes], longest: int) -> Iterator[Raw]:
    first, position = True, _Position(file)
    while line := lines.readline(longest + 1):
        if len(line) > longest:
            while line and not line.endswith(b"\n"):  # the rest of a line that is too long
                line = lines.readline(longest)
            yield None, f"the line is longer than {longest:,} bytes", position.now()
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
