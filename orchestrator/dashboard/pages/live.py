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
MAX_S = 15.0
"""A stream ends after so long and the browser comes again: an open page keeps no gateway from ending."""
LOOK_BACK_S = 900.0
"""Requests that took longer are not told when they end; the list of traces has them."""
OVERLAP_S = 20.0
"""What ended so long ago is told again, so that nothing is missed between two streams."""
SHOWN = 50
_FIELDS = ("id", "at", "key", "model", "asked", "api", "error", "cached", "escalated", "cost_usd", "latency_s")


async def live(page: PageRequest) -> Page:
    """What runs at this moment, and what has just ended; the page's script keeps it up to date."""
    names = await account_names(page)
    return Page("live.html", "Live", await _now(page, page.host.clock() - 3_600.0, names))


async def events(page: PageRequest) -> AsyncIterator[bytes]:
    """The same again and again, as server-sent events; a browser comes back by itself when it ends."""
    return _told(page)


async def _told(page: PageRequest) -> AsyncIterator[bytes]:
    began = page.host.clock()
    names = await account_names(page)
    yield b"retry: 500\n\n"
    while page.host.clock() - began < MAX_S:
        told = await _now(page, page.host.clock() - OVERLAP_S, names)
        yield b"data: " + orjson.dumps(told) + b"\n\n"
        await asyncio.sleep(EVERY_S)
        if not page.viewer.is_local and await page.host.viewer_of(page.viewer.key) is None:
            return  # the key was revoked meanwhile


async def _now(page: PageRequest, since: float, names: dict[str, str]) -> JsonObject:
    """What runs, and what ended since a moment, with the names of the keys in it."""
    await page.host.flush()
    bounds, now = page.viewer.bounds, page.host.clock()
    running = [
        asdict(each) | {"seconds": round(now - each.at, 1)}
        for each in page.host.running()
        if all(getattr(each, name) == value for name, value in bounds.items())
    ]
    wanted = page.filter(since - LOOK_BACK_S, now + 1)
    listed = await page.read(lambda: list_requests(page.requests.database, wanted, limit=4 * SHOWN))
    ended = [row for row in listed.rows if row["at"] + row["latency_s"] >= since]
    ended.sort(key=lambda row: -(row["at"] + row["latency_s"]))
    keys = {str(row["key"]) for row in (*running, *ended)}
    return {
        "running": running,
        "ended": [{name: row[name] for name in _FIELDS} for row in ended[:SHOWN]],
        "names": {key: names[key] for key in keys if key in names},
    }
