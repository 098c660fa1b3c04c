"""Copies of databases, consistent while others write, and back again.

SQLite: its own online backup (sqlite.org/backup.html), checked afterwards. PostgreSQL: every table of our schemas in
one read-only transaction that sees one moment (isolation level "repeatable read"), each as a file of COPY's text form.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.jsontypes import JsonObject

SCHEMAS = ("orchestrator", "orchestrator_memory")
HEAD = b"columns: "
MOVED_AT_ONCE = 1_000  # rows


def copy_sqlite(source: Path, target: Path) -> None:
    """Copies a database to a file that is not there. Raises `StorageError` on one that is damaged."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(target)) as to,
        ):
            read.backup(to)
            told = to.execute("PRAGMA quick_check(1)").fetchone()[0]
            to.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise StorageError(f"{source} cannot be copied: {error}", remedy="Check that it is a database") from error
    if told != "ok":
        raise StorageError(f"{source} is damaged: {told}", remedy="Salvage a memory with `orchestrator salvage`")
    target.chmod(0o600)


def copy_postgres(url: str, folder: Path) -> list[JsonObject]:
    """Writes every table into `folder`; what there is of each.

    Raises `StorageError` where the database cannot be read.
    """
    folder.mkdir(mode=0o700)
    with _connected(url) as db, db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return [_dump(db, schema, table, folder) for schema, table in _tables(db)]


def _dump(db: Any, schema: str, table: str, folder: Path) -> JsonObject:
    columns = _columns(db, schema, table)
    named = ", ".join(f'"{column}"' for column in columns)
    path = folder / f"{schema}.{table}.copy"
    rows = 0
    with path.open("wb") as file, db.cursor() as cursor:
        file.write(HEAD + ",".join(columns).encode() + b"\n")
        with cursor.copy(f'COPY "{schema}"."{table}" ({named}) TO STDOUT') as copied:
            for part in copied:
                data = bytes(part)
                rows += data.count(b"\n")
                file.write(data)
    path.chmod(0o600)
    return {"schema": schema, "table": table, "rows": rows, "file": path.name}


def restore_postgres(url: str, folder: Path, prepare: Callable[[], None]) -> int:
    """Loads what `copy_postgres` wrote into a database without our tables' rows; how many rows there were.

    `prepare` makes the tables of this version. Raises `StorageError` where rows are there already, or a file is none.
    """
    files = sorted(folder.glob("*.copy"))
    _check_empty(url)
    prepare()
    rows = 0
    with _connected(url) as db, db.transaction():
        names = {tuple(path.name.removesuffix(".copy").split(".", 1)): path for path in files}
        order = [name for name in _by_dependence(db) if name in names]
        for schema, table in reversed(order):
            db.execute(f'DELETE FROM "{schema}"."{table}"')  # what making the tables has left in them
        for schema, table in order:
            rows += _load(db, schema, table, names[schema, table])
        unknown = names.keys() - set(order)
        if unknown:
            raise StorageError(
                f"the backup holds tables that this version does not know: {sorted(unknown)[0]}",
                remedy="Restore with the version that wrote it, or a later one",
            )
    return rows


def load_sqlite(url: str, files: Sequence[Path], prepare: Callable[[], None]) -> int:
    """Loads the tables of SQLite databases into a PostgreSQL database without our tables' rows; how many rows.

    `prepare` makes the tables of this version. Raises `StorageError` where rows are there already, or a file is of
    another version.
    """
    _check_empty(url)
    prepare()
    rows = 0
    with _connected(url) as db, db.transaction():
        order = [table for schema, table in _by_dependence(db) if schema == SCHEMAS[0] and table != "parts"]
        for table in reversed(order):
            db.execute(f'DELETE FROM "{SCHEMAS[0]}"."{table}"')  # what making the tables has left in them
        versions = dict(db.execute(f'SELECT name, version FROM "{SCHEMAS[0]}".parts').fetchall())
        for path in files:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as read:
                _check_versions(path, dict(read.execute("SELECT name, version FROM parts").fetchall()), versions)
                rows += sum(_moved(read, db, table) for table in order)
    return rows


def _check_empty(url: str) -> None:
    with _connected(url) as db:
        there = [f"{schema}.{table}" for schema, table in _tables(db) if _has_rows(db, schema, table)]
    if there:
        raise StorageError(
            f"the database has rows already, in {', '.join(there[:3])}", remedy="Restore into an empty database"
        )


def _check_versions(path: Path, stated: dict[str, int], known: dict[str, int]) -> None:
    for part, version in stated.items():
        if known.get(part) != version:
            raise StorageError(
                f"{path.name}: {part} has schema {version}, this version has {known.get(part, 'none')}",
                remedy="Let this version serve the file once, which brings it up to date, and back it up again",
            )


def _moved(read: sqlite3.Connection, db: Any, table: str) -> int:
    """Copies a table from SQLite, in parts; a row whose key is there already stays as it is."""
    there = [row[1] for row in read.execute(f'PRAGMA table_info("{table}")')]
    columns = [column for column in _columns(db, SCHEMAS[0], table) if column in there]
    if not columns:
        return 0
    named, places = ", ".join(f'"{column}"' for column in columns), ", ".join(["%s"] * len(columns))
    insert = f'INSERT INTO "{SCHEMAS[0]}"."{table}" ({named}) VALUES ({places}) ON CONFLICT DO NOTHING'
    found = read.execute(f'SELECT {named} FROM "{table}"')
    rows = 0
    with db.cursor() as cursor:
        while part := found.fetchmany(MOVED_AT_ONCE):
            cursor.executemany(insert, part)
            rows += len(part)
    _advance_sequences(db, SCHEMAS[0], table, columns)
    return rows


