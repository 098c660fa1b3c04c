"""May the stated confidence be trusted: what was right by feedback and checks, promises and their audits, agreement."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

from orchestrator.dashboard import charts
from orchestrator.dashboard.page import Page, PageRequest
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.decision_log import DecisionLog, JudgedAnswer
from orchestrator.storage.rollups import DAY_S

BINS = 10
MAX_JUDGED = 50_000
MAX_DECISIONS = 5_000
FEWEST = 5


async def quality(page: PageRequest) -> Page:
    """A reliability diagram of the range, the gap over time, agreement of drafts, and the promise with its audits."""
    engine = page.host.engine
    log = None if engine is None else engine.decisions
    data: JsonObject = {"range": {"name": page.range.name, "text": str(page.range)}, "keeps_decisions": log is not None}
    data |= {"judged": 0, "bins": [], "weeks": [], "sources": {}, "models": [], "agreement": None, "promise": None}
    drawn: JsonObject = {}
    if log is not None:
        judged = await page.read(lambda: _judged(page, log))
        data |= await page.read(lambda: _calibration(judged))
        data["agreement"] = await page.read(lambda: _agreement(page, log))
        if data["bins"]:
            points = [(each["stated"], each["right"], each["n"]) for each in data["bins"]]
            drawn["reliability"] = charts.reliability("Stated confidence against the share that was right", points)
        if len(data["weeks"]) > 1:
            gaps = [("stated minus right", [abs(each["gap"]) for each in data["weeks"]])]
            names = [each["week"] for each in data["weeks"]]
            drawn["gap"] = charts.lines("Distance of confidence from the truth each week", names, gaps)
    guard = None if engine is None else engine.guarantee
    if guard is not None and page.viewer.is_at_least("organisation"):
        data["promise"] = {
            **asdict(guard.certificate),
            "state": guard.state,
            "threshold_now": guard.threshold,
            "audits": guard.audit.audits,
            "mean_loss": guard.audit.total_loss / guard.audit.audits if guard.audit.audits else None,
            "e_value": guard.audit.e_value,
            "alarm_at": 1 / guard.audit.alpha,
        }
    return Page("quality.html", "Quality", data, {"charts": drawn})


def _judged(page: PageRequest, log: DecisionLog) -> list[JudgedAnswer]:
    """The judged answers that the viewer may see."""
    found = log.judged(page.range.since, page.viewer.scope_prefix, limit=MAX_JUDGED)
    seen = _seen(page, [each.id for each in found])
    return [each for each in found if seen is None or each.id in seen]


def _seen(page: PageRequest, ids: Sequence[str]) -> set[str] | None:
    """Those that the viewer may see; `None` where the wall of the organisation is enough."""
    if page.viewer.is_at_least("organisation"):
        return None
    return page.requests.among(ids, page.viewer.bounds)


def _calibration(judged: Sequence[JudgedAnswer]) -> JsonObject:
    """ECE, Brier score, bins of stated confidence, the gap by week, and each model's share of right answers."""
    if not judged:
        return {}
    by_bin: dict[int, list[JudgedAnswer]] = defaultdict(list)
    by_week: dict[int, list[JudgedAnswer]] = defaultdict(list)
    by_model: dict[str, list[JudgedAnswer]] = defaultdict(list)
    sources: dict[str, int] = defaultdict(int)
    for one in judged:
        by_bin[min(int(one.confidence * BINS), BINS - 1)].append(one)
        by_week[int(one.at // (7 * DAY_S))].append(one)
        by_model[one.model].append(one)
        sources[one.source] += 1
    bins = [_bin(some) for _, some in sorted(by_bin.items())]
    return {
        "judged": len(judged),
        "ece": sum(each["n"] * abs(each["stated"] - each["right"]) for each in bins) / len(judged),
        "brier": statistics.fmean((one.confidence - one.score) ** 2 for one in judged),
        "bins": bins,
        "weeks": [
            {"week": _week(week), "gap": (told := _bin(some))["stated"] - told["right"], "n": told["n"]}
            for week, some in sorted(by_week.items())
            if len(some) >= FEWEST
        ],
        "sources": dict(sources),
        "models": [{"model": name, **_bin(some)} for name, some in sorted(by_model.items())],
    }


def _bin(some: Sequence[JudgedAnswer]) -> JsonObject:
    return {
        "stated": statistics.fmean(one.confidence for one in some),
        "right": statistics.fmean(one.score for one in some),
        "n": len(some),
    }


def _week(number: int) -> str:
    return time.strftime("%d %b", time.gmtime(number * 7 * DAY_S))


def _agreement(page: PageRequest, log: DecisionLog) -> JsonObject | None:
    """How often drafts of different models said the same, where they can be compared; `None` where none can."""
    compared = agreed = 0
    prefix = page.viewer.scope_prefix
    recent = [
        each for each in log.recent(MAX_DECISIONS) if each.at >= page.range.since and each.scope.startswith(prefix)
    ]
    seen = _seen(page, [each.id for each in recent])
    for decision in recent:
        if seen is not None and decision.id not in seen:
            continue
        keys = {draft.model: draft.key for draft in decision.drafts if draft.is_comparable and not draft.is_revision}
        if len(keys) > 1:
            compared += 1
            agreed += len(set(keys.values())) == 1
    return {"compared": compared, "agreed": agreed} if compared else None
