"""One SQL statement as a tool: values are bound, never written into it.

What it writes is done once for each key of a call: a row in the table `orchestrator_done`, written in the same
transaction, tells that it was.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from orchestrator.config.tools import Input, SqlOptions
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.tools.calling import Caller, Parameter
from orchestrator.tools.http import schema_of_input
from orchestrator.tools.threads import in_tool_thread
from orchestrator.tools.tool import ToolFailed

MAX_BYTES, MAX_VALUE_BYTES = 20_000_000, 10_000_000
_OPENS = re.compile(r"\s*(?:attach|detach|pragma|vacuum)\b", re.IGNORECASE)
_DONE = "CREATE TABLE IF NOT EXISTS orchestrator_done (key TEXT PRIMARY KEY, result TEXT NOT NULL)"
# Texts, quoted names, comments and PostgreSQL's casts hold colons that are no parameters.
_LEXEME = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|::\w+|(?<![\w:]):([A-Za-z]\w*)|(;)", re.DOTALL
)
_READS = re.compile(r"\s*(?:select|with|values|explain|table)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement: `text` with `%(name)s` for its parameters, whose names are `names`."""

    text: str
    names: tuple[str, ...]
    writes: bool
    max_rows: int
    timeout_s: float

    @classmethod
    def read(cls, stated: SqlOptions) -> SqlStatement | str:
        """The statement, or what is wrong with it."""
        text, names, problem = bound(stated.query)
        if not problem and not stated.writes and not _READS.match(_uncommented(stated.query)):
            problem = "this statement does not only read: say writes: true if it may write"
        if not problem and _OPENS.match(_uncommented(stated.query)):
            problem = "ATTACH, DETACH, PRAGMA and VACUUM reach beyond the database: they are not for a tool"
        return problem or cls(text, tuple(names), stated.writes, stated.rows, stated.timeout)

    async def run(self, url: str, arguments: JsonMapping, caller: Caller, path: Path | None = None) -> JsonValue:
        """The rows that it finds, or how many it changed. Raises `ToolFailed`.

        `url` is that of the database; of SQLite's, `path` is the file.
        """
        given = {name: _bindable(value) for name, value in arguments.items()}
        if is_postgres(url):
            found = await in_tool_thread(self._on_postgres, url, given, caller)
        else:
            assert path is not None
            found = await in_tool_thread(self._on_sqlite, path, given, caller.key)
        return caller.redacted(found)

    def _on_sqlite(self, path: Path, given: JsonObject, key: str) -> JsonValue:
        mode = "rw" if self.writes else "ro"
        try:
            address = f"{path.as_uri()}?mode={mode}"
            db = sqlite3.connect(address, uri=True, timeout=self.timeout_s, isolation_level=None)
        except sqlite3.Error as error:
            raise ToolFailed(f"the database {path.name!r} cannot be opened: {error}", remedy="Check the path") from None
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        if not self.writes:
            db.execute("PRAGMA query_only = ON")
        db.set_authorizer(_allowed)
        late = _Late(db, self.timeout_s)
        try:
            with late:
                return self._written(db, given, key) if self.writes else self._read_rows(db, given)
        except sqlite3.Error as error:
            told = f"it took longer than {self.timeout_s:g} s" if late.came else str(error)
            message = f"the query failed: {told}"
            raise ToolFailed(message, remedy="Check the query and its values", retryable="locked" in told) from None
        finally:
            db.close()

    def _read_rows(self, db: sqlite3.Connection, given: JsonObject) -> list[JsonObject]:
        return _rows(db.execute(_for_sqlite(self.text), given), self.max_rows)

    def _written(self, db: sqlite3.Connection, given: JsonObject, key: str) -> JsonObject:
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(_DONE)
            done = db.execute("SELECT result FROM orchestrator_done WHERE key = ?", (key,)).fetchone()
            if done is not None:
                db.execute("ROLLBACK")
                earlier: JsonObject = json.loads(done[0])
                return earlier
            changed = {"changed": max(db.execute(_for_sqlite(self.text), given).rowcount, 0)}
            db.execute("INSERT INTO orchestrator_done VALUES (?, ?)", (key, json.dumps(changed)))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return changed

    def _on_postgres(self, url: str, given: JsonObject, caller: Caller) -> JsonValue:
        try:
            import psycopg  # optional: extra `postgres`
        except ImportError:
            raise ToolFailed(
                "a tool on PostgreSQL needs psycopg", remedy="pip install 'compound-orchestrator[postgres]'"
            ) from None
        try:
            with psycopg.connect(url, connect_timeout=10) as db:
                db.execute(f"SET LOCAL statement_timeout = {int(self.timeout_s * 1000)}")
                if not self.writes:
                    db.execute("SET TRANSACTION READ ONLY")
                    return _rows(db.execute(self.text, given), self.max_rows)
                db.execute(_DONE)
                done = db.execute("SELECT result FROM orchestrator_done WHERE key = %s", (caller.key,)).fetchone()
                if done is not None:
                    return json.loads(done[0])
                changed = {"changed": max(db.execute(self.text, given).rowcount, 0)}
                db.execute("INSERT INTO orchestrator_done VALUES (%s, %s)", (caller.key, json.dumps(changed)))
                return changed
        except psycopg.Error as error:
            told = str(caller.redacted(" ".join(str(error).split())))
            raise ToolFailed(f"the query failed: {told}", remedy="Check the query and its values") from None


