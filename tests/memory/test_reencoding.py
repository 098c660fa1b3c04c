"""Another encoder for a memory in use: nobody waits, nothing is lost, and nobody mixes two encoders' vectors."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from orchestrator.memory import EncoderMismatch, HashingEncoder, Memory, NewRecord, Scope
from orchestrator.memory.arrays import Vectors
from orchestrator.memory.coalescing import EncodedTogether
from orchestrator.memory.storage.sqlite import Store

OLD, NEW = HashingEncoder(32), HashingEncoder(48)
RECORDS = [NewRecord(f"Lamp {i} stands in room {i % 7}.", "Ann", session=f"s{i // 9}") for i in range(700)]


def answers(memory: Memory) -> list[int]:
    return [item.record.id for item in memory.recall("Where does lamp 77 stand?", "a", limit=20).items]


def test_it_answers_as_if_it_had_been_encoded_so_from_the_start(tmp_path: Path) -> None:
    with Memory(tmp_path / "old.db", encoder=OLD) as memory, Memory(encoder=NEW) as fresh:
        memory.remember_many(RECORDS, "a")
        fresh.remember_many(RECORDS, "a")
        told: list[int] = []
        assert memory.reencode(NEW, told.append) == 700
        assert told == [512]
        assert memory.encoder is NEW
        assert answers(memory) == answers(fresh)
        memory.remember("The parrot speaks.", "a")
        assert "parrot" in memory.recall("What does the parrot do?", "a").items[0].record.text
        assert memory.reencode(OLD) == 701  # and back, in the other set of vectors
        assert memory.encoder is OLD
    with Memory(tmp_path / "old.db", encoder=OLD) as memory:
        assert memory.count("a") == 701
    with pytest.raises(EncoderMismatch, match="orchestrator reencode"):
        Memory(tmp_path / "old.db", encoder=NEW)


class Slow:
    """The new encoder, which waits in the middle until it is told to go on."""

    dimensions, fingerprint = NEW.dimensions, NEW.fingerprint

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.began.set()
        self.go_on.wait(30)
        return NEW.encode(texts)


def test_recalls_and_writes_go_on_meanwhile_and_other_processes_notice(tmp_path: Path) -> None:
    slow = Slow()
    with Memory(tmp_path / "m.db", encoder=OLD) as memory, Memory(tmp_path / "m.db", encoder=OLD) as other:
        memory.remember_many(RECORDS, "a")
        thread = threading.Thread(target=memory.reencode, args=(slow,))
        thread.start()
        slow.began.wait(30)
        before = answers(memory)
        assert before
        late = memory.remember("The parrot speaks.", "a").id
        elsewhere = other.remember("The owl listens.", "a").id
        memory.forget("a", [3])
        slow.go_on.set()
        thread.join()
        assert memory.recall("What does the parrot do?", "a").items[0].record.id == late
        assert memory.recall("What does the owl do?", "a").items[0].record.id == elsewhere
        assert memory.count("a") == 701
        for use in (lambda: other.recall("owl", "a"), lambda: other.remember("More.", "a")):
            with pytest.raises(EncoderMismatch):
                use()
    with Memory(tmp_path / "m.db", encoder=NEW) as opened:
        assert opened.recall("What does the owl do?", "a").items[0].record.id == elsewhere


def test_many_threads_use_it_while_it_changes() -> None:
    problems: list[BaseException] = []
    with Memory(encoder=OLD) as memory:
        memory.remember_many(RECORDS, "a")
        done = threading.Event()

        def use(number: int) -> None:
            count = 0
            try:
                while not done.is_set():
                    count += 1
                    text = f"Thread {number} wrote sentence {count}."
                    memory.remember(text, f"t/{number}")
                    assert memory.recall(text, f"t/{number}").items[0].record.text == text
                    assert memory.recall("Where does lamp 77 stand?", "a")
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for encoder in (NEW, OLD, NEW, OLD, NEW, OLD, NEW):
            memory.reencode(encoder)
        done.set()
        for thread in threads:
            thread.join()
        assert not problems
        for number in range(4):
            vectors = memory.store.rows_after(Scope.parse(f"t/{number}"), 0)[1]
            texts = [record.text for record in memory.export(f"t/{number}")]
            assert vectors == pytest.approx(NEW.encode(texts), abs=1e-6)


def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    class Failing:
        dimensions, fingerprint = NEW.dimensions, NEW.fingerprint
        calls = 0

        def encode(self, texts: Sequence[str]) -> Vectors:
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("no power")
            return NEW.encode(texts)

    path = tmp_path / "m.db"
    with Memory(path, encoder=OLD) as memory:
        memory.remember_many(RECORDS, "a")
        with pytest.raises(RuntimeError, match="no power"):
            memory.reencode(Failing())
        assert answers(memory)
    with Memory(path, encoder=OLD) as memory:
        assert memory.reencode(NEW) == 700 - 512
        store = memory.store
        assert isinstance(store, Store)
        stored = store.rows_after(Scope.parse("a"), 0)[1]
        assert stored == pytest.approx(NEW.encode([record.key for record in memory.export("a")]), abs=1e-6)


def test_vectors_left_behind_by_a_crash_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    """The switch is one transaction, clearing the old vectors comes after it."""
    with Memory(tmp_path / "m.db", encoder=OLD) as memory:
        memory.remember_many(RECORDS[:50], "a")
        memory.reencode(NEW)
        memory.store._do("UPDATE records SET vector = zeroblob(4 * 32)")  # type: ignore[attr-defined]
        third = HashingEncoder(24)
        assert memory.reencode(third) == 50
        stored = memory.store.rows_after(Scope.parse("a"), 0)[1]
        assert stored == pytest.approx(third.encode([record.key for record in memory.export("a")]), abs=1e-6)


def test_concurrent_encodings_share_batches_and_only_the_culprit_fails() -> None:
    batches: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def encode(texts: list[str]) -> Vectors:
        batches.append(len(texts))
        first.set()
        go_on.wait(30)
        if "bad" in texts:
            raise ValueError("bad text")
        return np.array([[float(text)] for text in texts], dtype=np.float32)

    together, found = EncodedTogether(encode), dict[str, object]()

    def ask(*texts: str) -> None:
        try:
            found[texts[0]] = together(texts).ravel().tolist()
        except ValueError as error:
            found[texts[0]] = str(error)

    threads = [threading.Thread(target=ask, args=("0",))]
    threads[0].start()
    first.wait(30)
    threads += [threading.Thread(target=ask, args=texts) for texts in (("1", "2"), ("bad",), ("3",))]
    for thread in threads[1:]:
        thread.start()
    while together.waiting < 3:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == {"0": [0.0], "1": [1.0, 2.0], "bad": "bad text", "3": [3.0]}
    assert batches[:2] == [1, 4]
