"""The memory beside mem0, Chroma and LanceDB, each used as its documentation says.

`python -m benchmarks.memory_peers --data DIR --json FILE`.

All get the same texts, the same static encoder and one scope a conversation; mem0 stores without a language model
(`infer=False`). Measured are evidence recall among the first ten, durable adds a second in batches of 100 (LanceDB
indexes words later, with the first query), the median time of a query, and how many of 100 forgotten texts can still be
read in the files afterwards. Those that are not installed are left out: `pip install mem0ai chromadb lancedb`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.memory import load, to_record
from benchmarks.output import write_json
from orchestrator.memory import Memory, NewRecord, default_encoder

BATCH, FORGOTTEN, LIMIT = 100, 100, 10
MAX_QUESTIONS = 60  # a conversation


class Peer(Protocol):
    def add(self, scope: str, records: Sequence[NewRecord]) -> list[str]:
        """Stores records durably; returns their ids."""
        ...

    def find(self, scope: str, query: str) -> list[str]:
        """Ids of the ten best, best first."""
        ...

    def forget(self, scope: str) -> None: ...

    def close(self) -> None: ...


class Orchestrator:
    def __init__(self, folder: Path) -> None:
        self._memory = Memory(folder / "memory.db")

    def add(self, scope: str, records: Sequence[NewRecord]) -> list[str]:
        return [str(record.id) for record in self._memory.remember_many(records, scope)]

    def find(self, scope: str, query: str) -> list[str]:
        return [
            str(item.record.id) for item in self._memory.recall(query, scope, token_budget=10**6, limit=LIMIT).items
        ]

    def forget(self, scope: str) -> None:
        self._memory.forget(scope)

    def close(self) -> None:
        self._memory.close()


def key(record: NewRecord) -> str:
    return f"{record.speaker}: {record.text}"


class Chroma:
    def __init__(self, folder: Path) -> None:
        import chromadb

        client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
        self._rows = client.create_collection("memories", embedding_function=None, metadata={"hnsw:space": "cosine"})
        self._encoder, self._next = default_encoder(), 0

    def add(self, scope: str, records: Sequence[NewRecord]) -> list[str]:
        texts = [key(record) for record in records]
        ids = [str(self._next + i) for i in range(len(texts))]
        self._next += len(texts)
        vectors: Any = self._encoder.encode(texts)
        self._rows.add(ids=ids, documents=texts, embeddings=vectors, metadatas=[{"scope": scope} for _ in texts])
        return ids

    def find(self, scope: str, query: str) -> list[str]:
        vectors: Any = self._encoder.encode([query])
        return list(self._rows.query(query_embeddings=vectors, n_results=LIMIT, where={"scope": scope})["ids"][0])

    def forget(self, scope: str) -> None:
        self._rows.delete(where={"scope": scope})

    def close(self) -> None:
        pass


class LanceDB:
    """Hybrid search: vectors and full text, fused by reciprocal ranks."""

    def __init__(self, folder: Path) -> None:
        import lancedb

        self._database = lancedb.connect(str(folder))
        self._table: Any = None
        self._encoder, self._next, self._is_indexed = default_encoder(), 0, False

    def add(self, scope: str, records: Sequence[NewRecord]) -> list[str]:
        texts = [key(record) for record in records]
        ids = [str(self._next + i) for i in range(len(texts))]
        self._next += len(texts)
        vectors = self._encoder.encode(texts)
        rows = [{"id": i, "scope": scope, "text": t, "vector": v} for i, t, v in zip(ids, texts, vectors, strict=True)]
        if self._table is None:
            self._table = self._database.create_table("memories", data=rows)
        else:
            self._table.add(rows)
        self._is_indexed = False
        return ids

    def find(self, scope: str, query: str) -> list[str]:
        if not self._is_indexed:
            self._table.create_fts_index("text", replace=True)
            self._is_indexed = True
        words = "".join(c if c.isalnum() else " " for c in query)
        search = self._table.search(query_type="hybrid").vector(self._encoder.encode([query])[0]).text(words)
        return [row["id"] for row in search.where(f"scope = '{scope}'", prefilter=True).limit(LIMIT).to_list()]

    def forget(self, scope: str) -> None:
        self._table.delete(f"scope = '{scope}'")

    def close(self) -> None:
        pass


class Mem0:
    """With its default vector store, Qdrant in a folder."""

    def __init__(self, folder: Path) -> None:
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ["MEM0_DIR"] = str(folder / "mem0")
        from mem0 import Memory as Mem0Memory

        encoder = default_encoder()

        class Encoding:
            config: Any = None

            def embed(self, text: str, memory_action: str | None = None) -> list[float]:
                return [float(x) for x in encoder.encode([text])[0]]

            def embed_batch(self, texts: list[str], memory_action: str | None = None) -> list[list[float]]:
                return [[float(x) for x in row] for row in encoder.encode(texts)]

        store = {"path": str(folder / "qdrant"), "embedding_model_dims": encoder.dimensions, "on_disk": True}
        model = {"provider": "openai", "config": {"api_key": "never called"}}
        self._memory: Any = Mem0Memory.from_config(
            {
                "vector_store": {"provider": "qdrant", "config": store},
                "llm": model,
                "embedder": model,
                "history_db_path": str(folder / "history.db"),
            }
        )
        self._memory.embedding_model = Encoding()

    def add(self, scope: str, records: Sequence[NewRecord]) -> list[str]:
        ids = []
        for record in records:
            ids += [row["id"] for row in self._memory.add(key(record), user_id=scope, infer=False)["results"]]
        return ids

    def find(self, scope: str, query: str) -> list[str]:
        return [
            row["id"]
            for row in self._memory.search(query, top_k=LIMIT, threshold=0.0, filters={"user_id": scope})["results"]
        ]

    def forget(self, scope: str) -> None:
        self._memory.delete_all(user_id=scope)

    def close(self) -> None:
        pass


PEERS: dict[str, Callable[[Path], Peer]] = {
    "orchestrator": Orchestrator,
    "chroma": Chroma,
    "lancedb": LanceDB,
    "mem0": Mem0,
}


def measure(
    open_peer: Callable[[Path], Peer], conversations: Sequence[dict[str, Any]], folder: Path
) -> dict[str, float]:
    peer = open_peer(folder)
    ids_of: list[dict[str, str]] = []
    n, seconds = 0, 0.0
    for number, conversation in enumerate(conversations):
        records, ids = [to_record(turn) for turn in conversation["turns"]], list[str]()
        start = time.perf_counter()
        for at in range(0, len(records), BATCH):
            ids += peer.add(f"c{number}", records[at : at + BATCH])
        seconds += time.perf_counter() - start
        n += len(records)
        ids_of.append({turn["id"]: i for turn, i in zip(conversation["turns"], ids, strict=True)})
    found, times = list[float](), list[float]()
    peer.find("c0", "warm up")
    for number, conversation in enumerate(conversations):
        asked = [
            question for question in conversation["qa"] if any(turn in ids_of[number] for turn in question["evidence"])
        ]
        for question in asked[:: max(len(asked) // MAX_QUESTIONS, 1)]:
            evidence = {ids_of[number][turn] for turn in question["evidence"] if turn in ids_of[number]}
            start = time.perf_counter()
            ranking = peer.find(f"c{number}", question["question"])
            times.append(1_000 * (time.perf_counter() - start))
            found.append(len(evidence & set(ranking)) / len(evidence))
    secrets = [f"The secret number {i} of the vault is {7_919 * i}." for i in range(1, FORGOTTEN + 1)]
    peer.add("secrets", [NewRecord(secret) for secret in secrets])
    peer.find("secrets", "secret")
    peer.forget("secrets")
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    left = sum(secret.encode() in stored for secret in secrets)
    peer.close()
    return {
        "recall_at_10": round(statistics.fmean(found), 4),
        "adds_per_s": round(n / seconds),
        "query_p50_ms": round(statistics.median(times), 2),
        "forgotten_texts_left_in_files": left,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=list(PEERS))
    arguments = parser.parse_args()
    conversations, result = load(arguments.data), dict[str, Any]()
    for name in arguments.peers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                result[name] = measure(PEERS[name], conversations, Path(folder))
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
