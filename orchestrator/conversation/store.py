"""Conversations in a database: every turn is durable before its answer is returned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate
from orchestrator.types import Message
from orchestrator.types.message import Role

_SCHEMA = """
CREATE TABLE conversations (
    scope TEXT NOT NULL, session TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, parent TEXT NOT NULL,
    start INTEGER NOT NULL, since INTEGER NOT NULL, summary TEXT NOT NULL, PRIMARY KEY (scope, session)
);
CREATE TABLE conversation_turns (
    scope TEXT NOT NULL, session TEXT NOT NULL, position INTEGER NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL,
    wire TEXT, record BIGINT, key TEXT NOT NULL, about TEXT, at DOUBLE PRECISION NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (scope, session, position)
);
CREATE INDEX conversation_turns_by_record ON conversation_turns (scope, record);
CREATE INDEX conversation_turns_by_digest ON conversation_turns (scope, digest, at)
"""
FORGOTTEN = "[forgotten]"
_COLUMNS = "position, role, text, wire, record, key, about, at, digest"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: a message with its place in the conversation.

    Args:
        position: From 0 on.
        role: Who said it.
        text: What was said.
        wire: The whole message in OpenAI's form, where it is more than text.
        record: The memory's record of it.
        key: What tells a repeated `send` from a new one.
        about: Of an answer: its model, confidence and price.
        at: Seconds since 1970.
        digest: What a message is known by when a client sends it again; "" for what no client saw.
    """

    position: int
    role: Role
    text: str
    wire: JsonObject | None = None
    record: int | None = None
    key: str = ""
    about: JsonObject | None = None
    at: float = 0.0
    digest: str = ""

    @property
    def message(self) -> Message:
        """The turn as models read it."""
        return Message(self.role, self.text, self.wire)


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """What is kept of a conversation beside its turns: see `Window`. `parent` is what it was forked from."""

    scope: str
    session: str
    created_at: float
    parent: str = ""
    start: int = 0
    since: int = 0
    summary: str = ""


