"""What the search itself costs, with simulated models that only wait.

`python -m benchmarks.search_overhead --json FILE`.

`best_of_8_ratio`: eight drafts at once of a model that takes 200 ms, in units of 200 ms (median). `cpu_ms_per_call`:
processor time of all that is around a model call which takes no time, routing and belief included. `queries_completed`:
of 1,000 concurrent queries. `deadline_overshoot_p99_ms`: how much later than its deadline a query ends whose model
takes ten times as long. `nano_usd_left_reserved`: held after 200 searches were cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator import Budget, BudgetExceeded, Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.budget import Ledger
from orchestrator.router import ModelProfile
from orchestrator.search import Search, SearchState
from orchestrator.search.state import Choice
from orchestrator.search.strategies.sampling import best_of
from orchestrator.trace import Trace
from orchestrator.types import Completion, Message, Usage

LATENCY_S, DEADLINE_S = 0.2, 0.1
RATIO_RUNS, CPU_RUNS, CONCURRENT, DEADLINES, CANCELLED = 15, 200, 1_000, 200, 200


class Waiting(LocalBackend):
    """Waits, then says a number that depends on the draw: answers that neither all agree nor all differ."""

    def __init__(self, latency_s: float, name: str = "waiting") -> None:
        super().__init__(ModelProfile(name, 1.0, 1.0, skill=0.6, ttft_s=latency_s, tokens_per_s=1e6, simulated=True))
        self._latency_s = latency_s

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(self._latency_s)
        return Completion(
            self.profile.name,
            str((request.seed or 0) % 3 + 40),
            Usage(20, 5),
            self._latency_s,
            self._latency_s,
            simulated=True,
        )


def question(number: int) -> str:
    return f"How many lamps are left of {number} when three in five have been sold and two came back?"


async def best_of_8_ratio() -> float:
    async with Orchestrator({"waiting": Waiting(LATENCY_S)}, strategy=best_of(8)) as orchestrator:
        await orchestrator.answer(question(0), quality=1.0)
        times = []
        for number in range(RATIO_RUNS):
            start = time.perf_counter()
            await orchestrator.answer(question(number), quality=1.0)
            times.append(time.perf_counter() - start)
    return statistics.median(times) / LATENCY_S


async def cpu_ms_per_call() -> float:
    async with Orchestrator({"waiting": Waiting(0.0)}, strategy=best_of(8)) as orchestrator:
        await orchestrator.answer(question(0), quality=1.0)
        start, calls = time.process_time(), 0
        for number in range(CPU_RUNS):
            calls += len((await orchestrator.answer(question(number), quality=1.0)).candidates)
        return 1_000 * (time.process_time() - start) / calls


async def queries_completed() -> int:
    async with Orchestrator({"waiting": Waiting(LATENCY_S)}, strategy="single") as orchestrator:
        answers = await asyncio.gather(
            *(orchestrator.answer(question(number)) for number in range(CONCURRENT)), return_exceptions=True
        )
    return sum(not isinstance(answer, BaseException) and bool(answer.text) for answer in answers)


async def deadline_overshoot_p99_ms() -> float:
    async with Orchestrator({"waiting": Waiting(10 * DEADLINE_S)}, strategy="single") as orchestrator:
        late = []
        for number in range(DEADLINES):
            start = time.perf_counter()
            try:
                await orchestrator.answer(question(number), budget=Budget(seconds=DEADLINE_S))
            except BudgetExceeded:
                late.append(1_000 * (time.perf_counter() - start - DEADLINE_S))
    return statistics.quantiles(late, n=100)[98]


async def nano_left_reserved() -> int:
    """Searches cancelled at random moments, each with a ledger of its own.

    Billionths of a dollar that are still held afterwards.
    """
    rng, backend, left = random.Random(0), Waiting(0.05), 0
    request = Request((Message("user", question(0)),), question(0))
    for number in range(CANCELLED):
        ledger = Ledger(Budget(usd=1.0))
        state = SearchState(question(number), (Choice("waiting", 0.6, 0.0, 0.05),), {"waiting": 0.6}, quality=1.0)
        search = Search({"waiting": backend}, [], ledger, Trace())
        task = asyncio.ensure_future(search.run(state, best_of(8), request))
        await asyncio.sleep(rng.uniform(0.0, 0.06))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left += ledger.reserved_nano
    return left


async def measure() -> dict[str, Any]:
    return {
        "best_of_8_ratio": round(await best_of_8_ratio(), 4),
        "cpu_ms_per_call": round(await cpu_ms_per_call(), 4),
        "queries_completed": await queries_completed(),
        "deadline_overshoot_p99_ms": round(await deadline_overshoot_p99_ms(), 2),
        "nano_usd_left_reserved": await nano_left_reserved(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--data", help="not used; accepted so that every benchmark takes the same options")
    write_json(asyncio.run(measure()), parser.parse_args().json)


if __name__ == "__main__":
    main()
