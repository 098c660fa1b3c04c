"""Part two of the demo, a SIMULATION.

Four simulated models behind a real HTTP server, asked through the whole path including the socket.
"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import Any

from orchestrator.backends.base import Backend
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.simulated import SimulatedProblem
from orchestrator.demo.chart import chart_svg, chart_text
from orchestrator.demo.problems import generate_problems
from orchestrator.demo.simulated_fleet import LARGE, SMALL, simulated_fleet
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.jsontypes import JsonObject
from orchestrator.router import Outcome, Router
from orchestrator.types import Answer
from orchestrator.verifiers import equivalent

CALIBRATION_PROBLEMS = 120
AT_ONCE = 16


def run_simulation(count: int, svg: Path, *, quiet: bool = False) -> JsonObject:
    """Runs the four policies on the same problems, prints table and chart, writes the SVG.

    The result says `simulated: true`.
    """
    problems = generate_problems(count + CALIBRATION_PROBLEMS, seed=7)
    calibration, asked = problems[:CALIBRATION_PROBLEMS], problems[CALIBRATION_PROBLEMS:]
    fleet = simulated_fleet(problems)
    profiles = [model.profile for model in fleet]
    # The router learns from outcomes on problems that are not asked later.
    router = Router()
    router.learn(
        (
            Outcome(p.question, m.profile.name, float(equivalent(m.reply(p.question, 0).text, p.answer, p.question)))
            for p in calibration
            for m in fleet
        ),
        {profile.name: profile for profile in profiles},
    )
    with running_server(FleetApp(fleet)) as url:
        rows = asyncio.run(_policies(url, profiles, router, asked))
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(chart_svg(rows), encoding="utf-8")
    if not quiet:
        from orchestrator.demo.screen import console, show_simulation, show_title

        show_title(
            "Part two: a SIMULATION",
            "four simulated models (stated skill, price and speed) behind a real HTTP server on loopback; not real "
            "models",
        )
        show_simulation(rows, str(svg), len(asked))
        console.print(chart_text(rows))
    return {"simulated": True, "problems": len(asked), "policies": rows, "svg": str(svg)}


async def _policies(url: str, profiles: list[Any], router: Router, asked: list[SimulatedProblem]) -> list[JsonObject]:
    backends: dict[str, Backend] = {p.name: RemoteBackend(p, base_url=url, model=p.name) for p in profiles}
    async with Orchestrator(
        backends, router=router, quality=0.97, value_usd=0.08, origin="a simulated fleet"
    ) as engine:
        policies: tuple[tuple[str, dict[str, Any]], ...] = (
            ("always small", {"models": [SMALL], "strategy": "single"}),
            ("always large", {"models": [LARGE], "strategy": "single"}),
            ("router only", {"strategy": "single", "quality": 0.85}),
            ("router + search", {"strategy": "adaptive"}),
        )
        return [await _measure(engine, name, options, asked) for name, options in policies]


async def _measure(engine: Orchestrator, policy: str, options: JsonObject, asked: list[SimulatedProblem]) -> JsonObject:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(problem: SimulatedProblem) -> tuple[SimulatedProblem, Answer]:
        async with gate:
            return problem, await engine.answer(problem.question, **options)

    answered = await asyncio.gather(*(one(problem) for problem in asked))
    right = sum(equivalent(answer.text, problem.answer, problem.question) for problem, answer in answered)
    times_ms = sorted(answer.latency_s * 1_000 for _, answer in answered)
    return {
        "policy": policy,
        "accuracy": round(right / len(asked), 4),
        "usd_per_1k": round(1_000 * sum(answer.cost_usd or 0.0 for _, answer in answered) / len(asked), 4),
        "p50_ms": round(statistics.median(times_ms), 1),
        "p95_ms": round(times_ms[int(0.95 * (len(times_ms) - 1))], 1),
        "calls_per_query": round(sum(len(answer.candidates) for _, answer in answered) / len(asked), 3),
        "mean_confidence": round(statistics.fmean(answer.confidence for _, answer in answered), 4),
    }
