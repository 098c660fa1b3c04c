"""Requests as they run, and as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

import orjson

from orchestrator.dashboard.names import account_names
from orchestrator.dashboard.page import Page, PageRequest
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.request_search import list_requests

EVERY_S = 1.0
MAX_S = 1_800.0
SHOWN = 50
_FIELDS = ("id", "at", "key", "model", "asked", "api", "error", "cached", "escalated", "cost_usd", "latency_s")


async def live(page: PageRequest) -> Page:
    """What runs at this moment, and what has just ended; the page's script keeps it up to date."""
    return Page("live.html", "Live", await _now(page, page.host.clock() - 3_600.0))


async def events(page: PageRequest) -> AsyncIterator[bytes]:
    """The same again and again, as server-sent events; a browser comes back by itself when it ends."""
    return _told(page)


async def _told(page: PageRequest) -> AsyncIterator[bytes]:
    began = page.host.clock()
    since = began - 5.0
    yield b"retry: 2000\n\n"
    while page.host.clock() - began < MAX_S:
        state = await _now(page, since)
        yield b"data: " + orjson.dumps(state) + b"\n\n"
        await asyncio.sleep(EVERY_S)
        since = max(since, page.host.clock() - 60.0)


async def _now(page: PageRequest, since: float) -> JsonObject:
    await page.host.flush()
    bounds, now = page.viewer.bounds, page.host.clock()
    running = [
        asdict(each) | {"seconds": round(now - each.at, 1)}
        for each in page.host.running()
        if all(getattr(each, name) == value for name, value in bounds.items())
    ]
    wanted = page.filter(since, now + 1)
    ended = await page.read(lambda: list_requests(page.requests.database, wanted, limit=SHOWN))
    return {
        "running": running,
        "ended": [{name: row[name] for name in _FIELDS} for row in ended.rows],
        "names": await account_names(page),
    }
