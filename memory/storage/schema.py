"""The SQLite file's tables, and how files of older versions are brought to them, in one transaction, in place.

1: records and a full-text index. 2: what ranking needs of a text is kept with it. 3: repeats, facts that end,
summaries, two sets of vectors. 4: words of every script, repeats that are certain, facts that only add a value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

SCHEMA_VERSION = 4
APPLICATION_ID = 0x6F72_6D65  # "orme"
_RECORDS = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, scope_id INTEGER NOT NULL REFERENCES scopes (id), text TEXT NOT NULL,
    speaker TEXT NOT NULL, time REAL,
    session TEXT NOT NULL, source TEXT NOT NULL, heading TEXT NOT NULL, stored_at REAL NOT NULL,
    chars INTEGER NOT NULL, digest INTEGER,
    asks INTEGER NOT NULL, names INTEGER NOT NULL, numbers INTEGER NOT NULL, personal INTEGER NOT NULL,
    words BLOB NOT NULL, counts BLOB NOT NULL,
    vector BLOB, vector_b BLOB, said INTEGER NOT NULL DEFAULT 1, last_said REAL, valid_until REAL, superseded_by INTEGER
)"""
_TABLES = (
    "CREATE TABLE scopes (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, deletions INTEGER NOT NULL DEFAULT 0, "
    "revisions INTEGER NOT NULL DEFAULT 0, max_records INTEGER, ttl_s REAL)",
    _RECORDS,
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_DERIVED = (
    "CREATE INDEX records_by_scope ON records (scope_id, id)",
    "CREATE INDEX records_by_digest ON records (scope_id, digest) WHERE digest IS NOT NULL AND valid_until IS NULL",
    "CREATE INDEX records_over ON records (scope_id, id, valid_until) WHERE valid_until IS NOT NULL",
    "CREATE INDEX records_by_successor ON records (superseded_by) WHERE superseded_by IS NOT NULL",
    "CREATE TABLE mentions (record_id INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE, place INTEGER NOT "
    "NULL, time REAL, "
    "session TEXT NOT NULL, source TEXT NOT NULL, said INTEGER NOT NULL, PRIMARY KEY (record_id, place)) WITHOUT ROWID",
    "CREATE TABLE facts (id INTEGER PRIMARY KEY, record_id INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE, "
    "scope_id INTEGER NOT NULL, fact INTEGER NOT NULL, value INTEGER NOT NULL, since REAL NOT NULL, is_all INTEGER NOT "
    "NULL, "
    "ended_by INTEGER NOT NULL, ends INTEGER NOT NULL DEFAULT 1)",
    "CREATE INDEX facts_by_time ON facts (scope_id, fact, since)",
    "CREATE INDEX facts_current ON facts (scope_id, fact, ended_by, since)",
    "CREATE INDEX facts_by_record ON facts (record_id)",
    "CREATE INDEX facts_by_successor ON facts (ended_by) WHERE ended_by > 0",
    "CREATE TABLE summaries (id INTEGER PRIMARY KEY, scope_id INTEGER NOT NULL REFERENCES scopes (id), level TEXT NOT "
    "NULL, session TEXT NOT NULL, "
    "text TEXT NOT NULL, sources TEXT NOT NULL, made_by TEXT NOT NULL, tokens INTEGER NOT NULL)",
    "CREATE INDEX summaries_by_scope ON summaries (scope_id)",
    "CREATE TABLE summary_sources (record_id INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE, "
    "summary_id INTEGER NOT NULL REFERENCES summaries (id) ON DELETE CASCADE, PRIMARY KEY (record_id, summary_id)) "
    "WITHOUT ROWID",
    "CREATE INDEX summary_sources_by_summary ON summary_sources (summary_id)",
)
FACTS_OF_4 = "ends INTEGER NOT NULL DEFAULT 1"
OLD_COLUMNS = "id, scope_id, text, speaker, time, session, source, stored_at, vector"
PAGE = 500


def create(database: sqlite3.Connection) -> None:
    """Makes the tables of this version in an empty file."""
    for statement in (*_TABLES, *_DERIVED):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def migrate(database: sqlite3.Connection, version: int, insert: Callable[[tuple[Any, ...]], None]) -> None:
    """From version 1 or 2. `insert` stores a row of `OLD_COLUMNS` as this version does, under its old id.

    From version 3, what was worked out of the texts is made anew by `SqlStore.derive_again`.
    """
    if version == 3:
        database.execute(f"ALTER TABLE facts ADD COLUMN {FACTS_OF_4}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    if version == 1:
        for statement in (
            "ALTER TABLE scopes ADD COLUMN max_records INTEGER",
            "ALTER TABLE scopes ADD COLUMN ttl_s REAL",
            "DROP TABLE lexical",
        ):
            database.execute(statement)
    last = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    database.execute("ALTER TABLE scopes ADD COLUMN revisions INTEGER NOT NULL DEFAULT 0")
    database.execute("ALTER TABLE records RENAME TO records_before")
    database.execute("DROP INDEX records_by_scope")
    for statement in (_RECORDS, *_DERIVED):
        database.execute(statement)
    for row in _paged(database):
        insert(row)
    database.execute("DROP TABLE records_before")
    if last is not None:  # ids are never used twice
        database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'records'", last)
        if not database.execute("SELECT changes()").fetchone()[0]:
            database.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", last)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _paged(database: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    last = 0
    while rows := database.execute(
        f"SELECT {OLD_COLUMNS} FROM records_before WHERE id > ? ORDER BY id LIMIT {PAGE}", (last,)
    ).fetchall():
        yield from rows
        last = rows[-1][0]
