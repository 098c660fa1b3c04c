"""Very large scopes: an approximate index built in the background, which may miss a little and must never be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orchestrator.memory import HashingEncoder, Memory, NewRecord, Thresholds
from orchestrator.memory.record import Scope
from orchestrator.memory.retrieval.approximate_index import Builder, CoarseIndex
from orchestrator.memory.retrieval.scope_index import ScopeIndex

SMALL = HashingEncoder(32)


def unit(n: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    """Vectors in clumps, as texts about the same things are."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, 32))[rng.integers(0, 40, n)] + 0.5 * rng.normal(size=(n, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_it_finds_most_of_the_nearest_and_survives_freezing() -> None:
    vectors, built = unit(8_000), list[CoarseIndex]()
    Builder(lambda first, last: vectors[first:last].copy(), len(vectors), built.append).wait()
    thawed = CoarseIndex.thawed(built[0].frozen())
    found = []
    for query in unit(50, seed=1):
        nearest = set(np.argsort(-(vectors @ query))[:20].tolist())
        candidates = thawed.candidates(query, 20)
        assert candidates.tolist() == built[0].candidates(query, 20).tolist()
        found.append(len(nearest & set(candidates.tolist())) / 20)
    assert np.mean(found) > 0.85


def test_it_is_thrown_away_when_what_it_was_built_from_has_changed() -> None:
    vectors, built = unit(3_000), list[CoarseIndex]()
    reads = iter(range(100))
    Builder(lambda first, last: vectors[first:last] if next(reads) < 3 else None, len(vectors), built.append).wait()
    assert not built


LOW = Thresholds(coarse_from=500, snapshot_from=500)


def records(n: int, first: int = 0) -> list[NewRecord]:
    return [NewRecord(f"Lamp {i} stands in room {i % 37} of house {i % 11}.") for i in range(first, first + n)]


def test_a_scope_with_it_still_finds_what_was_added_and_forgets_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with Memory(path, encoder=SMALL, thresholds=LOW) as memory:
        memory.remember_many(records(1_200))
        index = ScopeIndex(memory.store, Scope.parse("default"), SMALL, coarse_from=500)
        for _ in range(5):
            with index.lock:
                index.refresh()
        index.wait()
        with index.lock:
            query = SMALL.encode(["Lamp 77 stands in room 3 of house 0."])[0]
            assert 77 in index.nearest(query, 20).tolist()
            memory.remember("The parrot speaks Portuguese.")
            index.refresh()
            assert 1_200 in index.nearest(SMALL.encode(["The parrot speaks Portuguese."])[0], 5).tolist()
            memory.forget("default", [78])
            index.refresh()
            assert index.ids[77] == 79  # what was built before says nothing now
            assert 77 not in index.nearest(query, 1).tolist()
        for _ in range(6):
            assert "parrot" in memory.recall("What does the parrot speak?").items[0].record.text
    with Memory(path, encoder=SMALL, thresholds=LOW) as memory:
        assert "parrot" in memory.recall("What does the parrot speak?").items[0].record.text
        assert memory.recall("Lamp 78").searched == 1_200
