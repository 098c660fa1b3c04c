"""What pipelines cost beside the work they do: `python -m benchmarks.pipelines --json FILE`.

`us_per_step`: what the engine adds to a step, from a chain of 100 steps that do nothing (median of runs;
`_checkpointed`: each step is kept in SQLite; `us_per_effect`: steps that must be kept before the next one begins).
`map_ratio`: 1,000 items over a model that takes 100 ms, 200 at once, in units of the least possible time.
`haystack_us_per_step`: a graph of ten steps in haystack-ai's pipeline (null without haystack-ai: `make bench-peers`),
`ten_us_per_step`: the same graph in ours. `load_ms_100_steps`: reading and checking a file of 100 steps. `validate_s`:
`orchestrator validate` as a process, and `python_s` what of it is Python's own start with click, yaml and pydantic.
`kills`: how often a run was killed with -9 at a random moment and resumed; of those runs, `different_outputs` gave
another output than a run that nobody killed, and `repeated_side_effects` counts what was done twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import write_json
from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.pipeline import Pipeline, Runtime
from orchestrator.router import ModelProfile
from orchestrator.storage.database import SqliteDatabase
from orchestrator.storage.runs import Runs
from orchestrator.types import Completion, Usage

ROOT = Path(__file__).parents[1]
CHAIN, REPEATS, ITEMS, AT_ONCE, MODEL_S, KILLS = 100, 30, 1_000, 200, 0.1, 100
PEER_PYTHON = ROOT / "build" / "peers" / "bin" / "python"


class Waiting(LocalBackend):
    """Takes 100 ms."""

    def __init__(self) -> None:
        super().__init__(ModelProfile("waiting", 0.0, 0.0, skill=0.9, ttft_s=MODEL_S, simulated=True))

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(MODEL_S)
        return Completion(self.profile.name, "done", Usage(20, 5), MODEL_S, MODEL_S, simulated=True)


def written(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text("version: 1\nname: measured\n" + text, encoding="utf-8")
    return path


def chain_of(steps: int) -> str:
    following = "".join(f'  s{i}: {{say: "${{s{i - 1} + 1}}"}}\n' for i in range(1, steps))
    return f"steps:\n  s0: {{say: 0}}\n{following}output: ${{s{steps - 1}}}\n"


TEN = """
inputs: {n: number}
steps:
  a: {say: "${inputs.n + 1}"}
  b: {say: "${a + 1}"}
  c: {say: "${a + 2}"}
  d: {say: "${b + c}"}
  e: {say: "${c + 1}"}
  f: {say: "${d + e}"}
  g: {say: "${e + 1}"}
  h: {say: "${f + g}"}
  i: {say: "${g + h}"}
  j: {say: "${h + i}"}
output: ${j}
"""


async def us_per_step(folder: Path, *, kept: bool) -> float:
    pipeline = Pipeline.load(written(folder, chain_of(CHAIN)), root=folder)
    runs = Runs(SqliteDatabase(folder / "runs.db")) if kept else None
    taken = []
    async with Runtime(runs=runs) as host:
        for _ in range(REPEATS):
            began = time.perf_counter()
            found = await pipeline.run({}, host=host)
            taken.append((time.perf_counter() - began) / CHAIN)
            assert found.output == CHAIN - 1
    return statistics.median(taken) * 1e6


def touch(n: float) -> float:
    """What a step with an effect calls here."""
    return n


async def us_per_effect(folder: Path) -> float:
    """Each of these steps is written down before it is done, and again before the next one begins."""
    following = "".join(f'  s{i}: {{tool: touch, n: "${{s{i - 1} + 1}}"}}\n' for i in range(1, CHAIN))
    tools = "tools: {touch: {python: 'benchmarks.pipelines:touch'}}\n"
    path = written(folder, f"{tools}steps:\n  s0: {{say: 0}}\n{following}")
    pipeline = Pipeline.load(path, root=folder, allow_python=True)
    taken = []
    async with Runtime(runs=Runs(SqliteDatabase(folder / "effects.db"))) as host:
        for _ in range(10):
            began = time.perf_counter()
            await pipeline.run({}, host=host)
            taken.append((time.perf_counter() - began) / CHAIN)
    return statistics.median(taken) * 1e6


async def map_ratio(folder: Path) -> float:
    text = f"""
inputs: {{many: list}}
steps: {{m: {{map: "${{inputs.many}}", at_once: {AT_ONCE}, do: {{a: {{ask: waiting, prompt: "item ${{item}}"}}}},
    output: "${{a.text}}"}}}}
