"""Rows of a table, CSV or TSV: as the csv module reads them, but within bounds, and with the place of what is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import chain

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonValue

NOT_UTF8 = "it is not UTF-8"

Row = tuple[Mapping[str, JsonValue] | None, str]  # (values, or what is wrong)


def table_rows(lines: io.BufferedReader, delimiter: str, encoding: str, longest: int) -> Iterator[Row]:
    """Rows of a table whose first line names the columns; `delimiter` "" is found out.

    Raises `InvalidArgument` where the first line names none.
    """
    csv.field_size_limit(longest)
    text = io.TextIOWrapper(lines, encoding=encoding, errors="surrogateescape", newline="")
    try:
        of_table = _TableLines(text, longest)
        head = _first_of(of_table)
        separator = delimiter or max(",;\t", key=head.count)  # Excel writes semicolons in half of the world
        reader = csv.reader(chain([head], of_table), delimiter=separator, strict=True)
        names = _names(_first_line(reader))
        while True:
            begin = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield None, f"it is no row of a table: {error}{_lines_of(begin, reader.line_num)}"
                continue
            if cells:
                values, mistake = _record(names, cells)
                yield values, mistake and mistake + _lines_of(begin, reader.line_num)
    finally:
        text.detach()  # whoever opened the file closes it


class _TableLines:
    """Lines of a table: one that is too long raises `csv.Error`, and the next one follows."""

    def __init__(self, text: io.TextIOWrapper, longest: int) -> None:
        self._text = text
        self._longest = longest

    def __iter__(self) -> _TableLines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._longest + 1)
        if not line:
            raise StopIteration
        if len(line) <= self._longest:
            return line
        while line and not line.endswith(("\n", "\r")):
            line = self._text.readline(self._longest)
        raise csv.Error(f"a line is longer than {self._longest:,} characters")


def _first_of(lines: Iterator[str]) -> str:
    try:
        return next(lines, "")
    except csv.Error as error:
        raise InvalidArgument(
            f"the first line is no row of a table: {error}", remedy="Name the columns in it"
        ) from None


def _lines_of(begin: int, end: int) -> str:
    """Where a row stands that goes over several lines: a stray quote swallows those behind it."""
    return f" (lines {begin:,} to {end:,}: is a quote missing?)" if end > begin else f" (line {begin:,})"


def _first_line(reader: Iterator[list[str]]) -> list[str]:
    try:
        return next(reader, [])
    except csv.Error as error:
        raise InvalidArgument(f"the first line is no row of a table: {error}", remedy="Mend its quotes") from None


def _names(cells: list[str]) -> list[str]:
    names = [name.strip() for name in cells]
    if not _is_text(names):
        raise InvalidArgument("the table is not UTF-8", remedy="Say --encoding latin-1 or cp1252, or save it as UTF-8")
    if len(set(names)) < len(names) or "" in names:
        raise InvalidArgument(
            f"the columns of the table are not all named, or two alike: {', '.join(names)[:200]}",
            remedy="Give each column a name of its own in the first line",
        )
    return names


def _record(names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        return None, f"it has {len(cells)} cells, and the table {len(names)} columns"
    if not _is_text(cells):
        return None, f"{NOT_UTF8}: say --encoding latin-1 or cp1252, or save the file as UTF-8"
    return dict(zip(names, cells, strict=True)), ""


def _is_text(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 stand in it as surrogates
        return False
    return True
