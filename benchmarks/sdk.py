"""What the Python face costs: importing it, starting a stream, each piece of text, an answer, a batch; and mistakes.

- `import_ms`: milliseconds that `import orchestrator` takes beyond starting Python (median of paired processes).
- `first_event_ms`: from `stream(...)` to its first event (median).
- `delta_overhead_us`: microseconds that a stream adds to each piece of text, beside what its model takes.
- `answer_overhead_us`: microseconds of one draft of a scripted model that answers at once, with all that an answer has:
  routing, a reserved and settled budget, the trace with its events told to a listener, checks, belief, receipt, and the
  text's reading. Memory and the decision log are disks of their own, which `benchmarks.memory` and
  `benchmarks.search_overhead` measure. Each question is a new one.
- `answer_many_ratio`: 1,000 queries of 20 ms, 100 at once, against the ideal rate of 5,000 a second.
- `mistakes_caught` of `mistakes_tried`: mistakes of newcomers that end in an error with the right remedy.

Of repeated timings the best counts: on a busy machine the others measure the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from benchmarks.output import write_json
from benchmarks.sdk_mistakes import MISTAKES, caught
from orchestrator import Message, Orchestrator
from orchestrator.backends.base import Delta, Request
from orchestrator.testing import ScriptedBackend
from orchestrator.types import Completion

DELTAS = 2_000
ANSWERS, ROUNDS = 300, 9
QUERIES, SECONDS, AT_ONCE = 1_000, 0.020, 100


class Flood(ScriptedBackend):
    """A model that writes many small pieces, as fast as they are read."""

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        for _ in range(DELTAS):
            yield Delta("word ")
        yield Completion("flood", "word " * DELTAS)


def questions() -> Iterator[str]:
    """Questions that nobody asked before."""
    number = 0
    while True:
        number += 1
        yield f"How many lamps are in {number} boxes of {number % 17 + 3}?"


NEW = questions()


def import_ms(pairs: int = 15) -> float:
    """The median difference between a process that imports the package and one that does nothing."""

    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    return 1e3 * statistics.median(seconds("import orchestrator") - seconds("pass") for _ in range(pairs))


async def first_event_ms() -> float:
    """How long a stream is silent."""
    times = []
    async with Orchestrator(ScriptedBackend("m", "The answer is 1", skill=0.95)) as fleet:
        for _ in range(60):
            began = time.perf_counter()
            async with fleet.stream(next(NEW)) as events:
                async for _ in events:
                    times.append(time.perf_counter() - began)
                    break
    return 1e3 * statistics.median(times)


async def delta_overhead_us() -> float:
    """What each piece of text costs on its way from the model to the reader."""
    model = Flood("flood", skill=0.97)
    request = Request((Message("user", "x"),), "x")
    async with Orchestrator(model, strategy="single") as fleet:
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            bare = [piece async for piece in model.stream(request)]
            between = time.perf_counter()
            seen = [text async for text in fleet.stream_text(next(NEW))]
            assert len(bare) - 1 == len(seen) == DELTAS
            best = min(best, (time.perf_counter() - between) - (between - began))
    return 1e6 * best / DELTAS


async def answer_overhead_us() -> float:
    """One draft after the other."""
    heard: list[str] = []
    model = ScriptedBackend("m", "The answer is 12", skill=0.95)
    async with Orchestrator(model, budget=1.0, on_event=lambda event: heard.append(event.kind)) as fleet:
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(ANSWERS):
                await fleet.answer(next(NEW))
            best = min(best, time.perf_counter() - began)
    assert heard.count("answered") == ROUNDS * ANSWERS
    return 1e6 * best / ANSWERS


async def answer_many_ratio() -> float:
    """The rate of a batch against that of a machine that needs no time itself."""
    model = ScriptedBackend("m", "The answer is 12", skill=0.95, seconds=SECONDS)
    ideal_s = QUERIES * SECONDS / AT_ONCE
    async with Orchestrator(model) as fleet:
        best = float("inf")
        for _ in range(ROUNDS):
            asked = [next(NEW) for _ in range(QUERIES)]
            began = time.perf_counter()
            results = await fleet.answer_many(asked, concurrency=AT_ONCE)
            best = min(best, time.perf_counter() - began)
            assert all(result.answer is not None for result in results)
    return ideal_s / best


def measure() -> dict[str, object]:
    """All figures of the module's docstring."""
    wrong = {mistake.name: told for mistake in MISTAKES if (told := caught(mistake))}
    for name, told in wrong.items():
        print(f"{name}: {told}", file=sys.stderr)
    return {
        "import_ms": round(import_ms(), 2),
        "first_event_ms": round(asyncio.run(first_event_ms()), 3),
        "delta_overhead_us": round(asyncio.run(delta_overhead_us()), 2),
        "answer_overhead_us": round(asyncio.run(answer_overhead_us()), 1),
        "answer_many_ratio": round(asyncio.run(answer_many_ratio()), 3),
        "mistakes_caught": len(MISTAKES) - len(wrong),
        "mistakes_tried": len(MISTAKES),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--data", help="not used; accepted so that every benchmark takes the same options")
    arguments = parser.parse_args()
    write_json(measure(), arguments.json)


if __name__ == "__main__":
    main()
