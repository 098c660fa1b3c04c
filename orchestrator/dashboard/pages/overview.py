"""Who spends what, is it healthy, and what does routing save: the first page."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orchestrator.dashboard import charts, formats
from orchestrator.dashboard.host import BudgetState
from orchestrator.dashboard.names import account_names
from orchestrator.dashboard.page import Page, PageRequest, link
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.rollups import DAY_S, Dimension, RollupWindow

MAX_ROWS = 12
MAX_SERIES = 5
OTHERS = "others"
FIRST_BARS = 48


async def overview(page: PageRequest) -> Page:
    """Requests, money, times, errors, caches, and the budgets."""
    await page.host.flush()
    window = page.window()
    names = await account_names(page)
    data = await page.read(lambda: _summed(page, window))
    budgets = [_with_forecast(each, page.now) for each in await page.host.budgets(page.viewer)]
    newest = None if data["total"] is not None else await page.read(lambda: _newest(page))
    told: JsonObject = {
        "range": {"since": window.start, "until": window.until, "name": page.range.name, "text": str(page.range)},
        **data,
        "budgets": budgets,
        "names": names,
        "newest_at": newest,
    }
    return Page("overview.html", "Overview", told, {"charts": _charts(data, window), "bars": charts.bar})


def _summed(page: PageRequest, window: RollupWindow) -> JsonObject:
    rollups = page.requests.rollups
    dimensions: list[Dimension] = ["model", "key", "team", "api"]
    if page.viewer.role == "operator":
        dimensions.insert(0, "org")
    total, *each = rollups.sums_by(window, [(), *((name,) for name in dimensions)])
    latency, latency_over_time = rollups.percentiles_by(window, "latency", "start")
    by = {name: _dearest(rows) for name, rows in zip(dimensions, each, strict=True) if total}
    return {
        "total": total[0] if total else None,
        "by": by,
        "over_time": rollups.over_time(window),
        "latency": latency,
        "ttft": rollups.percentiles(window, "ttft"),
        "latency_over_time": {str(start): told for start, told in latency_over_time.items()},
        "span_s": window.span_s,
    }


def _dearest(rows: Sequence[JsonObject]) -> list[JsonObject]:
    return sorted(rows, key=lambda row: (-row["cost_usd"], -row["requests"]))[:MAX_ROWS]


def _newest(page: PageRequest) -> float | None:
    """When the newest request was that the viewer may see; `None` where there is none at all."""
    only = page.bounds()
    where = " AND ".join(f"{name} = ?" for name in only) or "1 = 1"
    rows = page.requests.database.read(f"SELECT max(at) FROM requests WHERE {where}", *only.values())
    return None if rows[0][0] is None else float(rows[0][0])


def _with_forecast(budget: BudgetState, now: float) -> JsonObject:
    """A budget, with what will be spent at its end if it goes on as it did since its beginning."""
    used = budget.spent_usd / budget.limit_usd if budget.limit_usd else 1.0
    forecast = None
    if budget.began_at is not None and budget.ends_at is not None and now - budget.began_at > 60:
        forecast = budget.spent_usd * (budget.ends_at - budget.began_at) / (now - budget.began_at)
    return {
        "of": budget.of,
        "subject": budget.subject,
        "name": budget.name,
        "period": budget.period,
        "limit_usd": budget.limit_usd,
        "spent_usd": budget.spent_usd,
        "used": used,
        "forecast_usd": forecast,
        "forecast_used": None if forecast is None or not budget.limit_usd else forecast / budget.limit_usd,
        "ends_at": budget.ends_at,
    }


def _charts(data: JsonObject, window: RollupWindow) -> JsonObject:
    starts = list(range(window.start, int(window.until), window.span_s))
    if not data["total"]:
        return {}
    shown = [_short_time(start, window.span_s) for start in starts]
    drill = [link("/traces", since=start, until=start + window.span_s, order="cost") for start in starts]
    models = [row["model"] for row in data["by"]["model"]][:MAX_SERIES]
    spent = {(row["start"], row["model"]): row for row in data["over_time"]}

    def series(field: str) -> list[tuple[str, list[float]]]:
        found = [(name or "none", [spent.get((at, name), {}).get(field, 0.0) for at in starts]) for name in models]
        others = dict.fromkeys(starts, 0.0)
        for (at, name), row in spent.items():
            if name not in models and at in others:
                others[at] += row[field]
        rest = [others[at] for at in starts]
        return [*found, (OTHERS, rest)] if any(rest) else found

    times = data["latency_over_time"]
    lines = [(name, [times.get(str(at), {}).get(name) for at in starts]) for name in ("p50", "p95", "p99")]
    every = "hour" if window.span_s < DAY_S else "day"
    return {
        "legend": [name for name, _ in series("cost_usd")],
        "spend": charts.stacked_bars(
            f"Money spent each {every} by model", shown, series("cost_usd"), shown=formats.usd, links=drill
        ),
        "requests": charts.stacked_bars(f"Requests each {every} by model", shown, series("requests"), links=drill),
        "latency": charts.lines(f"Latency each {every}", shown, lines, shown=formats.seconds),
    }


def _short_time(moment: float, span_s: int) -> str:
    return time.strftime("%d %b %H:%M" if span_s < DAY_S else "%d %b", time.gmtime(moment))
