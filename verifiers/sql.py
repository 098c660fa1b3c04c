"""SQL in an answer: does it parse, and does it only read, on tables like the caller's?

Tried on an empty database in memory (SQLite's dialect).
"""

from __future__ import annotations

import asyncio
import re
import sqlite3

from orchestrator.verifiers.verdict import Verdict

MAX_STEPS = 2_000_000  # of SQLite's virtual machine: about a second
MAX_SQL_CHARS = 100_000
MAX_VALUE_BYTES = 10_000_000
_FENCE = re.compile(r"```(?:sql|sqlite)?[^\S\n]{0,40}\n(.*?)```", re.DOTALL | re.IGNORECASE)
_READS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE))
_FORBIDDEN_FUNCTIONS = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"))


class SqlVerifier:
    """Passes one statement that reads and runs on the tables that `schema` creates (with the rows that it inserts, if
    any).

    `expected` are the rows that it has to give, in any order. Decisive. Raises `ValueError` when the schema itself does
    not run.
    """

    name = "sql"

    def __init__(self, schema: str, *, expected: list[tuple[object, ...]] | None = None) -> None:
        self._schema, self._expected = schema, expected
        try:
            self._database().close()
        except sqlite3.Error as error:
            raise ValueError(f"the schema does not run: {error}") from None

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Runs the statement in the answer on an empty database with the schema."""
        return await asyncio.to_thread(self._verify, find_sql(candidate))

    def _verify(self, sql: str) -> Verdict:
        if not sql or len(sql) > MAX_SQL_CHARS:
            told = "the answer holds no SQL" if not sql else f"the SQL has more than {MAX_SQL_CHARS:,} characters"
            return Verdict(self.name, 0.0, False, told, decisive=True)
        database = self._database()
        database.set_authorizer(_only_reading)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        steps = iter(range(MAX_STEPS // 10_000))
        database.set_progress_handler(lambda: next(steps, None) is None, 10_000)
        try:
            rows = database.execute(sql).fetchmany(10_000)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            return Verdict(
                self.name, 0.0, False, f"the SQL does not run: {_plainly(error)}", (sql[:200],), decisive=True
            )
        finally:
            database.close()
        if self._expected is not None and sorted(map(repr, rows)) != sorted(map(repr, self._expected)):
            return Verdict(
                self.name, 0.0, False, f"it gives {rows[:3]!r}, not the expected rows", (sql[:200],), decisive=True
            )
        return Verdict(self.name, 1.0, True, evidence=(sql[:200],), decisive=True)

    def _database(self) -> sqlite3.Connection:
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.executescript(self._schema)
        return database


def find_sql(text: str) -> str:
    """The last fenced block, or the whole text; a semicolon at its end dropped."""
    blocks = _FENCE.findall(text)
    return (blocks[-1] if blocks else text).strip().rstrip(";").strip()


def _only_reading(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action not in _READS or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _plainly(error: Exception) -> str:
    told = str(error)
    return (
        "it does more than read"
        if told.startswith("not authorized")
        else "it takes too long"
        if told == "interrupted"
        else told
    )
