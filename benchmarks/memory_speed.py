"""Speed and size of the memory beside its raw parts, in one run.

The part of `benchmarks.memory` that needs no questions with evidence.

Texts are turns of the data set, two halves put together at random, so that words are distributed as in speech. Raw
parts: encoding the query, FAISS's flat search, and SQLite's FTS5 with BM25 over the same texts.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.memory import Memory, NewRecord, default_encoder
from orchestrator.memory.text.words import STOP_WORDS, words_in

WRITERS, WRITE_SECONDS = 64, 3.0
BATCHES, BATCH = 50, 100
SCOPES, PER_SCOPE = 10_000, 100
QUERIES = 60


def texts_like(turns: Sequence[str], n: int, seed: int = 0) -> Iterator[str]:
    rng = random.Random(seed)
    halves = [part for turn in turns for part in (turn[: len(turn) // 2], turn[len(turn) // 2 :]) if part.strip()]
    for _ in range(n):
        yield f"{rng.choice(halves)} {rng.choice(halves)}"


def records_like(turns: Sequence[str], n: int, seed: int = 0) -> list[NewRecord]:
    rng = random.Random(seed)
    return [
        NewRecord(t, rng.choice(["Ann", "Bob", "Cy"]), session=f"s{i // 20}")
        for i, t in enumerate(texts_like(turns, n, seed))
    ]


def p50_ms(run: Callable[[str], object], queries: Sequence[str]) -> float:
    times = []
    for query in queries:
        start = time.perf_counter()
        run(query)
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times)


def adds(turns: Sequence[str], folder: Path) -> dict[str, float]:
    """Durable adds a second, encoding included: one writer in batches of 100, and 64 writers of single records."""
    batches = [records_like(turns, BATCH, seed) for seed in range(BATCHES)]
    with Memory(folder / "batched.db") as memory:
        start = time.perf_counter()
        for batch in batches:
            memory.remember_many(batch, "a")
        batched = BATCHES * BATCH / (time.perf_counter() - start)
    written = [0] * WRITERS
    pool = [record.text for batch in batches for record in batch]
    with Memory(folder / "writers.db") as memory:
        until = time.perf_counter() + WRITE_SECONDS

        def write(number: int) -> None:
            while time.perf_counter() < until:
                memory.remember(pool[(number * 997 + written[number]) % len(pool)], f"writer/{number}")
                written[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = sum(record.said for scope in memory.scopes() for record in memory.export(scope))
    if stored != sum(written):
        raise AssertionError(f"{sum(written)} adds were acknowledged, {stored} are stored")
    return {"adds_per_s_batched": round(batched), "adds_per_s_64_writers": round(sum(written) / WRITE_SECONDS)}


def recall_at(size: int, turns: Sequence[str], queries: Sequence[str], folder: Path) -> dict[str, float]:
    """Recall in one scope of `size` records beside its raw parts, and how long it takes to open."""
    import faiss

    path = folder / f"scope{size}.db"
    records = records_like(turns, size)
    with Memory(path) as memory:
        for at in range(0, size, 5_000):
            memory.remember_many(records[at : at + 5_000], "a")
    opened = []
    for _ in range(2):  # first from the records, then from the snapshot that closing has left
        before, start = resident_bytes(), time.perf_counter()
        memory = Memory(path)
        memory.recall(queries[0], "a")
        opened.append(time.perf_counter() - start)
        memory.warm("a")
        used = resident_bytes() - before
        if len(opened) == 1:
            memory.close()
            bytes_per_record = used / size
    encoder = memory.encoder
    ours = p50_ms(lambda query: memory.recall(query, "a"), queries)

    index = faiss.IndexFlatIP(encoder.dimensions)
    for at in range(0, size, 20_000):
        index.add(encoder.encode([f"{r.speaker}: {r.text}" for r in records[at : at + 20_000]]))
    fts = sqlite3.connect(":memory:")
    fts.execute("CREATE VIRTUAL TABLE t USING fts5 (body, tokenize = 'porter unicode61 remove_diacritics 2')")
    fts.executemany("INSERT INTO t VALUES (?)", ((r.text,) for r in records))
    vectors = {query: encoder.encode([query]) for query in queries}
    raw = {
        "encode": p50_ms(lambda query: encoder.encode([query]), queries),
        "faiss": p50_ms(lambda query: index.search(vectors[query], 250), queries),
        "fts5": p50_ms(lambda query: fts.execute(_FTS, (_expression(query),)).fetchall(), queries),
    }
    memory.close()
    fts.close()
    return {
        "p50_ms": round(ours, 3),
        "ratio": round(ours / sum(raw.values()), 3),
        **{f"raw_{name}_ms": round(ms, 3) for name, ms in raw.items()},
        "open_without_snapshot_s": round(opened[0], 3),
        "open_s": round(opened[1], 3),
        "ram_mb_per_million": round(bytes_per_record),
    }


def resident_bytes() -> int:
    """Memory that this process holds, as Linux tells it; 0 elsewhere."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


def many_scopes(turns: Sequence[str], queries: Sequence[str], folder: Path, scopes: int) -> dict[str, float]:
    """Recall p50 in milliseconds in scopes of 100 records: alone in its memory, and among many.

    First recalls read the scope's index.
    """
    encoder = default_encoder()
    shared = records_like(turns, PER_SCOPE)
    found = {}
    for n in (1, scopes):
        with Memory(folder / f"scopes{n}.db", encoder=encoder) as memory:
            for number in range(n):
                memory.remember_many(shared, f"tenant/u{number}")
            order = np.random.default_rng(0).permutation(n)
            pairs = {query: f"tenant/u{order[i % n]}" for i, query in enumerate(queries)}
            found[f"first_recall_p50_ms_{n}_scopes"] = round(
                p50_ms(lambda q, m=memory, p=pairs: m.recall(q, p[q]), queries), 3
            )  # type: ignore[misc]
            found[f"recall_p50_ms_{n}_scopes"] = round(
                p50_ms(lambda q, m=memory, p=pairs: m.recall(q, p[q]), queries), 3
            )  # type: ignore[misc]
    return found


def speed(
    turns: Sequence[str], queries: Sequence[str], folder: Path, *, sizes: Sequence[int], scopes: int = SCOPES
) -> dict[str, Any]:
    chosen = random.Random(1).sample(list(queries), min(QUERIES, len(queries)))
    found: dict[str, Any] = dict(adds(turns, folder))
    for size in sizes:
        measured = recall_at(size, turns, chosen, folder)
        label = f"{size // 1_000}k" if size < 1_000_000 else f"{size // 1_000_000}M"
        found |= {
            f"recall_{'ratio' if name == 'ratio' else name}_{label}": value
            for name, value in measured.items()
            if name != "open_s"
        }
        found[f"open_s_{label}"] = measured["open_s"]
    return found | many_scopes(turns, chosen, folder, scopes)


def _expression(query: str) -> str:
    words = [word for word in words_in(query) if word not in STOP_WORDS] or ["nothing"]
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(words))


_FTS = "SELECT rowid, bm25(t) FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT 250"
