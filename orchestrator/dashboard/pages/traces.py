"""Requests as a list with filters, one as a timeline with its search, and two side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Literal

from orchestrator.dashboard import charts, formats
from orchestrator.dashboard.host import DashboardError
from orchestrator.dashboard.names import account_names
from orchestrator.dashboard.page import Page, PageRequest, Redirect, link
from orchestrator.jsontypes import JsonObject
from orchestrator.search.outline import texts_of
from orchestrator.storage.request_search import ANY, Order, RequestFilter, list_requests
from orchestrator.storage.spans import CALLS, SPANS_PER_PART, clean_span

PAGE = 50
MAX_PAGE = 500
MAX_LINES = 200
MAX_OFFERED = 200
_ID = re.compile(r"[0-9a-f]{32}")
_BEGINNING = re.compile(r"[0-9a-f]{4,32}")
_ORDERS: tuple[Order, ...] = ("newest", "cost", "latency")
_EXACT = ("model", "api", "scope", "error")
_OFFERED: tuple[Literal["model", "key", "team", "org", "api"], ...] = ("model", "key", "team", "org", "api")


async def traces(page: PageRequest) -> Page | Redirect:
    """The list. An exact id is found whatever the range."""
    wanted = page.params.get("q", "").strip().lower()
    if _BEGINNING.fullmatch(wanted):
        await page.host.flush()
        found_ids = await page.read(lambda: page.requests.beginning_with(wanted, page.viewer.org))
        if len(found_ids) == 1 and await page.read(lambda: _seen(page, found_ids[0])) is not None:
            return Redirect(link(f"/traces/{found_ids[0]}"))
    chosen = _filter(page)
    await page.host.flush()
    limit = min(max(int(page.number("limit", PAGE) or PAGE), 1), MAX_PAGE)
    found = await page.read(
        lambda: list_requests(page.requests.database, chosen, limit=limit, cursor=page.params.get("cursor", ""))
    )
    offered = await page.read(lambda: _offered(page))
    data: JsonObject = {
        "range": {"name": page.range.name, "text": str(page.range), **page.range.query},
        "filter": {name: value for name, value in asdict(chosen).items() if value not in (None, False)},
        "traces": [] if wanted else [_outside(page, row) for row in found.rows],
        "next": link("/traces", **{**page.params, "cursor": found.cursor}) if found.cursor and not wanted else None,
        "searched_to": found.searched_to,
        "names": await account_names(page),
    }
    return Page("traces.html", "Traces", data, {"offered": offered, "not_found": wanted, "any": ANY})


def _filter(page: PageRequest) -> RequestFilter:
    """What the address asks for. Raises `DashboardError`."""
    given = page.params
    order = given.get("order") or "newest"
    if order not in _ORDERS:
        raise DashboardError(400, f"there is no order {order[:40]!r}", remedy=f"Choose one of {', '.join(_ORDERS)}")
    exact: dict[str, str] = {name: given[name] for name in _EXACT if given.get(name)}
    if "scope" in exact:
        exact["scope"] = page.viewer.scope_prefix + exact["scope"]
    return replace(
        page.filter(page.range.since, page.range.until),
        model=exact.get("model"),
        api=exact.get("api"),
        scope=exact.get("scope"),
        error=exact.get("error"),
        cached=_is_on(given.get("cached")),
        escalated=_is_on(given.get("escalated")),
        min_usd=page.number("min_usd"),
        min_s=page.number("min_s"),
        order=order,
    )


def _is_on(stated: str | None) -> bool:
    return stated in ("1", "true", "on", "yes")


def _offered(page: PageRequest) -> JsonObject:
    """Values that filters offer: those of the range's sums, so that no list of a million rows is looked through."""
    values = page.requests.rollups.values(page.window(), _OFFERED)
    return {name: some[:MAX_OFFERED] for name, some in values.items()}


def _seen(page: PageRequest, id: str) -> JsonObject | None:
    """A request that the viewer may see; `None` for others' as for one that is not there."""
    found = page.requests.head(page.viewer.bounds.get("org"), id)
    if found is None or any(found[name] != value for name, value in page.viewer.bounds.items()):
        return None
    return found


def _outside(page: PageRequest, row: JsonObject) -> JsonObject:
    return {**row, "scope": row["scope"].removeprefix(page.viewer.scope_prefix)}


async def trace(page: PageRequest) -> Page:
    """One request: what was recalled, weighed, drafted, verified and believed, with the price of each step."""
    data = await _whole(page, page.names["id"], int(page.number("part", 0) or 0))
    return Page("trace.html", "Trace", data, {**_drawn(data), "one": data, "names": await account_names(page)})


