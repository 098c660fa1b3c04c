"""Evidence recall of the memory on LoCoMo conversations (Maharana et al.

2024): `python -m benchmarks.memory --data DIR --json FILE`.

For each question with evidence: the share of its evidence turns among the first k recalled, inside a packed 1,000-token
context, and in a summary of the scope (made without a model) of a fifth of its tokens; `tokens_for_90`: how long a
context is on average that holds 90 % of the evidence. No model is called. Nothing is
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
from orchestrator.memory import (
    Encoder,
    HashingEncoder,
    Memory,
    MultilingualEncoder,
    NewRecord,
    SentenceTransformerEncoder,
    default_encoder,
)
from orchestrator.memory.evaluation import EvidenceQuestion, JudgedConversation, evaluate_recall, read_conversations
from orchestrator.memory.retrieval.packing import render
from orchestrator.memory.text.support import cited_in
from orchestrator.tokens.estimate import quick_tokens

MULTI_HOP = "1"


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


def judged_of(conversation: dict[str, Any]) -> JudgedConversation:
    turns = {turn["id"]: to_record(turn) for turn in conversation["turns"]}
    evidence = ((q, frozenset(turn for turn in q["evidence"] if turn in turns)) for q in conversation["qa"])
    return JudgedConversation(
        turns, [EvidenceQuestion(q["question"], found, str(q["category"])) for q, found in evidence if found]
    )


def parse_time(text: str | None) -> datetime | None:
    for form in ("%I:%M %p on %d %B, %Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(text or "", form)
        except ValueError:
            continue
    return None


def encoder_named(name: str) -> Encoder:
    made = {"hashing": HashingEncoder, "minilm": SentenceTransformerEncoder, "multilingual": MultilingualEncoder}
    return made.get(name, default_encoder)()


def measure(conversations: list[dict[str, Any]], encoder: Encoder, path: Path) -> dict[str, Any]:
    memory = Memory(path, encoder=encoder)
    evidence_of: list[tuple[int, set[int]]] = []
    for number, conversation in enumerate(conversations):
        scope = f"locomo/{number}"
        stored = memory.remember_many([to_record(turn) for turn in conversation["turns"]], scope)
        ids = {turn["id"]: record.id for turn, record in zip(conversation["turns"], stored, strict=True)}
        for question in conversation["qa"]:
            evidence = {ids[turn] for turn in question["evidence"] if turn in ids}
            if evidence:
                evidence_of.append((number, evidence))

    judged = {str(number): judged_of(conversation) for number, conversation in enumerate(conversations)}
    with Memory(Path(str(path) + ".judged"), encoder=encoder) as fresh:
        found = evaluate_recall(fresh, judged)
    categories = found.pop("by_category")
    assert isinstance(categories, dict)
    summed_up = {number: summarized(memory, f"locomo/{number}") for number in range(len(conversations))}
    in_summary = [len(evidence & summed_up[number]) / len(evidence) for number, evidence in evidence_of]
    texts = [record.key for number in range(len(conversations)) for record in memory.export(f"locomo/{number}")]
    start = time.perf_counter()
    encoder.encode(texts)
    encode_texts_per_s = len(texts) / (time.perf_counter() - start)
    memory.close()
    return {
        **found,
        "multi_hop_recall_at_10": categories.get(MULTI_HOP, {}).get("recall_at_10"),
        "evidence_in_summary_of_20_percent": round(statistics.fmean(in_summary), 4),
        "encode_texts_per_s": round(encode_texts_per_s),
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
    parser.add_argument("--encoder", choices=("static", "minilm", "multilingual", "hashing"), default="static")
    parser.add_argument("--parts", nargs="*", choices=("recall", "speed"), default=["recall", "speed"])
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[1_000, 100_000],
        help="[default: 1000 100000]; 1000000 takes minutes and 3 GB",
    )
    parser.add_argument("--scopes", type=int, default=SCOPES)
    parser.add_argument("--format", type=Path, help="measure this file of turns and questions (docs/memory.md) instead")
    arguments = parser.parse_args()
    if arguments.format is not None:
        with Memory(encoder=encoder_named(arguments.encoder)) as memory:
            write_json(evaluate_recall(memory, read_conversations(arguments.format)), arguments.json)
        return
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