class Rows(Protocol):
    """What both databases give for a query that has run."""

    @property
    def description(self) -> Sequence[Sequence[object]] | None:
        """The columns; `None` if it gave none."""

    def __iter__(self) -> Iterator[Sequence[object]]:
        """The rows."""


def is_postgres(url: str) -> bool:
    """Whether the address of a database is one of PostgreSQL."""
    return url.startswith(("postgresql://", "postgres://"))


def statement_parameters(
    statement: SqlStatement, stated: SqlOptions, schemas: Mapping[str, JsonObject]
) -> dict[str, Parameter]:
    """What a statement takes; `schemas` are those of parameters that state one."""
    found: dict[str, Parameter] = {}
    for name in statement.names:
        one = stated.parameters.get(name, "any")
        entry = Input.model_validate({"type": one}) if isinstance(one, str) else one
        found[name] = Parameter(name, schema_of_input(entry, schemas.get(name)), True)
    return found


def bound(query: str) -> tuple[str, list[str], str]:
    """The statement with `%(name)s` for its parameters (percent signs doubled), their names, and what is wrong with
    it.
    """
    names: dict[str, None] = {}
    parts, at, problem = [], 0, ""
    for found in _LEXEME.finditer(query):
        parts.append(query[at : found.start()].replace("%", "%%"))
        if found[1]:
            names.setdefault(found[1])
            parts.append(f"%({found[1]})s")
        elif found[2]:
            if _uncommented(query[found.end() :]).strip():
                problem = "it holds more than one statement"
        else:
            parts.append(found[0].replace("%", "%%"))
        at = found.end()
    parts.append(query[at:].replace("%", "%%"))
    return "".join(parts), list(names), problem


def _uncommented(query: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL)


class _Late:
    """Interrupts a connection when a query takes too long."""

    def __init__(self, db: sqlite3.Connection, seconds: float) -> None:
        self.came = False
        self._db = db
        self._timer = threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True

    def _interrupt(self) -> None:
        self.came = True
        self._db.interrupt()

    def __enter__(self) -> _Late:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _allowed(action: int, one: str | None, other: str | None, database: str | None, inner: str | None) -> int:
    """SQLite asks for each thing that a statement does.

    No other file is attached, no setting changed, no library loaded.
    """
    is_forbidden = action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA) or (
        action == sqlite3.SQLITE_FUNCTION and str(other).lower() == "load_extension"
    )
    return sqlite3.SQLITE_DENY if is_forbidden else sqlite3.SQLITE_OK


def _for_sqlite(statement: str) -> str:
    return re.sub(r"%\((\w+)\)s", r":\1", statement).replace("%%", "%")


def _rows(cursor: Rows, most: int) -> list[JsonObject]:
    if cursor.description is None:
        return []
    names = [str(column[0]) for column in cursor.description]
    found, size = [], 0
    for row in cursor:
        found.append({name: _plain(value) for name, value in zip(names, row, strict=True)})
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > MAX_BYTES:
            raise ToolFailed(
                f"the rows have more than {MAX_BYTES:,} bytes", remedy="Ask for fewer rows, or fewer columns"
            )
        if len(found) >= most:
            break
    return found


def _plain(value: object) -> JsonValue:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return float(value) if isinstance(value, Decimal) else str(value)


def _bindable(value: JsonValue) -> JsonValue:
    return json.dumps(value) if isinstance(value, list | dict) else value
