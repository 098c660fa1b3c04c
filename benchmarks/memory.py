"""Evidence recall of the memory on LoCoMo conversations (Maharana et al.

2024): `python -m benchmarks.memory --data DIR --json FILE`.

For each question with evidence: the share of its evidence turns among the first k recalled, inside a packed 1,000-token
context, and in a summary of the scope (made without a model) of a fifth of its tokens. No model is called. Nothing is
tuned here; `--encoder minilm` needs the `embeddings` extra. Then speed and size (benchmarks.memory_speed), unless
`--parts recall` says otherwise; `--sizes` are the records in one scope.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.memory_speed import SCOPES, speed
from benchmarks.output import write_json
from orchestrator.memory import Encoder, HashingEncoder, Memory, NewRecord, SentenceTransformerEncoder, default_encoder
from orchestrator.memory.retrieval.packing import render
from orchestrator.memory.text.support import cited_in
from orchestrator.tokens.estimate import quick_tokens

CUTS = (5, 10, 25, 50)
MULTI_HOP = 1


def load(data: Path) -> list[dict[str, Any]]:
    path = data / "memory" / "locomo_dev.json.gz"
    if not path.exists():
        sys.exit(f"{path} not found: pass the data folder with --data")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        conversations: list[dict[str, Any]] = json.load(file)
    return conversations


def to_record(turn: dict[str, Any]) -> NewRecord:
    caption = f" [shares a picture: {turn['caption']}]" if turn.get("caption") else ""
    return NewRecord(
        turn["text"] + caption or "-", turn["speaker"], parse_time(turn.get("time")), f"session-{turn['session']}"
    )


def parse_time(text: str | None) -> datetime | None:
    for form in ("%I:%M %p on %d %B, %Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(text or "", form)
        except ValueError:
            continue
    return None


def encoder_named(name: str) -> Encoder:
    return {"static": default_encoder, "hashing": HashingEncoder, "minilm": SentenceTransformerEncoder}[name]()


def measure(conversations: list[dict[str, Any]], encoder: Encoder, path: Path) -> dict[str, Any]:
    memory = Memory(path, encoder=encoder)
    evidence_of: list[tuple[str, str, set[int], int]] = []
    for number, conversation in enumerate(conversations):
        scope = f"locomo/{number}"
        stored = memory.remember_many([to_record(turn) for turn in conversation["turns"]], scope)
        ids = {turn["id"]: record.id for turn, record in zip(conversation["turns"], stored, strict=True)}
        for question in conversation["qa"]:
            evidence = {ids[turn] for turn in question["evidence"] if turn in ids}
            if evidence:
                evidence_of.append((scope, question["question"], evidence, question["category"]))

    found: dict[str, list[float]] = {f"recall_at_{k}": [] for k in CUTS} | {
        "recall_in_1000_tokens": [],
        "multi_hop_recall_at_10": [],
    }
    times_ms = []
    for scope, question, evidence, category in evidence_of:
        start = time.perf_counter()
        packed = memory.recall(question, scope, token_budget=1_000)
        times_ms.append((time.perf_counter() - start) * 1_000)
        ranking = [item.record.id for item in memory.recall(question, scope, token_budget=10**9, limit=max(CUTS)).items]
        for k in CUTS:
            found[f"recall_at_{k}"].append(len(evidence & set(ranking[:k])) / len(evidence))
        if category == MULTI_HOP:
            found["multi_hop_recall_at_10"].append(found["recall_at_10"][-1])
        found["recall_in_1000_tokens"].append(len(evidence & {item.record.id for item in packed.items}) / len(evidence))

    summed_up = {number: summarized(memory, f"locomo/{number}") for number in range(len(conversations))}
    in_summary = [
        len(evidence & summed_up[int(scope.removeprefix("locomo/"))]) / len(evidence)
        for scope, _, evidence, _ in evidence_of
    ]
    texts = [record.key for number in range(len(conversations)) for record in memory.export(f"locomo/{number}")]
    start = time.perf_counter()
    encoder.encode(texts)
    encode_texts_per_s = len(texts) / (time.perf_counter() - start)
    memory.close()
    return {
        **{name: round(statistics.fmean(values), 4) for name, values in found.items()},
        "evidence_in_summary_of_20_percent": round(statistics.fmean(in_summary), 4),
        "encode_texts_per_s": round(encode_texts_per_s),
        "recall_p50_ms": round(statistics.median(times_ms), 3),
        "questions": len(evidence_of),
        "encoder": encoder.fingerprint,
    }


def summarized(memory: Memory, scope: str) -> set[int]:
    """Ids of the records quoted in a summary of a fifth of the scope's tokens."""
    tokens = sum(quick_tokens(render(record)) for record in memory.export(scope))
    return set(cited_in(memory.summarize(scope, token_budget=tokens // 5).text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--encoder", choices=("static", "minilm", "hashing"), default="static")
    parser.add_argument("--parts", nargs="*", choices=("recall", "speed"), default=["recall", "speed"])
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[1_000, 100_000],
        help="[default: 1000 100000]; 1000000 takes minutes and 3 GB",
    )
    parser.add_argument("--scopes", type=int, default=SCOPES)
    arguments = parser.parse_args()
    conversations, result = load(arguments.data), {}
    with tempfile.TemporaryDirectory() as folder:
        if "recall" in arguments.parts:
            result |= measure(conversations, encoder_named(arguments.encoder), Path(folder) / "memory.db")
        if "speed" in arguments.parts:
            turns = [turn["text"] for conversation in conversations for turn in conversation["turns"] if turn["text"]]
            queries = [question["question"] for conversation in conversations for question in conversation["qa"]]
            result |= speed(turns, queries, Path(folder), sizes=arguments.sizes, scopes=arguments.scopes)
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
