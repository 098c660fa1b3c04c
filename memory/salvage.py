"""What can still be read of a damaged memory, into a new one. The damaged file is only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.errors import InvalidRecord, StoreError
from orchestrator.memory.memory import Memory
from orchestrator.memory.record import NewRecord, from_timestamp
from orchestrator.memory.storage.encryption import Cipher

BLOCK = 256
_ROWS = (
    "SELECT records.id, scopes.path, {columns} FROM records JOIN scopes ON scopes.id = scope_id WHERE records.id "
    "BETWEEN ? AND ?"
)
_COLUMNS, _NEWER = "text, speaker, time, session, source", ", heading"  # schema 3


@dataclass(frozen=True, slots=True)
class Salvaged:
    """`records` were read and stored anew, under new ids; `unreadable` ids are damaged, or were deleted before.

    A damaged file cannot tell.
    """

    records: int
    unreadable: int


def salvage(
    damaged: str | Path, into: str | Path, *, encoder: Encoder | None = None, cipher: Cipher | None = None
) -> Salvaged:
    """Copies every readable record of `damaged` to the memory `into`, which must not exist yet.

    Both are sealed by `cipher`, if there is one.

    Raises `StoreError` when not even the list of records can be read, or `into` exists.
    """
    damaged, into = Path(damaged), Path(into)
    if not damaged.exists() or into.exists():
        raise StoreError(
            f"{damaged}: no such file" if not damaged.exists() else f"{into} exists already: choose a new file"
        )
    database = sqlite3.connect(damaged, timeout=10.0, isolation_level=None)
    try:
        last = _last_id(database, damaged)
        saved, read = 0, 0
        with Memory(into, encoder=encoder, cipher=cipher) as memory:
            for path, rows in groupby(_readable(database, last), key=lambda row: row[1]):
                records = [record for row in rows if (record := _record(row, cipher)) is not None]
                read += len(records)
                saved += len(memory.remember_many(records, path))
        return Salvaged(saved, last - read)
    finally:
        database.close()


def _last_id(database: sqlite3.Connection, path: Path) -> int:
    for query in ("SELECT seq FROM sqlite_sequence WHERE name = 'records'", "SELECT max(id) FROM records"):
        try:
            row = database.execute(query).fetchone()
        except sqlite3.DatabaseError:
            continue
        if row is not None and row[0] is not None:
            return int(row[0])
    raise StoreError(f"{path}: nothing can be read of it as a memory")


def _readable(database: sqlite3.Connection, last: int) -> Iterator[tuple[Any, ...]]:
    """Rows in order of their ids: by blocks, and where a block cannot be read, one by one."""
    rows = _ROWS.format(columns=_COLUMNS + _NEWER)
    try:
        database.execute(rows, (0, 0))
    except sqlite3.DatabaseError:
        rows = _ROWS.format(columns=_COLUMNS)
    for first in range(1, last + 1, BLOCK):
        try:
            yield from database.execute(rows, (first, min(first + BLOCK - 1, last))).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            for record_id in range(first, min(first + BLOCK, last + 1)):
                try:
                    yield from database.execute(rows, (record_id, record_id)).fetchall()
                except (sqlite3.DatabaseError, UnicodeDecodeError):
                    continue


def _record(row: tuple[Any, ...], cipher: Cipher | None) -> NewRecord | None:
    stored = (row[2], row[3], row[5], row[6], *row[7:])
    try:
        parts = (
            stored
            if cipher is None
            else [_text_of(row, cipher), *(cipher.unseal(part, row[1]).decode() for part in stored[1:])]
        )
        return NewRecord(parts[0], parts[1], from_timestamp(row[4]), *parts[2:])
    except (InvalidRecord, StoreError, TypeError, ValueError, OverflowError):
        return None


def _text_of(row: tuple[Any, ...], cipher: Cipher) -> str:
    """The text of a record, sealed for its row, or by an older version for its scope."""
    try:
        return cipher.unseal(row[2], f"{row[1]}\x00{row[0]}").decode()
    except StoreError:
        return cipher.unseal(row[2], row[1]).decode()