async def compare(page: PageRequest) -> Page:
    """Two requests side by side: `a` and `b`, or two that were picked from the list."""
    picked = [id for id in page.params.get("pick", "").split(",") if id]
    ids = [page.params.get(name, "").strip().lower() for name in ("a", "b")]
    if len(picked) >= 2:
        ids = picked[:2]
    elif picked:
        ids = [picked[0], ""]
    if not all(ids):
        return Page("compare.html", "Compare", {"traces": []}, {"drawn": [], "ids": ids, "names": {}})
    both = [await _whole(page, id, 0) for id in ids]
    extra = {"drawn": [_drawn(one) for one in both], "ids": ids, "names": await account_names(page)}
    return Page("compare.html", "Compare", {"traces": both}, extra)


async def _whole(page: PageRequest, id: str, part: int) -> JsonObject:
    await page.host.flush()
    head = await page.read(lambda: _seen(page, id)) if _ID.fullmatch(id) else None
    if head is None:
        remedy = "It may be too old to be kept, or of another key"
        if page.viewer.is_local:
            remedy = "orchestrator top lists the newest"
        raise DashboardError(404, f"there is no trace {id[:40]!r}", remedy=remedy, kind="not_found")

    def read() -> JsonObject:
        content = page.requests.content(id)
        rounds = page.requests.rounds(id)
        return {
            **_outside(page, head),
            "steps": [clean_span(span) for span in page.requests.steps(head, part)],
            "part": part,
            "part_count": max(-(-head["spans"] // SPANS_PER_PART), 1),
            "rounds": _with_texts(rounds, content),
            "question": None if content is None else content.get("question"),
            "answer": None if content is None else content.get("answer"),
            "can_replay": content is not None and "search" in content,
            "keeps_content": page.host.keeps_content,
        }

    shown: JsonObject = page.host.shown_to(page.viewer, await page.read(read))
    return shown


def _with_texts(rounds: list[JsonObject], content: JsonObject | None) -> list[JsonObject]:
    """The rounds, with what each candidate said where that is kept."""
    if content is None or "search" not in content:
        return rounds
    try:
        texts = texts_of(content["search"])
    except ValueError:  # redacted into something that is no recording any more
        return rounds
    for each in rounds:
        for candidate in (*each["candidates"], *each["judged"]):
            number = candidate["number"]
            candidate["text"] = texts[number] if number < len(texts) else ""
            if candidate["revises"] is not None and candidate["revises"] < len(texts):
                candidate["diff"] = _difference(texts[candidate["revises"]], candidate["text"])
    return rounds


def _difference(before: str, after: str) -> list[tuple[str, str]]:
    """(sign, line) of what a revision changed."""
    from difflib import unified_diff

    told = unified_diff(before.splitlines()[:MAX_LINES], after.splitlines()[:MAX_LINES], lineterm="", n=3)
    return [(line[0], line[1:]) for line in list(told)[2:] if line[0] in "+- "]


def _drawn(data: JsonObject) -> JsonObject:
    """What only people need: the timeline, and the share of each step in the cost."""
    steps: Sequence[JsonObject] = data["steps"]
    ends = [step["start_s"] + step["duration_s"] for step in steps]
    total = max(data["latency_s"], *ends, 1e-6) if ends else data["latency_s"]
    bars = charts.timeline([(s["start_s"], s["duration_s"], s["name"], _told(s)) for s in steps], total)
    route = next((s for s in steps if s["name"] == "route"), None)
    options = [] if route is None else route.get("attributes", {}).get("options", [])
    recalled = next((s.get("attributes", {}) for s in steps if s["name"] == "recall"), None)
    return {"bars": bars, "options": options, "recalled": recalled, "calls": CALLS}


def _told(step: JsonObject) -> str:
    what = step.get("attributes", {}).get("model") or step.get("attributes", {}).get("verifier") or ""
    return f"{step['name']} {what} from {formats.seconds(step['start_s'])}, took {formats.seconds(step['duration_s'])}"


async def replay(page: PageRequest) -> Page:
    """The search again, on what its calls brought then: does the strategy of today decide the same?"""
    from orchestrator.search.recording import Diverged, Recording, replayed
    from orchestrator.search.strategies.adaptive import adaptive

    id = page.names["id"]
    head = await page.read(lambda: _seen(page, id))
    content = None if head is None else await page.read(lambda: page.requests.content(id))
    if content is None or "search" not in content:
        remedy = "Keep texts with traces: {content: true} in the configuration"
        raise DashboardError(404, "the search of this trace is not kept", remedy=remedy, kind="not_found")

    def again() -> JsonObject:
        try:
            state, stopped = replayed(Recording.from_dict(content["search"]), adaptive)
        except Diverged as error:
            return {"same": False, "message": error.message}
        except ValueError as error:
            return {"same": False, "message": f"the search cannot be read: {error}"}
        leader = None if state.leader is None else state.candidates[state.leader]
        return {
            "same": True,
            "stopped": stopped,
            "confidence": state.confidence,
            "model": None if leader is None else leader.model,
            "answer": None if leader is None else leader.text,
        }

    return Page("replay.html", "Replay", {"id": id, **await page.read(again)})
