"""What goes wrong is told, and what was accepted before stays."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from orchestrator.memory import HashingEncoder, InvalidRecord, Memory, NewRecord, Scope, StoreError

SMALL = HashingEncoder(16)


def test_a_text_of_two_million_characters_is_kept_and_a_longer_one_refused() -> None:
    with Memory(encoder=SMALL) as memory:
        memory.remember("The safe is blue. " + "x " * 900_000)
        assert "safe" in memory.recall("What colour is the safe?", token_budget=10**6).text[:100]
        with pytest.raises(InvalidRecord, match=r"5,000,000 characters is too long .* Split it"):
            memory.remember("x" * 5_000_000)
        assert memory.count() == 1


def test_a_million_equal_lines_are_one_record() -> None:
    with Memory(encoder=SMALL) as memory:
        stored = memory.remember_many([NewRecord("The same old line.")] * 1_000_000)
        assert {record.id for record in stored} == {1}
        assert memory.count() == 1
        assert next(iter(memory.export("default"))).said == 1_000_000


def test_one_bad_record_among_many_stores_none() -> None:
    with Memory(encoder=SMALL) as memory:
        for bad in ("", " \n", "\ud800", "binary \x00", b"bytes", None):
            with pytest.raises(InvalidRecord):
                memory.remember_many([NewRecord("fine"), NewRecord(bad)])  # type: ignore[arg-type]
        assert memory.count() == 0


def test_numbers_out_of_range_are_refused() -> None:
    with Memory(encoder=SMALL) as memory:
        memory.remember("The safe is blue.")
        for wrong in ({"token_budget": -1}, {"limit": -1}, {"diversity": 1.5}):
            with pytest.raises(ValueError, match="must"):
                memory.recall("safe", **wrong)  # type: ignore[arg-type]
        assert not memory.recall("safe", token_budget=0)
        assert not memory.recall("safe", limit=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="folder is writable"):
        Memory(tmp_path / "locked" / "m.db", encoder=SMALL)


def test_a_file_that_cannot_be_written_can_be_told_and_keeps_what_it_has(tmp_path: Path) -> None:
    """A read-only file system: SQLite opens what it may only read, and says so at the first write."""
    path = tmp_path / "m.db"
    with Memory(path, encoder=SMALL) as memory:
        memory.remember("The safe is blue.")
        memory.store._db.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match=r"nothing was remembered: .*m\.db: .*write permission"):
            memory.remember("The clock is red.")
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            memory.forget("default")
        assert "blue" in memory.recall("What colour is the safe?").text
    with Memory(path, encoder=SMALL) as memory:
        assert memory.count() == 1


FULL_DISK = """
    import resource, signal, sys
    from orchestrator.memory import HashingEncoder, Memory, StoreError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    memory = Memory(sys.argv[1], encoder=HashingEncoder(16))
    kept = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    try:
        while kept < 5_000:
            memory.remember(f"Record {kept} " + "word " * 200)
            kept += 1
    except StoreError as error:
        print(kept, memory.count(), error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The limit of a process on file sizes stands for the disk: writing beyond it fails as a full disk does."""
    path = tmp_path / "m.db"
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    kept, counted, told = ran.stdout.split(" ", 2)
    assert 10 < int(kept) < 5_000
    assert kept == counted
    assert "free disk space" in told
    with Memory(path, encoder=SMALL) as memory:
        texts = [record.text for record in memory.export("default")]
        assert [text.split()[1] for text in texts] == [str(number) for number in range(int(kept))]
        memory.remember("There is room again.")


def test_queries_of_any_kind_are_answered() -> None:
    with Memory(encoder=SMALL) as memory:
        memory.remember("The safe is blue.")
        for query in ("", " ", "\ud800", "\x00", "?" * 5_000_000, "🐙" * 100, '"; DROP TABLE records; --'):
            assert memory.recall(query).searched == 1


def test_a_closed_memory_says_so() -> None:
    memory = Memory(encoder=SMALL)
    memory.close()
    for use in (lambda: memory.remember("x"), lambda: memory.recall("x"), lambda: memory.count()):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_an_encoder_that_fails_stores_nothing() -> None:
    class Failing:
        dimensions, fingerprint = 16, "failing"

        def encode(self, texts: object) -> None:
            raise RuntimeError("no encoder today")

    with Memory(encoder=Failing()) as memory:  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="no encoder today"):
            memory.remember("The safe is blue.")
        assert memory.count() == 0


def test_one_memory_serves_many_threads_that_write_read_and_forget() -> None:
    problems: list[BaseException] = []
    with Memory(encoder=SMALL) as memory:

        def use(number: int) -> None:
            try:
                for count in range(30):
                    record = memory.remember(f"Thread {number} wrote {count}.", f"s{number % 3}")
                    assert record.id in memory.store.get(Scope.parse(f"s{number % 3}"), [record.id])
                    memory.recall("Who wrote?", f"s{(number + 1) % 3}")
                    memory.forget(f"s{number % 3}", [record.id])
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        assert [memory.count(f"s{number}") for number in range(3)] == [0, 0, 0]
