"""Conversations of OpenAI's Responses API, as lists of items that grow. Each belongs to one owner."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE item_lists (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, used_at DOUBLE PRECISION NOT NULL,
    metadata TEXT NOT NULL
);
CREATE INDEX item_lists_by_use ON item_lists (used_at);
CREATE TABLE listed_items (
    list TEXT NOT NULL REFERENCES item_lists (id) ON DELETE CASCADE, position BIGINT NOT NULL, id TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (list, position)
);
CREATE UNIQUE INDEX listed_items_by_id ON listed_items (list, id)
"""
_OF_OWNER = "WHERE id = ? AND list IN (SELECT id FROM item_lists WHERE owner = ? AND id = ?)"
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


@dataclass(frozen=True, slots=True)
class ItemList:
    """What is known of a conversation beside its items."""

    id: str
    created_at: float
    metadata: JsonObject


class ItemLists:
    """The conversations of a database. Calls block; every one names the owner."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "item_lists", [_SCHEMA])

    def add(self, owner: str, metadata: JsonObject, items: Sequence[JsonObject]) -> ItemList:
        """Begins a conversation."""
        made = ItemList(f"conv_{secrets.token_hex(16)}", self._clock(), metadata)
        with self._database.writing() as run:
            row = (made.id, owner, made.created_at, made.created_at, json.dumps(metadata))
            run("INSERT INTO item_lists VALUES (?, ?, ?, ?, ?)", *row)
        if items:
            self.extend(owner, made.id, items)
        return made

    def find(self, owner: str, id: str) -> ItemList | None:
        """A conversation; `None` if it is not there."""
        sql = "SELECT id, created_at, metadata FROM item_lists WHERE owner = ? AND id = ?"
        rows = self._database.read(sql, owner, id)
        return ItemList(rows[0][0], rows[0][1], json.loads(rows[0][2])) if rows else None

    def describe(self, owner: str, id: str, metadata: JsonObject) -> ItemList | None:
        """Replaces the metadata."""
        with self._database.writing() as run:
            run("UPDATE item_lists SET metadata = ? WHERE owner = ? AND id = ?", json.dumps(metadata), owner, id)
        return self.find(owner, id)

    def delete(self, owner: str, id: str) -> bool:
        """Deletes a conversation with its items. False if it is not there."""
        with self._database.writing() as run:
            return bool(run("DELETE FROM item_lists WHERE owner = ? AND id = ? RETURNING id", owner, id))

    def forget_before(self, before: float) -> None:
        """Deletes those of all owners that nobody used since a moment (seconds since 1970)."""
        with self._database.writing() as run:
            run("DELETE FROM item_lists WHERE used_at < ?", before)

    def extend(self, owner: str, id: str, items: Sequence[JsonObject]) -> list[JsonObject] | None:
        """Adds items at the end; gives them with their ids. `None` if there is no such conversation.

        An item with the id of one that is there is that one, and is not added again.
        """
        named = [{**item, "id": item.get("id") or _new_id(item)} for item in items]
        with self._database.writing() as run:
            lock = f"SELECT id FROM item_lists WHERE owner = ? AND id = ?{self._database.locking}"
            if not run(lock, owner, id):
                return None
            last = run("SELECT max(position) FROM listed_items WHERE list = ?", id)[0][0]
            for position, item in enumerate(named, 0 if last is None else int(last) + 1):
                sql = "INSERT INTO listed_items VALUES (?, ?, ?, ?) ON CONFLICT (list, id) DO NOTHING"
                run(sql, id, position, item["id"], json.dumps(item))
            run("UPDATE item_lists SET used_at = ? WHERE id = ?", self._clock(), id)
        return named

    def items(
        self,
        owner: str,
        id: str,
        *,
        order: Literal["asc", "desc"] = "asc",
        after: str | None = None,
        limit: int | None = None,
    ) -> list[JsonObject]:
        """Items in their order, or the newest first; those behind the item `after` only."""
        sql = "FROM listed_items WHERE list IN (SELECT id FROM item_lists WHERE owner = ? AND id = ?)"
        values: list[str | int] = [owner, id]
        if after is not None:
            there = self._database.read(f"SELECT position {sql} AND id = ?", *values, after)
            sql += f" AND position {'>' if order == 'asc' else '<'} ?"
            values.append(int(there[0][0]) if there else -1)
        sql += f" ORDER BY position {order}"
        if limit is not None:
            sql += " LIMIT ?"
            values.append(limit)
        return [json.loads(row[0]) for row in self._database.read(f"SELECT item {sql}", *values)]

    def item(self, owner: str, id: str, item: str) -> JsonObject | None:
        """One item; `None` if it is not there."""
        rows = self._database.read(f"SELECT item FROM listed_items {_OF_OWNER}", item, owner, id)
        found: JsonObject | None = json.loads(rows[0][0]) if rows else None
        return found

    def delete_item(self, owner: str, id: str, item: str) -> bool:
        """Deletes an item. False if it is not there."""
        with self._database.writing() as run:
            return bool(run(f"DELETE FROM listed_items {_OF_OWNER} RETURNING id", item, owner, id))


def _new_id(item: JsonObject) -> str:
    kind = item.get("type") or "message"
    return f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(16)}"
