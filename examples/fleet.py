"""A fleet of two models behind a real HTTP server.

The models are SIMULATED; with real ones only `base_url`, `key` and prices change.
"""

import asyncio

from orchestrator import Budget, Event, Orchestrator, RemoteBackend
from orchestrator.router import ModelProfile
from orchestrator.testing import FleetApp, SimulatedModel, SimulatedProblem, running_server

PROBLEM = SimulatedProblem("A crate holds 12 lamps. How many lamps do 3 crates hold?", "36", difficulty=0.5)
SMALL = ModelProfile(
    "small", input_usd_per_mtok=0.05, output_usd_per_mtok=0.2, skill=0.7, ttft_s=0.01, tokens_per_s=4_000
)
LARGE = ModelProfile(
    "large", input_usd_per_mtok=3.0, output_usd_per_mtok=15.0, skill=0.94, ttft_s=0.05, tokens_per_s=1_500
)


def show(event: Event) -> None:
    print(f"  {event.at_s:5.2f} s  {event.kind:9} {event.detail.get('model', '')}")


async def main() -> None:
    served = [SimulatedModel(profile, {PROBLEM.question: PROBLEM}) for profile in (SMALL, LARGE)]
    with running_server(FleetApp(served)) as url:
        backends = {
            profile.name: RemoteBackend(profile, base_url=url, model=profile.name) for profile in (SMALL, LARGE)
        }
        async with Orchestrator(backends, budget=Budget(usd=0.05, seconds=10)) as orchestrator:
            answer = await orchestrator.answer(PROBLEM.question, quality=0.97, strategy="cascade", on_event=show)
    print(answer.text)
    print(
        f"P(correct) {answer.confidence:.2f} after {len(answer.candidates)} drafts, {answer.cost_usd:.6f} USD, "
        f"simulated: {answer.simulated}"
    )


asyncio.run(main())
