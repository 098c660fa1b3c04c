"""Shards in Parquet (extra `train`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import orjson

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject, JsonValue


def check_pyarrow() -> None:
    """Raises `InvalidArgument` where Parquet cannot be read or written."""
    if find_spec("pyarrow") is None:
        raise InvalidArgument("Parquet needs the package pyarrow", remedy="pip install 'compound-orchestrator[train]'")


def parquet_rows(path: Path) -> Iterator[JsonObject]:
    """The ids of the rows of a shard, and the hashes of what they held."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        names = [name for name in ("id", "content", "cost_usd") if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=names):
            yield from batch.to_pylist()


def as_parquet(path: Path, lines: Iterable[JsonObject]) -> Path:
    """The shard in Parquet; what is no plain value stands there as JSON."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    rows = [{name: _plain(value) for name, value in line.items()} for line in lines]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column(arrow, [row.get(name) for row in rows]) for name in names}
    target = path.with_suffix(".parquet")
    partial = path.with_suffix(".parquet.partial")
    parquet.write_table(arrow.table(columns), partial)
    os.replace(partial, target)
    return target


def _plain(value: JsonValue) -> JsonValue:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _column(arrow: ModuleType, values: list[object]) -> object:
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):  # a number in one row, a text in another
        return arrow.array([None if value is None else str(value) for value in values])
