"""A damaged memory: what can be read is saved, what cannot is counted, and nothing is made up."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.memory import HashingEncoder, Memory, NewRecord, StoreError
from orchestrator.memory.salvage import salvage

RECORDS = 2_000


def memory_file(path: Path) -> dict[str, set[str]]:
    """A memory of two scopes; returns their texts."""
    texts = {
        scope: {f"the lamp number {i} of {scope} hangs in room {i % 7}" for i in range(RECORDS // 2)}
        for scope in ("ann", "bob")
    }
    with Memory(path, encoder=HashingEncoder(32)) as memory:
        for scope, own in texts.items():
            memory.remember_many(
                [NewRecord(text, "Ann", datetime(2025, 1, 1, tzinfo=UTC)) for text in sorted(own)], scope
            )
    return texts


def damage(path: Path, seed: int, pages: int) -> None:
    """Overwrites some pages behind the first ones, which hold the schema."""
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    for page in rng.sample(range(12, len(content) // size), pages):
        content[page * size : (page + 1) * size] = rng.randbytes(size)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("seed", range(4))
def test_what_can_be_read_is_saved_and_nothing_is_made_up(tmp_path: Path, seed: int) -> None:
    texts = memory_file(tmp_path / "m.db")
    damage(tmp_path / "m.db", seed, pages=6)
    found = salvage(tmp_path / "m.db", tmp_path / "new.db", encoder=HashingEncoder(32))
    assert RECORDS * 0.5 < found.records < RECORDS
    assert found.unreadable == RECORDS - found.records
    with Memory(tmp_path / "new.db", encoder=HashingEncoder(32)) as memory:
        saved = {scope: {record.text for record in memory.export(scope)} for scope in memory.scopes()}
        assert sum(map(len, saved.values())) == found.records
        assert all(saved[scope] <= texts[scope] for scope in saved)
        assert memory.recall("lamp number 7 of ann", "ann")


def test_a_sound_memory_is_copied_whole(tmp_path: Path) -> None:
    texts = memory_file(tmp_path / "m.db")
    with Memory(tmp_path / "m.db", encoder=HashingEncoder(32)) as memory:
        memory.forget("ann", [1, 2])
    found = salvage(tmp_path / "m.db", tmp_path / "new.db", encoder=HashingEncoder(32))
    assert (found.records, found.unreadable) == (RECORDS - 2, 2)
    with Memory(tmp_path / "new.db", encoder=HashingEncoder(32)) as memory:
        assert {record.text for record in memory.export("bob")} == texts["bob"]
        assert next(iter(memory.export("bob"))).time == datetime(2025, 1, 1, tzinfo=UTC)


def test_what_is_no_memory_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "noise.db").write_bytes(random.Random(0).randbytes(50_000))
    with pytest.raises(StoreError, match="nothing can be read"):
        salvage(tmp_path / "noise.db", tmp_path / "new.db")
    memory_file(tmp_path / "m.db")
    with pytest.raises(StoreError, match="exists already"):
        salvage(tmp_path / "m.db", tmp_path / "noise.db")
    with pytest.raises(StoreError, match="no such file"):
        salvage(tmp_path / "none.db", tmp_path / "new.db")


def test_a_damaged_memory_says_how_to_save_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    memory_file(path)
    damage(path, 0, pages=6)
    with (
        Memory(path, encoder=HashingEncoder(32)) as memory,
        pytest.raises(StoreError, match=r"orchestrator salvage .*m\.db --into"),
    ):
        [memory.recall("lamp 3", scope) for scope in ("ann", "bob")]
    done = CliRunner().invoke(main, ["salvage", str(path), "--into", str(tmp_path / "new.db"), "--json"])
    assert done.exit_code == 0, done.output
    assert RECORDS * 0.5 < json.loads(done.stdout)["records"] < RECORDS
