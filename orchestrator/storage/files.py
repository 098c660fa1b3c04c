"""What callers leave with the gateway: files, batches with their lines, and responses that later ones continue.

Each belongs to one organisation.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE files (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, key TEXT NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL, content {blob} NOT NULL
);
CREATE INDEX files_by_org ON files (org, created_at);
CREATE TABLE batches (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, key TEXT NOT NULL, status TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    holder TEXT NOT NULL, held_at DOUBLE PRECISION NOT NULL, described TEXT NOT NULL
);
CREATE INDEX batches_by_org ON batches (org, created_at);
CREATE TABLE batch_lines (
    batch TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE, line BIGINT NOT NULL, is_error BIGINT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (batch, line)
);
CREATE TABLE responses (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, messages TEXT NOT NULL,
    response TEXT NOT NULL
)
"""
BATCH_ENDS = ("completed", "failed", "cancelled", "expired")


def new_file_id() -> str:
    """An id that no other file has."""
    return f"file-{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a stored file."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """`described` is the batch as its owner sees it, apart from what the lines tell."""

    id: str
    org: str
    key: str
    status: str
    created_at: float
    described: dict[str, Any]


class Documents:
    """Calls block. Every reading names the organisation, but for the work on batches that goes on by itself."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "documents", [_SCHEMA.format(blob=database.blob)])

    def add_file(self, org: str, key: str, id: str, filename: str, purpose: str, content: bytes) -> StoredFile:
        """Stores a file."""
        now = self._clock()
        with self._database.writing() as run:
            run(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                id,
                org,
                key,
                filename,
                purpose,
                len(content),
                now,
                content,
            )
        return StoredFile(id, filename, purpose, len(content), now)

    def files(self, org: str) -> list[StoredFile]:
        """The files of an organisation, the newest first."""
        sql = (
            "SELECT id, filename, purpose, bytes, created_at FROM files WHERE org = ? ORDER BY created_at DESC, id "
            "LIMIT 1000"
        )
        return [StoredFile(*row) for row in self._database.read(sql, org)]

    def file(self, org: str, id: str) -> StoredFile | None:
        """A file of an organisation; `None` if it is not there."""
        rows = self._database.read(
            "SELECT id, filename, purpose, bytes, created_at FROM files WHERE org = ? AND id = ?", org, id
        )
        return StoredFile(*rows[0]) if rows else None

    def content(self, org: str, id: str) -> bytes | None:
        """The content of a file; `None` if it is not there."""
        rows = self._database.read("SELECT content FROM files WHERE org = ? AND id = ?", org, id)
        return bytes(rows[0][0]) if rows else None

    def delete_file(self, org: str, id: str) -> bool:
        """Deletes a file. False if it is not there."""
        with self._database.writing() as run:
            return bool(run("DELETE FROM files WHERE org = ? AND id = ? RETURNING id", org, id))

    def bytes_of(self, org: str) -> int:
        """How much an organisation has left here."""
        return int(self._database.read("SELECT coalesce(sum(bytes), 0) FROM files WHERE org = ?", org)[0][0])

    def add_batch(self, org: str, key: str, id: str, described: JsonObject) -> StoredBatch:
        """Stores a batch that is to be worked on."""
        now = self._clock()
        with self._database.writing() as run:
            run(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, '', 0, ?)",
                id,
                org,
                key,
                "validating",
                now,
                json.dumps(described),
            )
        return StoredBatch(id, org, key, "validating", now, described)

    def batches(self, org: str) -> list[StoredBatch]:
        """The batches of an organisation, the newest first."""
        sql = (
            "SELECT id, org, key, status, created_at, described FROM batches WHERE org = ? ORDER BY created_at DESC, "
            "id LIMIT 1000"
        )
        return [_batch(row) for row in self._database.read(sql, org)]

    def batch(self, org: str, id: str) -> StoredBatch | None:
        """A batch of an organisation; `None` if it is not there."""
        rows = self._database.read(
            "SELECT id, org, key, status, created_at, described FROM batches WHERE org = ? AND id = ?", org, id
        )
        return _batch(rows[0]) if rows else None

    def unfinished(self, *, held_before: float) -> list[StoredBatch]:
        """Batches that nobody works on: new ones, and those whose worker has not been heard of since."""
        marks = ", ".join("?" * len(BATCH_ENDS))
        sql = (
            f"SELECT id, org, key, status, created_at, described FROM batches WHERE status NOT IN ({marks}) AND "
            "held_at < ? ORDER BY created_at"
        )
        return [_batch(row) for row in self._database.read(sql, *BATCH_ENDS, held_before)]

    def hold_batch(self, id: str, holder: str, *, held_before: float) -> bool:
        """Takes a batch to work on, or keeps it; false if another worker has it."""
        with self._database.writing() as run:
            sql = "UPDATE batches SET holder = ?, held_at = ? WHERE id = ? AND (holder = ? OR held_at < ?) RETURNING id"
            return bool(run(sql, holder, self._clock(), id, holder, held_before))

    def let_go_of_batch(self, id: str, holder: str) -> None:
        """Another worker may take it at once."""
        with self._database.writing() as run:
            run("UPDATE batches SET held_at = 0 WHERE id = ? AND holder = ?", id, holder)

    def change_batch(self, id: str, status: str, changes: JsonObject, *, unless: tuple[str, ...] = BATCH_ENDS) -> bool:
        """Moves a batch on, unless it is in one of these states; `changes` go into its description."""
        with self._database.writing() as run:
            rows = run(f"SELECT status, described FROM batches WHERE id = ?{self._database.locking}", id)
            if not rows or rows[0][0] in unless:
                return False
            run(
                "UPDATE batches SET status = ?, described = ? WHERE id = ?",
                status,
                json.dumps({**json.loads(rows[0][1]), **changes}),
                id,
            )
            return True

    def add_line(self, batch: str, line: int, result: JsonObject, *, is_error: bool) -> None:
        """Stores what a line of a batch gave; a second time changes nothing."""
        with self._database.writing() as run:
            run(
                "INSERT INTO batch_lines VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                batch,
                line,
                int(is_error),
                json.dumps(result),
            )

    def lines(self, batch: str, *, is_error: bool) -> list[str]:
        """What the lines of a batch gave, in their order."""
        sql = "SELECT result FROM batch_lines WHERE batch = ? AND is_error = ? ORDER BY line"
        return [row[0] for row in self._database.read(sql, batch, int(is_error))]

    def done_lines(self, batch: str) -> set[int]:
        """The numbers of the lines that are done."""
        return {int(row[0]) for row in self._database.read("SELECT line FROM batch_lines WHERE batch = ?", batch)}

    def counts(self, batch: str) -> tuple[int, int]:
        """(lines that were answered, lines that failed)."""
        rows: dict[int, int] = dict(
            self._database.read("SELECT is_error, count(*) FROM batch_lines WHERE batch = ? GROUP BY is_error", batch)
        )
        return int(rows.get(0, 0)), int(rows.get(1, 0))

    def keep_response(self, org: str, id: str, messages: list[JsonObject], response: JsonObject) -> None:
        """Stores a response with the conversation that led to it."""
        with self._database.writing() as run:
            run(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?)",
                id,
                org,
                self._clock(),
                json.dumps(messages),
                json.dumps(response),
            )

    def response(self, org: str, id: str) -> tuple[list[JsonObject], JsonObject] | None:
        """(the conversation up to its end, the response)."""
        rows = self._database.read("SELECT messages, response FROM responses WHERE org = ? AND id = ?", org, id)
        return (json.loads(rows[0][0]), json.loads(rows[0][1])) if rows else None

    def forget_responses(self, *, before: float) -> None:
        """Deletes those of all organisations that are older than a moment (seconds since 1970)."""
        with self._database.writing() as run:
            run("DELETE FROM responses WHERE created_at < ?", before)

    def delete_response(self, org: str, id: str) -> bool:
        """Deletes a response. False if it is not there."""
        with self._database.writing() as run:
            return bool(run("DELETE FROM responses WHERE org = ? AND id = ? RETURNING id", org, id))


def _batch(row: tuple[Any, ...]) -> StoredBatch:
    id_, org, key, status, created_at, described = row
    return StoredBatch(id_, org, key, status, created_at, json.loads(described))