output: ${{len(m)}}
"""
    pipeline = Pipeline.load(written(folder, text), root=folder)
    taken = []
    async with Orchestrator({"waiting": Waiting()}) as engine, Runtime(engine) as host:
        for _ in range(3):
            began = time.perf_counter()
            found = await pipeline.run({"many": list(range(ITEMS))}, host=host)
            taken.append(time.perf_counter() - began)
            assert found.output == ITEMS
    return statistics.median(taken) / (ITEMS / AT_ONCE * MODEL_S)


def load_ms(folder: Path) -> float:
    """A file of 100 steps as one writes them: searches, recalls, branches, maps, all checked against each other."""
    four = """  facts{i}: {{memory: recall, query: "${{inputs.q}}", scope: "shop/${{inputs.user}}", tokens: 600}}
  reply{i}:
    search: adaptive
    prompt: "Answer ${{inputs.q}} from ${{facts{i}.text}}"
    quality: 0.9
    verify: [arithmetic, {{cites: {{sources: "${{facts{i}.items}}"}}}}, {{judge: {{rubric: is it kind?,
        at_least: 0.8}}}}]
  each{i}: {{map: "${{reply{i}.entities}}", as: entity, at_once: 8,
      do: {{found{i}: {{say: "${{entity.name}}: ${{reply{i}.confidence}}"}}}}}}
  end{i}: {{branch: [{{when: "${{reply{i}.confidence > 0.5}}", give: "${{reply{i}.text}}"}}, {{otherwise: unsure}}]}}
"""
    outputs = ", ".join(f'"${{end{i}}}"' for i in range(20))
    text = (
        "inputs: {q: text, user: text}\nsteps:\n"
        + "".join(four.format(i=i) for i in range(20))
        + f"output: [{outputs}]\n"
    )
    path = written(folder, text)
    Pipeline.load(path, root=folder)
    taken = []
    for _ in range(10):
        began = time.perf_counter()
        pipeline = Pipeline.load(path, root=folder)
        taken.append(time.perf_counter() - began)
    assert sum(1 for _ in pipeline.block.walk()) == 100
    return statistics.median(taken) * 1e3


def process_s(arguments: list[str], folder: Path, times: int = 7) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return min(taken)


async def ten_us(folder: Path) -> float:
    pipeline = Pipeline.load(written(folder, TEN), root=folder)
    taken = []
    async with Runtime() as host:
        for n in range(300):
            began = time.perf_counter()
            await pipeline.run({"n": n}, host=host)
            taken.append((time.perf_counter() - began) / 10)
    return statistics.median(taken) * 1e6


PEER = """
import asyncio, json, statistics, sys, time
from haystack import component
try:
    from haystack import AsyncPipeline as Pipeline
except ImportError:
    from haystack import Pipeline

@component
class Plus:
    @component.output_types(value=float)
    def run(self, a: float, b: float = 1):
        return {"value": a + b}
    @component.output_types(value=float)
    async def run_async(self, a: float, b: float = 1):
        return {"value": a + b}

edges = {"b": "a", "c": "a", "d": "bc", "e": "c", "f": "de", "g": "e", "h": "fg", "i": "gh", "j": "hi"}
pipeline = Pipeline()
for name in "abcdefghij":
    pipeline.add_component(name, Plus())
for name, sources in edges.items():
    for port, source in zip("ab", sources):
        pipeline.connect(source + ".value", name + "." + port)

async def main():
    taken = []
    run = getattr(pipeline, "run_async", None)
    for n in range(200):
        began = time.perf_counter()
        given = {"a": {"a": n}}
        found = await run(given) if run else pipeline.run(given)
        taken.append((time.perf_counter() - began) / 10)
    print(json.dumps(statistics.median(taken) * 1e6))

asyncio.run(main())
"""


def haystack_us() -> float | None:
    if not PEER_PYTHON.exists():
        return None
    settings = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"}
    done = subprocess.run([PEER_PYTHON, "-c", PEER], capture_output=True, text=True, check=False, env=settings)
    if done.returncode != 0:
        print(f"haystack-ai cannot be measured: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return float(done.stdout.strip().splitlines()[-1])


# Kills

KILLED = """
tools:
  book: {http: "http://127.0.0.1:PORT/book/{what}", method: POST, private: true, parameters: {what: text}}
  row: {sql: "sqlite:shop.db", query: "INSERT INTO rows (what) VALUES (:what)", writes: true}
steps:
  a: {tool: book, what: first}
  m:
    map: ${[1, 2, 3, 4, 5, 6]}
    at_once: 3
    do:
      booked: {tool: book, what: "item-${item}"}
      written: {tool: row, what: "${text(item)} ${booked.key}"}
      noted: {memory: remember, text: "Item ${item} was booked as ${booked.number}.", scope: runs}
    output: ${booked.number}
  said: {ask: m, prompt: "What was booked? ${m}"}
  last: {tool: row, what: "${said.text}", after: [m]}
