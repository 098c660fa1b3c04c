"""Runs that use tools: what a step costs of our own time, and what is left after kills with SIGKILL.

`python -m benchmarks.agent_steps --json FILE` kills a hundred runs at random moments and goes on with each until it
ends. Its tools write a line for each effect; one that may be repeated is deduplicated by its key, as a server would.
`effects_twice` counts effects that happened again, `effects_lost` those that neither happened nor were told to the
model as unknown. The model is a script; each of its calls writes a line, too (`calls_paid_twice` counts those that were
made again although their answer was on record).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.output import write_json
from orchestrator.agent.execution import UNCERTAIN
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.router import ModelProfile
from orchestrator.tools import Tool, tool
from orchestrator.types import Completion, ToolCall, Usage

KILLS, STEPS, LONGEST_S = 100, 8, 0.2
MEASURED_STEPS, ROUNDS = 20, 8
CHILD_S = 60.0


class CallingModel(LocalBackend):
    """Calls a tool as often as `steps` says, each time with another number, then answers. It holds no state."""

    def __init__(self, steps: int, told: Path | None = None) -> None:
        super().__init__(ModelProfile("m", 1.0, 1.0, skill=0.9, ttft_s=0.0, tokens_per_s=1e6))
        self._steps, self._told = steps, told

    async def complete(self, request: Request) -> Completion:
        done = sum(message.role == "tool" for message in request.messages)
        if self._told is not None:
            append(self._told, f"asked {done}")
        if done >= self._steps or request.tool_choice == "none":
            return Completion("m", "Done.", Usage(100, 5))
        names = [each["function"]["name"] for each in request.tools]
        call = ToolCall(names[done % len(names)], {"n": done}, f"c{done}")
        return Completion("m", "", Usage(100, 20), calls=(call,))


def append(path: Path, line: str) -> None:
    """Adds a line that outlives the process."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{line}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def tools_of(folder: Path) -> list[Tool]:
    def pay(n: int) -> str:
        time.sleep(0.003)
        append(folder / "effects", f"once {n} -")
        time.sleep(0.003)
        return f"paid {n}"

    def book(n: int, idempotency_key: str) -> str:
        time.sleep(0.003)
        append(folder / "effects", f"idempotent {n} {idempotency_key}")
        time.sleep(0.003)
        return f"booked {n}"

    return [tool(pay), tool(book, effects="idempotent")]


def work(folder: Path, run: str) -> None:
    """The child: one run, begun or gone on with; its last line is the run's steps."""
    with Orchestrator({"m": CallingModel(STEPS, folder / "asked")}, storage=folder / "runs.db") as engine:
        print("ready", flush=True)
        answer = engine.answer_sync("Pay and book", tools=tools_of(folder), run=run)
    print(json.dumps([each.result for step in answer.steps for each in step.called]), flush=True)


def kill_run(folder: Path, rng: random.Random) -> dict[str, int]:
    """Goes on with one run until it ends, killed on the way."""
    kills = 0
    while True:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.agent_steps", "--work", str(folder)],
            stdout=subprocess.PIPE,
            bufsize=0,  # else readline() would read ahead, and communicate() lose that
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            said, _ = child.communicate(timeout=rng.uniform(0.0, LONGEST_S) if kills < 4 else CHILD_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            kills += 1
            continue
        results = json.loads(said.splitlines()[-1])
        return {"kills": kills, **judged(folder, results)}


def judged(folder: Path, results: list[str]) -> dict[str, int]:
    """What became of the effects of one run."""
    lines = [line.split() for line in (folder / "effects").read_text().splitlines()]
    once = Counter(n for kind, n, _ in lines if kind == "once")
    keys = {(n, key) for kind, n, key in lines if kind == "idempotent"}
    happened = {int(n) for _, n, _ in lines}
    uncertain = {index for index, result in enumerate(results) if result == UNCERTAIN}
    recorded = Counter((folder / "asked").read_text().splitlines())
    return {
        "effects_twice": sum(count - 1 for count in once.values()) + len(keys) - len({n for n, _ in keys}),
        "effects_lost": len(set(range(STEPS)) - happened - uncertain),
        "effects_unknown": len(uncertain),
        "calls_asked": sum(recorded.values()),
    }


def kill_runs(times: int, seed: int = 0) -> dict[str, int]:
    """The sums over so many runs."""
    rng, total = random.Random(seed), Counter[str]()
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            total.update(kill_run(Path(folder), rng))
    return {"runs": times, **total}


def own_ms_per_step(rounds: int = ROUNDS) -> float:
    """The time of a step in which model and tool take none, in ms: the least of several rounds."""

    @tool(effects="none")
    async def look(n: int) -> int:
        return n

    async def one() -> float:
        async with Orchestrator({"m": CallingModel(MEASURED_STEPS)}) as engine:
            await engine.answer("Look things up", tools=[look], max_steps=MEASURED_STEPS + 1)
            start = time.perf_counter()
            await engine.answer("Look other things up", tools=[look], max_steps=MEASURED_STEPS + 1)
            return (time.perf_counter() - start) / (MEASURED_STEPS + 1)

    return round(1_000 * min(asyncio.run(one()) for _ in range(rounds)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="not needed")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, "run_killed")
        return
    write_json({"own_ms_per_step": own_ms_per_step(), **kill_runs(arguments.kills)}, arguments.json)


if __name__ == "__main__":
    main()
