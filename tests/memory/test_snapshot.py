"""Snapshots make opening fast and nothing else.

A sound one gives the same ranking, any other is not used, and none outlives what was forgotten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.memory import HashingEncoder, Memory, NewRecord, Thresholds

ENCODER = HashingEncoder(64)


LOW = Thresholds(snapshot_from=10)  # small scopes count as large


def filled(path: Path, n: int = 60) -> None:
    rng = np.random.default_rng(0)
    things = ["lamp", "ferry", "violin", "garden", "oven", "canal"]
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        records = [
            NewRecord(
                f"The {rng.choice(things)} {i} stands by the {rng.choice(things)}.", f"P{i % 3}", session=f"s{i // 9}"
            )
            for i in range(n)
        ]
        memory.remember_many(records, "s")
        memory.recall("lamp", "s")


def ranking(path: Path) -> list[tuple[str, float]]:
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        return [
            (item.record.text, round(item.score, 6)) for item in memory.recall("Where is the violin of P1?", "s").items
        ]


def snapshots(path: Path) -> list[Path]:
    return sorted(Path(f"{path}.indexes").glob("*"))


def test_a_thawed_index_ranks_as_a_fresh_one_and_catches_up(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    filled(path)
    assert len(snapshots(path)) == 1
    thawed = ranking(path)
    for file in snapshots(path):
        file.unlink()
    assert ranking(path) == thawed
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        memory.remember("The violin of P1 is at the harbour.", "s", speaker="P1")
        assert memory.recall("violin harbour", "s").items[0].record.text == "The violin of P1 is at the harbour."


@pytest.mark.parametrize("spoil", ["cut", "flip", "empty", "header", "swap"])
def test_a_damaged_snapshot_is_not_used(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "m.db"
    filled(path)
    expected = ranking(path)
    [file] = snapshots(path)
    content = bytearray(file.read_bytes())
    if spoil == "cut":
        content = content[: len(content) // 2]
    elif spoil == "flip":
        content[-100] ^= 1
    elif spoil == "empty":
        content = bytearray()
    elif spoil == "header":
        content = content.replace(b'"format": 1', b'"format": 9')
    else:
        content = content.replace(b'"scope": "s"', b'"scope": "t"')
    file.write_bytes(bytes(content))
    assert ranking(path) == expected


def test_what_was_forgotten_is_in_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    filled(path)
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        memory.recall("lamp", "s")
        assert len(memory.forget("s", [1, 2, 3])) == 3
        assert snapshots(path) == []
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        assert memory.count("s") == len(memory.recall("lamp", "s", token_budget=10**6, limit=1_000).items) == 57
        memory.forget("s")
        assert snapshots(path) == []
    assert snapshots(path) == []  # closing an index that saw the deletion too late keeps none


def test_a_snapshot_older_than_a_deletion_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    filled(path)
    [file] = snapshots(path)
    old = file.read_bytes()
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        memory.forget("s", [1])
    file.write_bytes(old)  # as if a backup had brought it back
    with Memory(path, encoder=ENCODER, thresholds=LOW) as memory:
        assert 1 not in {item.record.id for item in memory.recall("lamp", "s", token_budget=10**6, limit=1_000).items}