output: {numbers: "${m}", said: "${said.text}", a: "${a.number}"}
"""
CHILD = """
import asyncio, sys
sys.path.insert(0, {root!r})
from benchmarks.pipelines import killed_run
asyncio.run(killed_run({folder!r}, {run!r}, resume={resume!r}))
"""


class Saying(LocalBackend):
    def __init__(self) -> None:
        super().__init__(ModelProfile("m", 1.0, 1.0, skill=0.9, simulated=True))

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(0.005)
        return Completion("m", f"all of it: {len(request.question)}", Usage(100, 20), simulated=True)


async def killed_run(folder: str, id: str, *, resume: bool) -> None:
    """One run in a process of its own, to be killed; prints its output as JSON at the end."""
    from orchestrator.memory import Memory

    here = Path(folder)
    pipeline = Pipeline.load(here / "pipeline.yaml", root=here)
    runs = Runs(SqliteDatabase(here / "runs.db"))
    memory = Memory(here / "memory.db")
    async with Orchestrator({"m": Saying()}, memory=memory) as engine, Runtime(engine, runs=runs) as host:
        print("begun", flush=True)
        if resume and runs.find("", id) is not None:
            found = await pipeline.resume(id, host=host)
        else:
            found = await pipeline.run({}, host=host, id=id)
        print(json.dumps(found.output), flush=True)


class Booking:
    """A server that books each idempotency key once, as real ones do; it numbers what it booked, and counts it."""

    def __init__(self) -> None:
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.numbers: dict[str, int] = {}
        self.whats: dict[str, str] = {}
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                key = self.headers["idempotency-key"]
                what = self.path.rsplit("/", 1)[-1]
                with lock:
                    outer.whats[key] = what
                    number = outer.numbers.setdefault(key, sum(map(ord, what)))
                content = json.dumps({"number": number, "key": key[:4]}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def kills(folder: Path, times: int, rng: random.Random) -> dict[str, int]:
    """Kills runs at random moments, resumes them, and looks at what was done."""
    booking = Booking()
    written(folder, KILLED.replace("PORT", str(booking.port)))
    db = sqlite3.connect(folder / "shop.db", isolation_level=None)
    db.execute("CREATE TABLE rows (what TEXT)")
    expected, usual_s = _until_it_ends(folder, "run_unharmed", None, rng)[:2]
    killed = different = number = 0
    try:
        while killed < times:
            number += 1
            output, _, here = _until_it_ends(folder, f"run_{number}", usual_s, rng, most=times - killed)
            killed += here
            different += output != expected
    finally:
        booking.close()
    return {
        "kills": killed,
        "different_outputs": different,
        "repeated_side_effects": _repeated(folder, booking, db, number + 1),
    }


def _until_it_ends(
    folder: Path, id: str, usual_s: float | None, rng: random.Random, most: int = 3
) -> tuple[str, float, int]:
    """(output, seconds of the last part, how often it was killed)."""
    killed = 0
    while True:
        code = CHILD.format(root=str(ROOT), folder=str(folder), run=id, resume=killed > 0)
        with (folder / "errors.txt").open("w") as errors:
            process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors, text=True)
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            began = time.perf_counter()
            if usual_s is not None and killed < min(most, 3):
                try:
                    process.wait(rng.uniform(0, usual_s))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    continue
            output = process.stdout.read()  # communicate() would lose what readline() read beyond its line
        if process.returncode != 0:
            raise RuntimeError(f"a run failed: {(folder / 'errors.txt').read_text()}")
        return output, time.perf_counter() - began, killed


def _repeated(folder: Path, booking: Booking, db: sqlite3.Connection, runs: int) -> int:
    """How much was done more than once: bookings, rows and memories beyond those of one unharmed run, for each run."""
    from orchestrator.memory import Memory

    bookings = len(booking.numbers) - 7 * runs
    rows = db.execute("SELECT count(*) FROM rows").fetchone()[0] - 7 * runs
    with Memory(folder / "memory.db") as memory:
        said = sum(record.said for record in memory.export("runs")) - 6 * runs
    return int(abs(bookings) + abs(rows) + abs(said))


def measured(kill_times: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["us_per_step"] = round(asyncio.run(us_per_step(folder, kept=False)), 1)
        found["us_per_step_checkpointed"] = round(asyncio.run(us_per_step(folder, kept=True)), 1)
        found["us_per_effect"] = round(asyncio.run(us_per_effect(folder)), 1)
        found["map_ratio"] = round(asyncio.run(map_ratio(folder)), 3)
        found["ten_us_per_step"] = round(asyncio.run(ten_us(folder)), 1)
        peer = haystack_us()
        found["haystack_us_per_step"] = None if peer is None else round(peer, 1)
        found["load_ms_100_steps"] = round(load_ms(folder), 1)
        command = str(Path(sys.executable).with_name("orchestrator"))
        written(folder, TEN)
        found["validate_s"] = round(process_s([command, "validate", "pipeline.yaml"], folder), 3)
        found["python_s"] = round(
            process_s([sys.executable, "-c", "import click, yaml, pydantic; pydantic.BaseModel"], folder), 3
        )
    with tempfile.TemporaryDirectory() as name:
        found |= kills(Path(name), kill_times, random.Random(7))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="unused: this benchmark needs no data")
    parser.add_argument("--kills", type=int, default=KILLS, help="how many runs are killed")
    parser.add_argument("--json", type=Path, nargs="?")
    arguments = parser.parse_args()
    write_json(measured(arguments.kills), arguments.json)


if __name__ == "__main__":
    main()
