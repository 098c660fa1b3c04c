"""The fleet: how each model does, what it costs, and what it was asked."""

from __future__ import annotations

from dataclasses import asdict

from orchestrator.dashboard.host import ModelHealth
from orchestrator.dashboard.page import Page, PageRequest
from orchestrator.jsontypes import JsonObject


async def models(page: PageRequest) -> Page:
    """Health, limits, queue, prices, and what was served of each model in the range."""
    await page.host.flush()
    engine, health = page.host.engine, page.host.health()
    window = page.window()

    def read() -> tuple[dict[str, JsonObject], dict[str | int, JsonObject], dict[str | int, JsonObject]]:
        rollups = page.requests.rollups
        return (
            {row["model"]: row for row in rollups.sums(window, ("model",))},
            rollups.percentiles_by(window, "latency", "model")[1],
            rollups.percentiles_by(window, "ttft", "model")[1],
        )

    sums, latency, ttft = await page.read(read)
    usable = {} if engine is None else engine.backends
    fleet = {name: each for name, each in usable.items() if page.viewer.may_use(name)}
    names = [*fleet, *(name for name in sums if name and name not in fleet)]
    found = []
    for name in names:
        profile = fleet[name].profile if name in fleet else None
        found.append(
            {
                "name": name,
                "is_in_fleet": profile is not None,
                "profile": None if profile is None else _profile(asdict(profile)),
                "health": asdict(health.get(name, ModelHealth("local" if profile is not None else "unknown"))),
                "served": sums.get(name),
                "latency": latency.get(name),
                "ttft": ttft.get(name),
            }
        )
    told = {"range": {"name": page.range.name, "text": str(page.range)}, "models": found}
    return Page("models.html", "Models", told, {"origin": "" if engine is None else engine.origin})


def _profile(profile: JsonObject) -> JsonObject:
    return {**profile, "capabilities": sorted(profile["capabilities"])}
