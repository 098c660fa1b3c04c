"""How fast, how lean and how safe a batch is, on one machine and on Ray.

`python -m benchmarks.batch --json FILE`: 100,000 rows over a model that takes 20 ms, 256 at once.

`ideal_ratio`: the time that the rows need at least, over what the batch took; at least they need what the network
allows (20 ms at 256 at once) or what one core allows: the time of the same questions asked of the same fleet by 256
loops that neither read nor write anything, whichever is longer. `rss_mb`: the most memory of the process;
`rss_growth_mb`: how much of it came after the first tenth of the rows. `kills`: a batch of 60,000 rows is killed
(SIGKILL) 20 times at moments drawn by chance and goes on each time; `missing` and `duplicated` rows at its end;
`paid_twice` calls that were made again, which only those that were under way at a kill may be: `in_flight` is how many
these were at most.

Where `make ray` was called, benchmarks.ray_batch too. `ray_ratio`: rows a second of two actors over those of one, of
rows that take the processor 20 ms each; `ray_kills`: rows that are missing or there twice when actors were killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.batch.job import BatchJob
from orchestrator.batch.output import BatchOutput
from orchestrator.batch.work import Questions, QuestionTemplate
from orchestrator.budget import Budget
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage

ROWS, KILL_ROWS, KILLS, CONCURRENCY, LATENCY_S = 100_000, 60_000, 20, 256, 0.02
QUESTION = "What is the number of lamps in row {n}?"
RAY = Path(__file__).parents[1] / "build/ray/bin/python"


class MockModel(LocalBackend):
    """Takes 20 ms, and writes down which calls it was asked: each is paid when it begins."""

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(ModelProfile("mock", 1.0, 1.0, skill=0.9))
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def complete(self, request: Request) -> Completion:
        if self._log is not None:
            os.write(self._log, f"{request.messages[-1].content.split()[-1][:-1]}\n".encode())
        await asyncio.sleep(LATENCY_S)
        return Completion("mock", "42", Usage(20, 5), LATENCY_S, LATENCY_S)


def write_rows(path: Path, count: int) -> None:
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"id": f"r{number}", "n": number}) + "\n")


async def run_batch(rows: Path, out: Path, log: Path | None, readings: list[tuple[int, float]] | None = None) -> float:
    """Seconds that the batch took."""
    output = BatchOutput(out, {"input": rows.name})
    async with Orchestrator({"mock": MockModel(log)}, strategy="single") as fleet:
        work = Questions(
            fleet,
            QuestionTemplate(QUESTION),
            {"uses_memory": False},
            budget=Budget(),
            concurrency=CONCURRENCY,
            ordered=False,
        )
        job = BatchJob(
            rows,
            output,
            work,
            on_progress=lambda progress: None if readings is None else readings.append((progress.done, rss_mb())),
        )
        began = time.perf_counter()
        await job.run()
        seconds = time.perf_counter() - began
    output.close()
    return seconds


def rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def plain_seconds(count: int) -> float:
    """Seconds that the same questions take without anything read or written."""
    async with Orchestrator({"mock": MockModel()}, strategy="single") as fleet:
        await fleet.answer(QUESTION.format(n=0), uses_memory=False)
        numbers = iter(range(count))

        async def ask() -> None:
            for number in numbers:
                await fleet.answer(QUESTION.format(n=number), uses_memory=False)

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
        return time.perf_counter() - began


def throughput(folder: Path, count: int) -> dict[str, Any]:
    rows = folder / "rows.jsonl"
    write_rows(rows, count)
    part = max(count // 5, 1)
    told = json.loads(_child("once", str(rows), str(folder / "out"), str(part)))
    plain_s = told["plain_s"] * count / part
    network_s = count * LATENCY_S / CONCURRENCY
    return {
        "rows": count,
        "seconds": round(told["seconds"], 1),
        "rows_per_s": round(count / told["seconds"]),
        "ideal_ratio": round(max(plain_s, network_s) / told["seconds"], 3),
        "network_bound_s": round(network_s, 1),
        "core_bound_s": round(plain_s, 1),
        "rss_mb": round(told["rss_mb"]),
        "rss_growth_mb": round(told["rss_growth_mb"]),
    }


def _child(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.batch", "--child", *arguments], check=True, capture_output=True, text=True
    ).stdout


def child(arguments: list[str]) -> None:
    """What a process of its own does."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, for all that is compared
    if arguments[0] == "once":
        readings: list[tuple[int, float]] = []
        part = int(arguments[3])  # a machine changes its pace: the mean of before and after counts
        before = asyncio.run(plain_seconds(part))
        seconds = asyncio.run(run_batch(Path(arguments[1]), Path(arguments[2]), None, readings))
        most = max(mb for _, mb in readings)
        tenth = next((mb for done, mb in readings if done >= readings[-1][0] / 10), most)
        plain_s = (before + asyncio.run(plain_seconds(part))) / 2
        print(json.dumps({"seconds": seconds, "plain_s": plain_s, "rss_mb": most, "rss_growth_mb": most - tenth}))
    else:
        asyncio.run(run_batch(Path(arguments[1]), Path(arguments[2]), Path(arguments[3])))


def kills(folder: Path, count: int, times: int, seed: int = 0) -> dict[str, Any]:
    rows, out, log = folder / "kill.jsonl", folder / "killed", folder / "calls.log"
    write_rows(rows, count)
    rng = random.Random(seed)
    killed = 0
    command = [sys.executable, "-m", "benchmarks.batch", "--child", "go", str(rows), str(out), str(log)]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(1.5, 3.0) if killed < times else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        break
    ids = [json.loads(line)["id"] for part in sorted(out.glob("part-*.jsonl")) for line in part.open()]
    calls = log.read_text().split()
    return {
        "kills": killed,
        "missing": count - len(set(ids)),
        "duplicated": len(ids) - len(set(ids)),
        "paid_twice": len(calls) - len(set(calls)),
        "in_flight": killed * CONCURRENCY,
    }


def on_ray(folder: Path) -> dict[str, Any]:
    """`None` for what is not measured: Ray is not installed."""
    if not RAY.exists():
        return {"ray_ratio": None, "ray_kills": None}
    found = {}
    for what in ("ratio", "kills"):
        (folder / what).mkdir()
        command = [str(RAY), "-m", "benchmarks.ray_batch", what, str(folder / what)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[what] = json.loads(told.splitlines()[-1])
    return {"ray_ratio": found["ratio"]["ratio"], "ray_rows_per_s": found["ratio"], "ray_kills": found["kills"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="not needed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--kill-rows", type=int, default=KILL_ROWS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = throughput(Path(folder), arguments.rows)
        result |= kills(Path(folder), arguments.kill_rows, arguments.kills)
        result |= on_ray(Path(folder))
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
