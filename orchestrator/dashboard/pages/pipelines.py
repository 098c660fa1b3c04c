"""Pipelines as graphs, their runs, and a run's steps."""

from __future__ import annotations

import re

from markupsafe import Markup

from orchestrator.dashboard import charts, formats
from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.page import Page, PageRequest, Redirect, checked, link
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.runs import StoredRun, StoredStep

SHOWN = 100


def has_runs(host: DashboardHost) -> bool:
    """Whether there are runs to show."""
    return host.runs is not None


async def pipelines(page: PageRequest) -> Page:
    """The pipelines that are served, and the newest runs that the viewer may see."""
    allowed = {name: each for name, each in page.host.pipelines.items() if page.viewer.may_use(f"pipeline:{name}")}
    served = {name: {k: v for k, v in each.items() if k != "svg"} for name, each in allowed.items()}
    runs = page.host.runs
    found = [] if runs is None else await page.read(lambda: runs.recent_of(_owner(page), limit=SHOWN))
    wanted = page.params.get("pipeline")
    shown = [_told(page, run) for run in found if wanted in (None, "", run.pipeline)]
    graphs = {name: Markup(each["svg"]) for name, each in allowed.items() if "svg" in each}
    return Page("pipelines.html", "Pipelines", {"pipelines": served, "runs": shown}, {"graphs": graphs})


def _owner(page: PageRequest) -> str:
    """What the owners of runs begin with that the viewer may see: those of an organisation, or of one key."""
    viewer = page.viewer
    if viewer.is_local or viewer.role == "operator":
        return ""
    return f"{viewer.org}/" if viewer.is_at_least("organisation") else f"{viewer.org}/{viewer.key}"


def _told(page: PageRequest, run: StoredRun) -> JsonObject:
    """A run as its tenant may see it: what a tool or a server said stays with the operator."""
    is_inside = page.viewer.is_local or page.viewer.role == "operator"
    return {
        **run.as_dict(),
        "error": run.error if is_inside else run.error.split(": ", 1)[0],
        "owner": run.owner,
        "seconds": None if run.ended_at is None else run.ended_at - run.created_at,
    }


async def run(page: PageRequest) -> Page:
    """One run: its steps with their times and costs, inputs and output."""
    stored = await _find(page, page.names["id"])
    runs = page.host.runs
    assert runs is not None
    steps = await page.read(lambda: runs.steps(stored.id))
    nano, tokens, calls = await page.read(lambda: runs.spent(stored.id))
    data: JsonObject = {
        "run": _told(page, stored),
        "steps": [step.as_dict() for step in steps],
        "cost_usd": nano / 1e9,
        "tokens": tokens,
        "calls": calls,
        "outermost": list(dict.fromkeys(re.split(r"[.\[]", step.path)[0] for step in steps)),
        "can_change": not page.viewer.is_local and stored.owner == f"{page.viewer.org}/{page.viewer.key}",
    }
    return Page("run.html", "Run", data, {"bars": _bars(stored, steps)})


async def _find(page: PageRequest, id: str) -> StoredRun:
    runs, prefix = page.host.runs, _owner(page)
    found = None if runs is None else await page.read(lambda: runs.find_of(prefix, id))
    if found is None:
        raise DashboardError(404, f"there is no run {id[:60]!r}", kind="not_found")
    return found


def _bars(stored: StoredRun, steps: list[StoredStep]) -> list[Markup]:
    """A step is kept when it ends, with how long it took."""
    end = max([stored.ended_at or 0.0, *(step.at for step in steps), stored.created_at])
    spans = [
        (
            max(step.at - step.seconds - stored.created_at, 0.0),
            step.seconds,
            "draft",
            f"{step.path}, took {formats.seconds(step.seconds)}",
        )
        for step in steps
    ]
    return charts.timeline(spans, max(end - stored.created_at, 1e-6))


async def change_run(page: PageRequest) -> Redirect:
    """Cancels, resumes, replays or deletes a run of the key that is signed in."""
    id, action = page.names["id"], page.form.get("action", "")
    begin = page.form.get("from", "")
    calls: dict[str, tuple[str, str, JsonObject | None]] = {
        "replay": ("POST", f"/v1/runs/{id}/replay", {"from": begin} if begin else {}),
        "cancel": ("POST", f"/v1/runs/{id}/cancel", {}),
        "resume": ("POST", f"/v1/runs/{id}/resume", {}),
        "delete": ("DELETE", f"/v1/runs/{id}", None),
    }
    if action not in calls:
        raise DashboardError(400, f"a run cannot be changed by {action[:40]!r}")
    reply = checked(await page.host.call(page.viewer, *calls[action]))
    if action == "replay":
        return Redirect(link(f"/runs/{reply['id']}"), "This is the new run.")
    said = {"cancel": "The run was asked to end.", "resume": "The run went on.", "delete": "The run is deleted."}
    return Redirect(link("/pipelines") if action == "delete" else link(f"/runs/{id}"), said[action])
