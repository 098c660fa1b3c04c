"""The stretch of time that a page is about, as its address states it, and how moments are shown.

Moments are shown in UTC and say so; the page's script adds the reader's own zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.dashboard.host import DashboardError

RANGES = {"1h": 3_600.0, "24h": 86_400.0, "7d": 7 * 86_400.0, "30d": 30 * 86_400.0, "90d": 90 * 86_400.0}
DEFAULT_RANGE = "7d"
MAX_DAYS = 400
LATEST = 32_503_680_000.0  # the year 3000
_NUMBER = re.compile(r"\d{9,11}(\.\d+)?")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `since` until `until`, seconds since 1970. `name` is one of `RANGES`, or "" for a stated one."""

    since: float
    until: float
    name: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The parameters of an address that state it."""
        return {"range": self.name} if self.name else {"since": f"{self.since:.0f}", "until": f"{self.until:.0f}"}

    def __str__(self) -> str:
        if self.name:
            return f"last {self.name.replace('h', ' hours').replace('d', ' days').replace('1 hours', 'hour')}"
        return f"{shown_time(self.since)} to {shown_time(self.until)}"


def read_range(params: dict[str, str], now: float) -> TimeRange:
    """The range that an address states: `range=24h`, or `since` and `until`.

    Those are seconds since 1970 or ISO 8601; without a zone they are UTC. Raises `DashboardError` (400).
    """
    if params.get("since") or params.get("until"):
        until = read_moment(params["until"], "until") if params.get("until") else now + 1
        since = read_moment(params["since"], "since") if params.get("since") else until - RANGES[DEFAULT_RANGE]
        if since >= until:
            raise DashboardError(400, "the range ends before it begins", remedy="since must lie before until")
        if until - since > MAX_DAYS * 86_400:
            raise DashboardError(400, f"a range holds at most {MAX_DAYS} days", remedy="Move since nearer to until")
        return TimeRange(since, until)
    name = params.get("range") or DEFAULT_RANGE
    if name not in RANGES:
        raise DashboardError(400, f"there is no range {name[:40]!r}", remedy=f"Choose one of {', '.join(RANGES)}")
    return TimeRange(now - RANGES[name], now + 1, name)


def read_moment(stated: str, name: str) -> float:
    """Seconds since 1970 of what somebody wrote. Raises `DashboardError` (400)."""
    if _NUMBER.fullmatch(stated):
        return float(stated)
    for written in (stated, stated.replace(" ", "+")):  # an address turns the sign of a zone into a space
        try:
            moment = datetime.fromisoformat(written)
            found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            if 0 <= found < LATEST:
                return found
        except (ValueError, OverflowError):
            continue
    raise DashboardError(
        400, f"{name} is no moment: {stated[:60]!r}", remedy="Write 2026-11-28T09:30+01:00, or seconds since 1970"
    )


def shown_time(moment: float | None) -> str:
    """A moment for people, to the second, in UTC."""
    return "never" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_time(moment: float) -> str:
    """A moment for programs: ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
