"""What is remembered, by scope: search with reasons, the history of a fact, forgetting with a receipt."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.page import Page, PageRequest, checked, link
from orchestrator.jsontypes import JsonObject

PAGE = 50
_ID = re.compile(r"[0-9]{1,15}", re.ASCII)
BUDGET_TOKENS = 1_000
MAX_HISTORY = 50


def has_memory(host: DashboardHost) -> bool:
    """Whether there is a memory to show."""
    return host.engine is not None and host.engine.memory is not None


async def memory(page: PageRequest) -> Page:
    """The scopes; of one of them its records, what a search finds, or one record with its history."""
    scopes = await _scopes(page)
    scope = page.params.get("scope") or (scopes[0]["scope"] if scopes else "default")
    query, wanted = page.params.get("q", "").strip(), page.params.get("id", "")
    data: JsonObject = {"scopes": scopes, "scope": scope, "query": query, "records": [], "next": None}
    data |= {"found": None, "record": None, "summaries": []}
    if _ID.fullmatch(wanted):
        data["record"] = await _record(page, scope, int(wanted))
    elif query:
        body = {"query": query, "scope": scope, "token_budget": BUDGET_TOKENS}
        data["found"] = checked(await page.host.call(page.viewer, "POST", "/v1/memories/search", body))
    elif scopes:
        after = page.params.get("after", "0")
        asked = urlencode({"scope": scope, "limit": PAGE, "after": after if _ID.fullmatch(after) else "0"})
        listed = checked(await page.host.call(page.viewer, "GET", f"/v1/memories?{asked}"))
        data["records"] = listed["data"]
        if listed["has_more"]:
            data["next"] = link("/memory", scope=scope, after=listed["data"][-1]["id"])
        data["summaries"] = await _summaries(page, scope)
    return Page("memory.html", "Memory", data)


async def _scopes(page: PageRequest) -> list[JsonObject]:
    """The scopes that the viewer may see, with how much they hold."""
    engine, prefix = page.host.engine, page.viewer.scope_prefix
    if engine is None or engine.memory is None:
        return []
    kept = engine.memory

    def read() -> list[JsonObject]:
        names = [name for name in kept.scopes() if name.startswith(prefix)]
        shown = [name for name in names if page.viewer.may_touch(name.removeprefix(prefix))]
        return [{"scope": name.removeprefix(prefix), "records": kept.count(name)} for name in shown[:1_000]]

    return await page.read(read)


async def _summaries(page: PageRequest, scope: str) -> list[JsonObject]:
    """Summaries of a scope that the API has just shown to this viewer."""
    engine = page.host.engine
    if engine is None or engine.memory is None:
        return []
    kept, whole = engine.memory, page.viewer.scope_prefix + scope
    found = await page.read(lambda: kept.summaries(whole))
    return [
        {"level": each.level, "session": each.session, "text": each.text, "made_by": each.made_by} for each in found
    ]


async def _record(page: PageRequest, scope: str, id: int) -> JsonObject:
    """One record, with those that it replaced and those that replaced it."""
    asked = urlencode({"scope": scope})

    async def one(number: int) -> JsonObject:
        return checked(await page.host.call(page.viewer, "GET", f"/v1/memories/{number}?{asked}"))

    record = await one(id)
    later: list[JsonObject] = []
    following = record
    while following["superseded_by"] is not None and len(later) < MAX_HISTORY:
        following = await one(following["superseded_by"])
        later.append(following)
    engine = page.host.engine
    assert engine is not None
    assert engine.memory is not None
    kept, whole = engine.memory, page.viewer.scope_prefix + scope

    def before() -> list[int]:
        found: list[int] = []
        of = id
        replaced = {each.superseded_by: each.id for each in kept.export(whole) if each.superseded_by is not None}
        while of in replaced and len(found) < MAX_HISTORY:
            of = replaced[of]
            found.append(of)
        return found

    earlier = [await one(number) for number in await page.read(before)]
    return {**record, "later": later, "earlier": earlier}


async def forget(page: PageRequest) -> Page:
    """Forgets one record, or a whole scope; the page is the receipt."""
    scope, id = page.form.get("scope", ""), page.form.get("id", "")
    asked = urlencode({"scope": scope})
    if not scope or ("id" in page.form) == (page.form.get("whole") == "1"):
        raise DashboardError(400, "name a scope, and either a record or the whole of it")
    if "id" in page.form and not _ID.fullmatch(id):
        raise DashboardError(400, f"{id[:40]!r} is no record")
    path = f"/v1/memories/{id}?{asked}" if "id" in page.form else f"/v1/memories?{asked}"
    receipt = checked(await page.host.call(page.viewer, "DELETE", path))
    told = {"receipt": receipt, "scope": scope, "at": page.now, "by": page.viewer.name}
    return Page("forgotten.html", "Forgotten", told)
