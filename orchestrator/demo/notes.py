"""Part one of the demo.

Real answers from the notes and chat of a small invented company, from arithmetic and from dates. No key, no network.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import NoAdequateModel
from orchestrator.jsontypes import JsonObject
from orchestrator.memory.ingest.documents import read_document

SCOPE = "moth-and-marlow"
QUESTIONS = (
    "Who founded Moth & Marlow?",
    "What is the workshop cat called?",
    "Where is the workshop now?",
    "How much does the Gale lantern cost?",
    "Who looks after the glass furnace?",
    "When is the summer party?",
    "How long is the warranty on a lantern?",
    "What is 15% of 4,740?",
    "12 * (19 + 4) - 7^2",
    "How many days are between 2025-03-17 and 2025-06-30?",
    "How many litres are in 3 gallons?",
    "Who will write the next great novel about lighthouses?",
)


def bundled_folder() -> Path:
    """The notes inside the installed package, or in the repository's examples/."""
    here = Path(__file__).parent
    inside = here / "lantern"
    return inside if inside.exists() else here.parents[1] / "examples" / "lantern"


async def remember_bundled(orchestrator: Orchestrator) -> int:
    """Stores the bundled documents and chat; returns how many records."""
    count = 0
    folder = bundled_folder()
    for path in sorted(folder.glob("[0-9]*.md")):
        records = await asyncio.to_thread(read_document, path)
        count += len(await asyncio.to_thread(orchestrator.need_memory().remember_many, records, SCOPE))
    for line in (folder / "chat.jsonl").read_text(encoding="utf-8").splitlines():
        turn = json.loads(line)
        when = datetime.fromisoformat(turn["time"]).replace(tzinfo=UTC)
        await orchestrator.remember(
            turn["text"], SCOPE, speaker=turn["speaker"], time=when, session=turn["session"], source="chat"
        )
        count += 1
    return count


async def run_notes(*, quiet: bool = False) -> list[JsonObject]:
    """Asks every question and shows route, recalled facts, verdicts, confidence, cost and time.

    Returns the same as JSON values.
    """
    with tempfile.TemporaryDirectory() as folder:
        orchestrator = await Orchestrator.at_hand(memory_path=Path(folder) / "memory.db", local_servers=False)
        # Only what works without a key: whatever keys the environment holds, the demo contacts nobody.
        offline = {
            name: backend for name, backend in orchestrator.backends.items() if name in ("calculator", "extractive")
        }
        async with Orchestrator(offline, memory=orchestrator.memory, memory_tokens=400) as engine:
            start = time.perf_counter()
            count = await remember_bundled(engine)
            if not quiet:
                from orchestrator.demo.screen import show_title

                show_title(
                    "Part one: real answers, no key, no network",
                    f"remembered {count} notes and messages in {time.perf_counter() - start:.2f} s",
                )
            return [await _ask(engine, question, quiet=quiet) for question in QUESTIONS]


async def _ask(engine: Orchestrator, question: str, *, quiet: bool) -> JsonObject:
    try:
        answer = await engine.answer(question, scope=SCOPE)
    except NoAdequateModel as error:
        if not quiet:
            from orchestrator.demo.screen import show_refusal

            show_refusal(question, error)
        return {"question": question, "answer": None, "error": error.as_dict()}
    if not quiet:
        from orchestrator.demo.screen import show_answered

        show_answered(question, answer)
    return {
        "question": question,
        "answer": answer.text,
        "model": answer.model,
        "confidence": round(answer.confidence, 4),
        "cost_usd": answer.cost_usd,
        "latency_ms": round(answer.latency_s * 1_000, 2),
        "citations": list(answer.citations),
    }
