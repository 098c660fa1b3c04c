"""A tool that is one SQL statement: values are bound, never written into it.

It only reads unless the file says that it writes.

What it writes is done once for each step of a run: a row in the table `orchestrator_done`, written in the same
transaction, tells that it was.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.types import ANY, LIST, NUMBER, TEXT, ValueType, record, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.document import Input, InputKind
from orchestrator.pipeline.language.fields import Seconds, Strict
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.tool import Arguments, Parameter, PipelineTool

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope

MAX_ROWS = 10_000
MAX_BYTES, MAX_VALUE_BYTES = 20_000_000, 10_000_000
_OPENS = re.compile(r"\s*(?:attach|detach|pragma|vacuum)\b", re.IGNORECASE)
_DONE = "CREATE TABLE IF NOT EXISTS orchestrator_done (key TEXT PRIMARY KEY, result TEXT NOT NULL)"
# Texts, quoted names, comments and PostgreSQL's casts hold colons that are no parameters.
_LEXEME = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|::\w+|(?<![\w:]):([A-Za-z]\w*)|(;)", re.DOTALL
)
_READS = re.compile(r"\s*(?:select|with|values|explain|table)\b", re.IGNORECASE)


class SqlOptions(Strict):
    """A tool that is one SQL statement."""

    sql: str
    """The database: `sqlite:FILE`, or `postgresql://...` (from the environment)."""
    query: str
    """One statement; `:name` stands for a parameter."""
    writes: bool = False
    parameters: dict[str, InputKind | Input] = {}
    """Types of parameters; those that are not listed take anything."""
    gives: dict[str, Any] | str | None = None
    """A JSON Schema of the list of rows, or the file of one."""
    rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 1_000
    timeout: Seconds = 30.0


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tool of an entry, mistakes told."""
    stated = validated(SqlOptions, raw, where, loader.sources, f"tool '{name}'")
    if isinstance(raw.get("sql"), str):
        loader.values.type_of(raw["sql"], (*where, "sql"), scope.only("env"), TEXT, shows=False, what="the tool")
    if stated is None:
        return {}
    statement, names, problem = bound(stated.query)
    if not problem and not stated.writes and not _READS.match(_uncommented(stated.query)):
        problem = "this statement does not only read: say writes: true if it may write"
    if not problem and _OPENS.match(_uncommented(stated.query)):
        problem = "ATTACH, DETACH, PRAGMA and VACUUM reach beyond the database: they are not for a tool"
    for one in stated.parameters:
        if one not in names:
            loader.sources.problem((*where, "parameters", one), "E507", f"the query has no parameter :{one}", key=True)
    if problem:
        loader.sources.problem((*where, "query"), "E507", f"tool '{name}': {problem}")
        return {}
    path = None
    if stated.sql.startswith("sqlite:") and OPEN not in stated.sql:
        path = loader.sources.path_of((*where, "sql"), stated.sql.removeprefix("sqlite:").removeprefix("//"))
        if path is None:
            return {}
    elif not stated.sql.startswith(("postgresql://", "postgres://", "sqlite:")) and OPEN not in stated.sql:
        loader.sources.problem((*where, "sql"), "E507", f"tool '{name}': a database is sqlite:FILE or postgresql://...")
        return {}
    parameters = {one: Parameter(one, _type(stated.parameters.get(one)), True) for one in names}
    schema = loader.schema(stated.gives, (*where, "gives"))
    gives = record(changed=NUMBER) if stated.writes else type_of_schema(schema) if schema is not None else LIST
    return {name: SqlTool(loader.values.compute(stated.sql), path, statement, parameters, gives, stated)}


def _type(stated: Input | str | None) -> ValueType:
    if stated is None:
        return ANY
    kind = stated if isinstance(stated, str) else stated.type
    return ANY if kind == "any" else type_of_schema({"type": {"text": "string", "list": "array"}.get(kind, kind)})


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


