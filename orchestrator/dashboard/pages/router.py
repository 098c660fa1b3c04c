"""What the router does, and what another threshold would have done with the same traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.dashboard import charts, formats
from orchestrator.dashboard.page import Page, PageRequest
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.request_search import list_requests
from orchestrator.storage.spans import clean_span

MAX_REPLAYED = 500
THRESHOLDS = tuple(round(0.5 + step / 100, 2) for step in range(50))
FEWEST = 10
Z = 1.96


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A recorded request: what the router expected of each model (P(correct), USD, seconds), and what came of it.

    `grades` are scores in [0, 1] of the models whose answers were judged.
    """

    id: str
    options: tuple[tuple[str, float, float, float], ...]
    answered_by: str
    grades: dict[str, float]


async def router(page: PageRequest) -> Page:
    """Shares per model, the frontier of accuracy against cost, and a slider over thresholds."""
    await page.host.flush()
    engine = page.host.engine
    routed = await page.read(lambda: _routed(page))
    log = None if engine is None else engine.decisions
    graded = {} if log is None else await page.read(lambda: log.grades([each.id for each in routed]))
    routed = [replace(each, grades=graded.get(each.id, {})) for each in routed]
    replayed = await page.read(lambda: replay_thresholds(routed)) if routed else []
    now = None if engine is None else engine.quality
    chosen = None if now is None else min(range(len(THRESHOLDS)), key=lambda step: abs(THRESHOLDS[step] - now))
    data: JsonObject = {
        "range": {"name": page.range.name, "text": str(page.range)},
        "replayed": len(routed),
        "graded": sum(bool(each.grades) for each in routed),
        "quality": now,
        "thresholds": replayed,
        "models": _alone(routed) if routed else [],
        "chosen": chosen,
    }
    return Page("router.html", "Router", data, {"frontier": _frontier(data) if routed else ""})


def _routed(page: PageRequest) -> list[RoutedRequest]:
    """The newest requests of the range whose route is kept."""
    wanted = page.filter(page.range.since, page.range.until)
    found: list[RoutedRequest] = []
    cursor = ""
    for _ in range(6):
        some = list_requests(page.requests.database, wanted, limit=MAX_REPLAYED, cursor=cursor)
        for row in some.rows:
            if row["spans"] and row["reference_usd"] is not None and not row["error"]:
                spans = map(clean_span, page.requests.spans(row["id"], 0))
                options: list[JsonObject] = next(
                    (s["attributes"]["options"] for s in spans if s["name"] == "route"), []
                )
                usable = tuple(
                    (each["model"], each["p"], each["cost_usd"], each["latency_s"])
                    for each in options
                    if each["cost_usd"] is not None and each["latency_s"] is not None and each["p"] > 0
                )
                if usable:
                    found.append(RoutedRequest(row["id"], usable, row["model"], {}))
        cursor = some.cursor
        if len(found) >= MAX_REPLAYED or not cursor:
            break
    return found[:MAX_REPLAYED]


def replay_thresholds(routed: Sequence[RoutedRequest]) -> list[JsonObject]:
    """What each threshold would have done: the cheapest model whose P(correct) reaches it, else the likeliest.

    `accuracy` is what the router expects (mean P(correct)); `checked` sets the judged answers of the models it would
    have chosen against that: their expected and their true share, with an interval at 95 %.
    """
    names = sorted({option[0] for each in routed for option in each.options})
    places = {name: place for place, name in enumerate(names)}
    p, usd, seconds = (np.full((len(routed), len(names)), np.nan) for _ in range(3))
    score = np.full((len(routed), len(names)), np.nan)
    for row, each in enumerate(routed):
        for name, p_success, cost, latency in each.options:
            place = places[name]
            p[row, place], usd[row, place], seconds[row, place] = p_success, cost, latency
        for name, grade in each.grades.items():
            if name in places:
                score[row, places[name]] = grade
    rows = np.arange(len(routed))
    answered = np.array([places.get(each.answered_by, -1) for each in routed])
    found = []
    for threshold in THRESHOLDS:
        adequate = np.where(p >= threshold, usd, np.inf)
        adequate = np.where(np.isnan(p), np.inf, adequate)
        is_reached = np.isfinite(adequate.min(axis=1))
        choice = np.where(is_reached, adequate.argmin(axis=1), np.nan_to_num(p, nan=-1.0).argmax(axis=1))
        shares = np.bincount(choice, minlength=len(names)) / len(routed)
        found.append(
            {
                "threshold": threshold,
                "accuracy": float(p[rows, choice].mean()),
                "usd": float(usd[rows, choice].mean()),
                "latency_s": float(seconds[rows, choice].mean()),
                "reached": float(is_reached.mean()),
                "shares": {name: float(share) for name, share in zip(names, shares, strict=True) if share > 0},
                "changed": float((choice != answered).mean()),
                "checked": _checked(p[rows, choice], score[rows, choice]),
            }
        )
    return found


def _checked(expected: NDArray[np.float64], scores: NDArray[np.float64]) -> JsonObject | None:
    known = ~np.isnan(scores)
    if known.sum() < FEWEST:
        return None
    right = scores[known]
    half = Z * float(right.std(ddof=1)) / len(right) ** 0.5
    return {
        "n": int(known.sum()),
        "expected": float(expected[known].mean()),
        "right": float(right.mean()),
        "low": max(float(right.mean()) - half, 0.0),
        "high": min(float(right.mean()) + half, 1.0),
    }


def _alone(routed: Sequence[RoutedRequest]) -> list[JsonObject]:
    """What each model alone would have done with the same requests, as far as it may be asked, and its share now."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for each in routed:
        for name, p, usd, seconds in each.options:
            found.setdefault(name, []).append((p, usd, seconds))
    return [
        {
            "model": name,
            "accuracy": sum(p for p, *_ in some) / len(some),
            "usd": sum(usd for _, usd, _ in some) / len(some),
            "latency_s": sum(seconds for *_, seconds in some) / len(some),
            "share": sum(each.answered_by == name for each in routed) / len(routed),
        }
        for name, some in sorted(found.items())
    ]


def _frontier(data: JsonObject) -> object:
    curve = [
        (each["usd"], each["accuracy"], f"threshold {each['threshold']:.2f}: {formats.usd(each['usd'])} a request")
        for each in data["thresholds"]
    ]
    points = [(each["usd"], each["accuracy"], each["model"]) for each in data["models"]]
    return charts.frontier("Expected accuracy against cost a request", curve, points, data["chosen"])
