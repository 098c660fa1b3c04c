"""Batches on Ray, for benchmarks.batch: run with the Python that has it.

`build/ray/bin/python -m benchmarks.ray_batch kills|ratio FOLDER`; prints one JSON object.

`ratio`: rows a second of two actors over those of one, of rows that take the processor 20 ms each. `kills`: two actors,
of which one is killed now and then, and each row is there once.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.batch.job import BatchJob
from orchestrator.batch.output import BatchOutput
from orchestrator.batch.work import QuestionTemplate
from orchestrator.budget import Budget
from orchestrator.router import ModelProfile
from orchestrator.scale.ray_actor import FleetActor
from orchestrator.scale.ray_batch import RayBatchWork
from orchestrator.scale.ray_cluster import connect_ray
from orchestrator.types import Completion, Usage

ROW_S = 0.02


class BusyModel(LocalBackend):
    """Takes the processor 20 ms for each answer."""

    def __init__(self) -> None:
        super().__init__(ModelProfile("busy", 1.0, 1.0, skill=0.9))

    async def complete(self, request: Request) -> Completion:
        ends = time.process_time() + ROW_S
        while time.process_time() < ends:
            pass
        return Completion("busy", "42", Usage(20, 5), ROW_S, ROW_S)


class BusyActor(FleetActor):
    async def _built(self) -> Orchestrator:
        if self._fleet is None:
            self._fleet = Orchestrator({"busy": BusyModel()}, strategy="single")
        return self._fleet


async def batch(path: Path, out: Path, *, workers: int, kills: int = 0) -> float:
    """Seconds that the rows took, once the actors were there."""
    ray = connect_ray(None)
    made = ray.remote(BusyActor).options(max_restarts=-1, max_task_retries=0, num_cpus=0.5)
    actors = [made.remote(None, concurrency=4) for _ in range(workers)]
    output = BatchOutput(out, {})
    work = RayBatchWork(
        QuestionTemplate("How many lamps hang in row {n}?"),
        None,
        {"uses_memory": False},
        config=None,
        budget=Budget(),
        concurrency=4,
        ordered=False,
        block_rows=10,
        actors=actors,
    )
    await asyncio.gather(*(actor.ready.remote() for actor in actors))
    killing = asyncio.ensure_future(_kill(ray, actors, kills))
    began = time.perf_counter()
    await BatchJob(path, output, work).run()
    seconds = time.perf_counter() - began
    killing.cancel()
    output.close()
    for actor in actors:
        ray.kill(actor)
    return seconds


async def _kill(ray: ModuleType, actors: Sequence[object], kills: int) -> None:
    rng = random.Random(1)
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        ray.kill(rng.choice(actors), no_restart=False)


def write_rows(path: Path, count: int) -> None:
    path.write_text("".join(json.dumps({"id": f"r{number}", "n": number}) + "\n" for number in range(count)))


def kills(folder: Path, rows: int = 300, times: int = 4) -> dict[str, Any]:
    write_rows(folder / "rows.jsonl", rows)
    asyncio.run(batch(folder / "rows.jsonl", folder / "out", workers=2, kills=times))
    ids = [json.loads(line)["id"] for part in (folder / "out").glob("part-*") for line in part.open()]
    return {"rows": rows, "missing": rows - len(set(ids)), "duplicated": len(ids) - len(set(ids))}


def ratio(folder: Path, rows: int = 600) -> dict[str, Any]:
    write_rows(folder / "rows.jsonl", rows)
    one, two = (asyncio.run(batch(folder / "rows.jsonl", folder / f"{n}", workers=n)) for n in (1, 2))
    return {
        "ratio": round(one / two, 2),
        "one_rows_per_s": round(rows / one, 1),
        "two_rows_per_s": round(rows / two, 1),
    }


if __name__ == "__main__":
    print(json.dumps({"kills": kills, "ratio": ratio}[sys.argv[1]](Path(sys.argv[2]))))