class SqlTool(PipelineTool):
    """Runs one statement with bound parameters."""

    def __init__(
        self,
        url: Compute,
        path: Any,
        statement: str,
        parameters: Mapping[str, Parameter],
        gives: ValueType,
        options: SqlOptions,
    ) -> None:
        self._url = url
        self._path = path
        self._statement = statement
        self.parameters: Mapping[str, Parameter] = parameters
        self.gives = gives
        self.has_effects = options.writes
        self._options = options

    async def call(self, arguments: Arguments, running: StepContext) -> JsonValue:
        try:
            url = str(self._url({"env": running.pipeline.env}))
        except ExpressionFailed as error:
            raise ToolFailed(f"the database is not known: {error.message}", remedy=error.remedy) from None
        given = {name: _bindable(value) for name, value in arguments.items()}
        done = self._on_postgres if url.startswith(("postgresql://", "postgres://")) else self._on_sqlite
        found = await asyncio.to_thread(done, url, given, running)
        return running.redacted(found)

    def _on_sqlite(self, url: str, given: JsonObject, running: StepContext) -> Any:
        name = url.removeprefix("sqlite:").removeprefix("//")
        path = self._path or (running.pipeline.path.parent / name)
        resolved = path.resolve()
        if not resolved.is_relative_to(running.pipeline.root):
            raise ToolFailed(f"the database {name!r} lies outside of the project", remedy="Move it there")
        mode = "rw" if self.has_effects else "ro"
        try:
            address = f"{resolved.as_uri()}?mode={mode}"
            db = sqlite3.connect(address, uri=True, timeout=self._options.timeout, isolation_level=None)
        except sqlite3.Error as error:
            raise ToolFailed(f"the database {name!r} cannot be opened: {error}", remedy="Check the path") from None
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        if not self.has_effects:
            db.execute("PRAGMA query_only = ON")
        db.set_authorizer(_allowed)
        late = _Late(db, self._options.timeout)
        try:
            with late:
                return self._written(db, given, running.key) if self.has_effects else self._read(db, given)
        except sqlite3.Error as error:
            told = f"it took longer than {self._options.timeout:g} s" if late.came else str(error)
            message = f"the query failed: {told}"
            raise ToolFailed(message, remedy="Check the query and its values", retryable="locked" in told) from None
        finally:
            db.close()

    def _read(self, db: sqlite3.Connection, given: JsonObject) -> list[JsonObject]:
        cursor = db.execute(_for_sqlite(self._statement), given)
        return _rows(cursor, self._options.rows)

    def _written(self, db: sqlite3.Connection, given: JsonObject, key: str) -> Any:
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(_DONE)
            done = db.execute("SELECT result FROM orchestrator_done WHERE key = ?", (key,)).fetchone()
            if done is not None:
                db.execute("ROLLBACK")
                return json.loads(done[0])
            changed = {"changed": max(db.execute(_for_sqlite(self._statement), given).rowcount, 0)}
            db.execute("INSERT INTO orchestrator_done VALUES (?, ?)", (key, json.dumps(changed)))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return changed

    def _on_postgres(self, url: str, given: JsonObject, running: StepContext) -> Any:
        try:
            import psycopg  # optional: extra `postgres`
        except ImportError:
            raise ToolFailed(
                "a tool on PostgreSQL needs psycopg", remedy="pip install 'compound-orchestrator[postgres]'"
            ) from None
        try:
            with psycopg.connect(url, connect_timeout=10) as db:
                db.execute(f"SET LOCAL statement_timeout = {int(self._options.timeout * 1000)}")
                if not self.has_effects:
                    db.execute("SET TRANSACTION READ ONLY")
                    return _rows(db.execute(self._statement, given), self._options.rows)
                db.execute(_DONE)
                done = db.execute("SELECT result FROM orchestrator_done WHERE key = %s", (running.key,)).fetchone()
                if done is not None:
                    return json.loads(done[0])
                changed = {"changed": max(db.execute(self._statement, given).rowcount, 0)}
                db.execute("INSERT INTO orchestrator_done VALUES (%s, %s)", (running.key, json.dumps(changed)))
                return changed
        except psycopg.Error as error:
            told = str(running.redacted(" ".join(str(error).split())))
            raise ToolFailed(f"the query failed: {told}", remedy="Check the query and its values") from None


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


def _rows(cursor: Any, most: int) -> list[JsonObject]:
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
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


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return float(value) if type(value).__name__ == "Decimal" else str(value)


def _bindable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