def _load(db: Any, schema: str, table: str, path: Path) -> int:
    rows = 0
    with path.open("rb") as file, db.cursor() as cursor:
        head = file.readline()
        if not head.startswith(HEAD):
            raise StorageError(f"{path} is no table of a backup", remedy="Give the folder that `backup` wrote")
        columns = head.removeprefix(HEAD).decode().strip().split(",")
        known = set(_columns(db, schema, table))
        if not set(columns) <= known:
            missing = sorted(set(columns) - known)[0]
            raise StorageError(
                f"{schema}.{table} has no column {missing!r} in this version", remedy="Restore with a later version"
            )
        named = ", ".join(f'"{column}"' for column in columns)
        with cursor.copy(f'COPY "{schema}"."{table}" ({named}) FROM STDIN') as copied:
            while part := file.read(1_000_000):
                rows += part.count(b"\n")
                copied.write(part)
    _advance_sequences(db, schema, table, columns)
    return rows


def _advance_sequences(db: Any, schema: str, table: str, columns: Sequence[str]) -> None:
    """Numbers that the database gives go on behind those of the rows."""
    for column in columns:
        found = db.execute("SELECT pg_get_serial_sequence(%s, %s)", (f"{schema}.{table}", column)).fetchone()[0]
        if found is not None:
            highest = f'SELECT setval(%s, coalesce(max("{column}"), 0) + 1, false) FROM "{schema}"."{table}"'
            db.execute(highest, (found,))


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    try:
        import psycopg  # extra `postgres`
    except ImportError:
        raise StorageError(
            "a database on PostgreSQL needs psycopg", remedy="pip install 'compound-orchestrator[postgres]'"
        ) from None
    where = url.rpartition("@")[2]
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as db:
            yield db
    except psycopg.Error as error:
        told = " ".join(str(error).split())
        raise StorageError(f"the database at {where} cannot be used: {told}", remedy="Check server, rights") from error


def _tables(db: Any) -> list[tuple[str, str]]:
    sql = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) ORDER BY 1, 2"
    return [(schema, table) for schema, table in db.execute(sql, (list(SCHEMAS),)).fetchall()]


def _has_rows(db: Any, schema: str, table: str) -> bool:
    if table in ("parts", "settings"):  # versions and the memory's encoder: making the tables writes them
        return False
    return bool(db.execute(f'SELECT EXISTS (SELECT 1 FROM "{schema}"."{table}")').fetchone()[0])


def _columns(db: Any, schema: str, table: str) -> list[str]:
    sql = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s AND "
        "is_generated = 'NEVER' ORDER BY ordinal_position"
    )
    return [row[0] for row in db.execute(sql, (schema, table)).fetchall()]


def _by_dependence(db: Any) -> list[tuple[str, str]]:
    """The tables, each behind those that its foreign keys name."""
    sql = (
        "SELECT n.nspname, c.relname, fn.nspname, fc.relname FROM pg_constraint k "
        "JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_class fc ON fc.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace "
        "WHERE k.contype = 'f' AND n.nspname = ANY(%s)"
    )
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {name: set() for name in _tables(db)}
    for schema, table, other_schema, other in db.execute(sql, (list(SCHEMAS),)).fetchall():
        if (schema, table) != (other_schema, other):
            needs[schema, table].add((other_schema, other))
    ordered: list[tuple[str, str]] = []
    while len(ordered) < len(needs):
        ready = sorted(name for name in needs if name not in ordered and needs[name] <= set(ordered))
        if not ready:
            raise StorageError("the tables refer to each other in a circle", remedy="Use pg_restore")
        ordered += ready
    return ordered


def move_aside(path: Path) -> Path | None:
    """Moves what a restored file would replace to a name beside it; `None` where nothing is there.

    A log that SQLite left beside a database goes with it, also where the database itself is gone: it would be read into
    the restored one.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.before-restore-{number}")).exists():
        number += 1
    moved = [suffix for suffix in ("", "-wal", "-shm") if path.with_name(path.name + suffix).exists()]
    for suffix in moved:
        os.replace(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    return aside if moved else None


def check_sqlite(path: Path) -> None:
    """Raises `StorageError` on a file that is no whole database."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            told = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        told = str(error)
    if told != "ok":
        raise StorageError(f"{path} is no whole database: {told}", remedy="Restore another backup")


def check_unused(path: Path) -> None:
    """Raises `StorageError` where a process has a database open: it would go on with the file that is moved away."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            db.execute("ROLLBACK")
            (mode,) = db.execute("PRAGMA journal_mode").fetchone()
            db.execute("PRAGMA journal_mode = DELETE")  # which SQLite does only where nobody else has it open
            db.execute(f"PRAGMA journal_mode = {mode}")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StorageError(f"{path} is open in another process", remedy="Stop the gateway first") from error
    except sqlite3.Error:
        return  # it is no database: what is there is moved aside
