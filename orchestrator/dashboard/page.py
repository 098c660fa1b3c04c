"""One request for a page, and the page: a template with its data, which are the JSON form of the same address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from urllib.parse import urlencode

from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.times import TimeRange, read_range
from orchestrator.dashboard.viewer import Role, Viewer
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.storage.request_search import RequestFilter
from orchestrator.storage.requests import Requests
from orchestrator.storage.rollups import RollupWindow

T = TypeVar("T")
BASE = "/ui"
MOST = 1e9
"""Of a number in an address: dollars, seconds, rows."""


@dataclass(frozen=True)
class PageRequest:
    """What a page is made for.

    Args:
        host: The program behind the pages.
        viewer: Who looks.
        params: The parameters of the address.
        names: What stands in the path in place of names in braces.
        form: What was filled in, for pages that change something.
        wants_json: Whether a program asks.
    """

    host: DashboardHost
    viewer: Viewer
    params: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    wants_json: bool = False

    @cached_property
    def now(self) -> float:
        """This moment, in seconds since 1970; the same for all of a page."""
        return self.host.clock()

    @cached_property
    def range(self) -> TimeRange:
        """The stretch of time that the page is about. Raises `DashboardError`."""
        return read_range(dict(self.params), self.now)

    @property
    def requests(self) -> Requests:
        """What was served."""
        return self.host.requests

    async def read(self, work: Callable[[], T]) -> T:
        """Reads in a thread: nothing here keeps the event loop waiting."""
        return await asyncio.to_thread(work)

    def bounds(self) -> dict[str, str]:
        """Columns of requests with their values: what the viewer may see, within it what the address asks for.

        Raises `DashboardError` (403) where the address asks for more.
        """
        found = dict(self.viewer.bounds)
        for name in ("org", "team", "key"):
            wanted = self.params.get(name)
            if wanted and found.get(name, wanted) != wanted:
                raise DashboardError(403, f"this is of another {name}", remedy="Ask for your own", kind="forbidden")
            if wanted:
                found[name] = wanted
        return found

    def filter(self, since: float, until: float) -> RequestFilter:
        """The requests of a stretch of time that this page is about. Raises `DashboardError`."""
        only = self.bounds()
        return RequestFilter(since, until, only.get("org"), only.get("team"), only.get("key"))

    def window(self) -> RollupWindow:
        """What is summed up for this page. Raises `DashboardError`."""
        only = self.bounds()
        return RollupWindow(self.range.since, self.range.until, only.get("org"), only.get("team"), only.get("key"))

    def number(self, name: str, otherwise: float | None = None) -> float | None:
        """A parameter that is a number of at least 0. Raises `DashboardError` (400)."""
        stated = self.params.get(name, "").strip()
        if not stated:
            return otherwise
        try:
            value = float(stated)
        except ValueError:
            value = -1.0
        if not 0 <= value < MOST:
            raise DashboardError(400, f"{name} must be a number of at least 0, not {stated[:40]!r}")
        return value


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its template, its title, its data (JSON values alone), and what only the template needs."""

    template: str
    title: str
    data: JsonObject
    extra: JsonMapping = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """To another address, after something was changed; `said` is shown there."""

    to: str
    said: str = ""


Handler = Callable[[PageRequest], Awaitable[Page | Redirect | AsyncIterator[bytes]]]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """Where a page is.

    Args:
        path: Below `/ui`; names in braces stand for one segment.
        handler: Makes it.
        title: How the navigation calls it; "" keeps it out of there.
        role: Who may see it: this role and those that see more.
        permission: What the key must be allowed to do, if anything.
        method: GET, or POST for what changes something.
        is_served: Whether a host has this page at all.
    """

    path: str
    handler: Handler
    title: str = ""
    role: Role = "member"
    permission: str | None = None
    method: str = "GET"
    is_served: Callable[[DashboardHost], bool] = lambda host: True

    def allows(self, viewer: Viewer) -> bool:
        """Whether the viewer may see it."""
        return viewer.is_at_least(self.role) and (self.permission is None or viewer.may(self.permission))


def link(path: str, **params: object) -> str:
    """The address of a page; parameters that are `None` or "" are left out."""
    query = urlencode({name: value for name, value in params.items() if value not in (None, "")})
    return f"{BASE}{path}{'?' if query else ''}{query}"


def checked(reply: tuple[int, JsonObject]) -> JsonObject:
    """What the API answered. Raises `DashboardError` with its message where it refused."""
    status, value = reply
    if status >= 400:
        error = value.get("error", {}) if isinstance(value, dict) else {}
        told = error.get("message") or f"the gateway answered {status}"
        raise DashboardError(status, str(told), kind=str(error.get("code") or "refused"))
    return value