class ConversationStore:
    """Calls block. Raises `StorageError` where the database cannot be used."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "conversations", [_SCHEMA])

    def open(self, scope: str, session: str, *, parent: str = "") -> StoredConversation:
        """The conversation, begun if it is new."""
        with self._database.writing() as run:
            run(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, 0, 0, '') ON CONFLICT DO NOTHING",
                scope,
                session,
                self._clock(),
                parent,
            )
        found = self.find(scope, session)
        assert found is not None
        return found

    def find(self, scope: str, session: str) -> StoredConversation | None:
        """The conversation; `None` if there is none."""
        rows = self._database.read(
            "SELECT created_at, parent, start, since, summary FROM conversations WHERE scope = ? AND session = ?",
            scope,
            session,
        )
        return StoredConversation(scope, session, *rows[0]) if rows else None

    def sessions(self, scope: str) -> list[tuple[str, int, float]]:
        """(session, turns, when it was last heard of) of every conversation of a scope, the newest first."""
        rows = self._database.read(
            "SELECT c.session, count(t.position), coalesce(max(t.at), c.created_at) FROM conversations c "
            "LEFT JOIN conversation_turns t ON t.scope = c.scope AND t.session = c.session WHERE c.scope = ? "
            "GROUP BY c.session, c.created_at ORDER BY 3 DESC",
            scope,
        )
        return [(str(session), int(turns), float(at)) for session, turns, at in rows]

    def turns(self, scope: str, session: str) -> list[Turn]:
        """All turns, in order."""
        sql = f"SELECT {_COLUMNS} FROM conversation_turns WHERE scope = ? AND session = ? ORDER BY position"
        return [_turn(row) for row in self._database.read(sql, scope, session)]

    def with_message(self, scope: str, digest: str, limit: int) -> list[str]:
        """The sessions of a scope in which a message of this digest stands, the newest first."""
        sql = (
            "SELECT session, max(at) FROM conversation_turns WHERE scope = ? AND digest = ? GROUP BY session "
            "ORDER BY 2 DESC LIMIT ?"
        )
        return [str(session) for session, _ in self._database.read(sql, scope, digest, limit)]

    def records_of(self, scope: str, digests: Collection[str]) -> set[int]:
        """The records of messages of these digests, in any conversation of a scope."""
        sql = "SELECT record FROM conversation_turns WHERE scope = ? AND digest = ? AND record IS NOT NULL"
        return {int(row[0]) for digest in digests for row in self._database.read(sql, scope, digest)}

    def forget_before(self, before: float) -> None:
        """Deletes conversations in which nothing was said since `before`, in seconds since 1970."""
        old = (
            "SELECT 1 FROM conversation_turns t WHERE t.scope = conversations.scope AND t.session = "
            "conversations.session AND t.at >= ?"
        )
        gone = "SELECT 1 FROM conversations c WHERE c.scope = conversation_turns.scope AND c.session = "
        with self._database.writing() as run:
            run(f"DELETE FROM conversations WHERE created_at < ? AND NOT EXISTS ({old})", before, before)
            run(f"DELETE FROM conversation_turns WHERE NOT EXISTS ({gone}conversation_turns.session)")

    def add(self, scope: str, session: str, turns: Sequence[Turn]) -> list[Turn]:
        """Adds turns at the end, in one transaction; they are durable when this returns.

        Raises `ConfigError` where somebody else added a turn meanwhile.
        """
        now = self._clock()
        placed = [replace(turn, at=turn.at or now) for turn in turns]
        with self._database.writing() as run:
            rows = run(
                "SELECT coalesce(max(position), -1) + 1 FROM conversation_turns WHERE scope = ? AND session = ?",
                scope,
                session,
            )
            if placed and placed[0].position != rows[0][0]:
                raise ConfigError(
                    f"the conversation {session!r} went on elsewhere: it has {rows[0][0]} turns",
                    remedy="Open it again",
                )
            for turn in placed:
                run(
                    "INSERT INTO conversation_turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    scope,
                    session,
                    turn.position,
                    turn.role,
                    turn.text,
                    None if turn.wire is None else json.dumps(turn.wire),
                    turn.record,
                    turn.key,
                    None if turn.about is None else json.dumps(turn.about),
                    turn.at,
                    turn.digest,
                )
        return placed

    def keep_records(self, scope: str, session: str, turns: Sequence[Turn]) -> None:
        """Keeps which records memory made of turns."""
        with self._database.writing() as run:
            for turn in turns:
                run(
                    "UPDATE conversation_turns SET record = ? WHERE scope = ? AND session = ? AND position = ?",
                    turn.record,
                    scope,
                    session,
                    turn.position,
                )

    def keep_window(self, scope: str, session: str, start: int, since: int, summary: str) -> None:
        """Keeps from where on turns stand word for word."""
        with self._database.writing() as run:
            run(
                "UPDATE conversations SET start = ?, since = ?, summary = ? WHERE scope = ? AND session = ?",
                start,
                since,
                summary,
                scope,
                session,
            )

    def cut(self, scope: str, session: str, position: int) -> list[Turn]:
        """Deletes the turns from `position` on, and gives them back."""
        gone = [turn for turn in self.turns(scope, session) if turn.position >= position]
        with self._database.writing() as run:
            run(
                "DELETE FROM conversation_turns WHERE scope = ? AND session = ? AND position >= ?",
                scope,
                session,
                position,
            )
            run(
                "UPDATE conversations SET start = 0, since = 0, summary = '' WHERE scope = ? AND session = ? "
                "AND start > ?",
                scope,
                session,
                position,
            )
        return gone

    def said_of(self, scope: str, records: Collection[int]) -> set[int]:
        """Those of some records that turns of any conversation of the scope have."""
        sql = "SELECT count(*) FROM conversation_turns WHERE scope = ? AND record = ?"
        return {record for record in records if self._database.read(sql, scope, record)[0][0]}

    def forget(self, scope: str, records: Collection[int] | None = None) -> int:
        """Deletes the conversations of a scope, or takes the texts of some records out of them; how many turns."""
        with self._database.writing() as run:
            if records is None:
                gone = run("DELETE FROM conversation_turns WHERE scope = ? RETURNING position", scope)
                run("DELETE FROM conversations WHERE scope = ?", scope)
                return len(gone)
            found = 0
            for record in records:
                sql = (
                    "UPDATE conversation_turns SET text = ?, wire = NULL, about = NULL, digest = '' WHERE scope = ? "
                    "AND record = ? RETURNING session"
                )
                for (session,) in run(sql, FORGOTTEN, scope, record):
                    found += 1
                    run(
                        "UPDATE conversations SET start = 0, since = 0, summary = '' WHERE scope = ? AND session = ?",
                        scope,
                        session,
                    )
            return found


def _turn(row: tuple[Any, ...]) -> Turn:
    position, role, text, wire, record, key, about, at, digest = row
    return Turn(
        int(position),
        role,
        text,
        None if wire is None else json.loads(wire),
        record,
        key,
        None if about is None else json.loads(about),
        float(at),
        str(digest),
    )
