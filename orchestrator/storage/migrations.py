"""Brings the tables of one part of a database to the version that this package knows.

One runner for everything but the memory's own files.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import StorageError
from orchestrator.storage.database import Database

LOCK = 0x6F72_6763  # of PostgreSQL's advisory locks: one process at a time prepares a schema


def migrate(database: Database, part: str, migrations: Sequence[str]) -> None:
    """Makes or migrates the tables of `part`.

    The first of `migrations` makes them, each further one leads from one version to the next.

    All of it happens in one transaction, so that a failure leaves the database as it was. Raises `StorageError` on
    tables of a later version.
    """
    with database.writing() as run:
        if database.locking:
            run("SELECT pg_advisory_xact_lock(?)", LOCK)
        run("CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, version BIGINT NOT NULL)")
        found = run("SELECT version FROM parts WHERE name = ?", part)
        version = int(found[0][0]) if found else 0
        if version > len(migrations):
            told = f"{database.where}: {part} has schema {version}, this version knows {len(migrations)}"
            raise StorageError(told, remedy="Upgrade orchestrator, or restore a backup of the older schema")
        for statement in (each for script in migrations[version:] for each in script.split(";")):
            if statement.strip():
                run(statement)
        if version < len(migrations):
            upsert = "INSERT INTO parts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version"
            run(upsert, part, len(migrations))
