"""Lists of requests: filtered, newest, dearest or slowest first, a page at a time.

A page looks at `MAX_SCANNED` rows at most and says how far it came, so that no combination of filters can take long,
however many requests there are. Pages go on from the last row of the one before (keyset pagination), never from a
count of rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import orjson

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database, SqlValue
from orchestrator.storage.requests import LIST, described
from orchestrator.storage.rollups import NOBODY

MAX_SCANNED = 20_000
MAX_WALKED = 4_000
"""The same where the rows lie far apart."""
RARE = 1_000
"""Rows that satisfy a limit of money or time are sorted where they are so few."""
Order = Literal["newest", "cost", "latency"]
_ORDERS = {"newest": "at", "cost": "cost_nano", "latency": "latency_s"}
_EXACT = ("key", "scope", "model", "team", "api")
_INDEXED = ("key", "scope", "model")
ANY = "any"


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests are listed; what is left out does not matter.

    Args:
        since: Seconds since 1970; requests that began before are left out.
        until: Seconds since 1970; requests that began then or later are left out.
        org: Of one organisation (`None`: of all).
        team: Of a team.
        key: Of a key, by its id.
        model: Answered by this model.
        api: Through this API: `chat`, `messages`, `answer`.
        scope: Of this memory scope, with the tenant's wall.
        error: A code, or `any` for whatever failed.
        cached: Only those that were answered from the cache.
        escalated: Only those for which more than one model wrote.
        min_usd: At least so dear.
        min_s: At least so slow.
        order: What comes first.
    """

    since: float
    until: float
    org: str | None = None
    team: str | None = None
    key: str | None = None
    model: str | None = None
    api: str | None = None
    scope: str | None = None
    error: str | None = None
    cached: bool = False
    escalated: bool = False
    min_usd: float | None = None
    min_s: float | None = None
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Some requests, and where to go on.

    `cursor` is "" at the end. `searched_to` is the moment (seconds since 1970) down to which a page looked that did not
    fill up: there may be more before it.
    """

    rows: list[JsonObject]
    cursor: str
    searched_to: float | None = None


@dataclass(frozen=True, slots=True)
class _Scan:
    """How rows are looked at, by the index that leaves the fewest: which, in which order, and what is left to check."""

    path: str
    values: list[SqlValue]
    order: str
    rest: list[tuple[str, list[SqlValue]]]
    is_walked: bool = False


def list_requests(
    database: Database,
    wanted: RequestFilter,
    *,
    limit: int = 50,
    cursor: str = "",
    max_scanned: int = MAX_SCANNED,
) -> RequestPage:
    """A page of at most `limit` requests, of at most `max_scanned` that are looked at. Blocks.

    Raises `InvalidArgument` on a cursor that no page gave.
    """
    column = _ORDERS[wanted.order]
    scan = _scan(database, wanted, column)
    most = min(max_scanned, MAX_WALKED) if scan.is_walked else max_scanned
    path, values = scan.path, scan.values
    if cursor:
        value, id = _read(cursor)
        path, values = f"{path} AND {column} <= ? AND ({column} < ? OR id < ?)", [*values, value, value, id]
    scanned = f"FROM requests WHERE {path} ORDER BY {scan.order} DESC, id DESC"
    where = " AND ".join(told for told, _ in scan.rest) or "1 = 1"
    # No order of its own: rows come as they are scanned, and the scan ends as soon as the page is full.
    rows = database.read(
        f"SELECT {LIST} FROM (SELECT * {scanned} LIMIT {most}) AS scanned WHERE {where} LIMIT ?",
        *values,
        *(value for _, each in scan.rest for value in each),
        limit + 1,
    )
    found = [described(row) for row in rows[:limit]]
    if len(rows) > limit:
        return RequestPage(found, _write(_value_of(found[-1], wanted.order), found[-1]["id"]))
    last = database.read(f"SELECT {column}, id, at {scanned} LIMIT 1 OFFSET {most - 1}", *values)
    if not last:
        return RequestPage(found, "")
    return RequestPage(found, _write(last[0][0], last[0][1]), float(last[0][2]) if column == "at" else None)


def _scan(database: Database, wanted: RequestFilter, column: str) -> _Scan:
    within, moments = "at >= ? AND at < ?", [wanted.since, wanted.until]
    rest = [*_conditions(wanted)]
    for name, limit in (("cost_nano", _nano(wanted.min_usd)), ("latency_s", wanted.min_s)):
        if limit is not None and _is_few(database, f"{name} >= ?", [limit], RARE):
            is_priced = "" if column == "at" else f" AND {column} IS NOT NULL"
            # The signs keep the database off the index of time, which would look at the whole range.
            return _Scan(f"{name} >= ? AND +at >= ? AND +at < ?{is_priced}", [limit, *moments], f"+{column}", rest)
    chosen: list[tuple[str, list[SqlValue]]] = [
        (f"{name} = ?", [value]) for name in _INDEXED if (value := getattr(wanted, name)) not in (None, NOBODY)
    ]
    if column != "at":
        # Few enough by any index: they are sorted. Else the index of the order is walked, whose rows lie far apart.
        failed: list[tuple[str, list[SqlValue]]] = [("error <> ''", [])] if wanted.error is not None else []
        for condition, given in [("1 = 1", []), *failed, *chosen]:
            if _is_few(database, f"{condition} AND {within}", [*given, *moments], MAX_SCANNED):
                path = f"{condition} AND {column} IS NOT NULL AND {within}"
                return _Scan(path, [*given, *moments], f"+{column}", rest)
        return _Scan(f"{column} IS NOT NULL", [], column, [(within, [*moments]), *rest], is_walked=True)
    if wanted.error is not None:
        return _Scan(f"error <> '' AND {within}", [*moments], column, rest)
    if wanted.org is not None:
        chosen.append(("org = ?", [wanted.org]))
    for condition, given in chosen[:1]:
        return _Scan(f"{condition} AND {within}", [*given, *moments], column, rest)
    return _Scan(within, [*moments], column, rest)


def _is_few(database: Database, where: str, values: list[SqlValue], most: int) -> bool:
    """Whether at most so many rows satisfy a condition; no more of them are counted."""
    counted = f"SELECT 1 AS one FROM requests WHERE {where} LIMIT {most + 1}"
    return int(database.read(f"SELECT count(*) FROM ({counted}) AS few", *values)[0][0]) <= most


def _conditions(wanted: RequestFilter) -> Iterator[tuple[str, list[SqlValue]]]:
    for name in ("org", *_EXACT):
        if (value := getattr(wanted, name)) is not None:
            yield (f"coalesce({name}, '') = ?", [""]) if value == NOBODY else (f"{name} = ?", [value])
    if wanted.error is not None:
        yield ("error <> ''", []) if wanted.error == ANY else ("error = ?", [wanted.error])
    if wanted.cached:
        yield "cached <> ''", []
    if wanted.escalated:
        yield "escalated = 1", []
    if wanted.min_usd is not None:
        yield "cost_nano >= ?", [_nano(wanted.min_usd)]
    if wanted.min_s is not None:
        yield "latency_s >= ?", [wanted.min_s]


def _nano(usd: float | None) -> int | None:
    return None if usd is None else int(usd * 1e9)


def _value_of(row: JsonObject, order: Order) -> float:
    if order == "newest":
        return float(row["at"])
    return round(row["cost_usd"] * 1e9) if order == "cost" else float(row["latency_s"])


def _write(value: float, id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([value, id])).decode().rstrip("=")


def _read(cursor: str) -> tuple[float, str]:
    try:
        value, id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(value), str(id)
    except (ValueError, TypeError, binascii.Error):
        raise InvalidArgument("this is no cursor of a page", remedy="Begin with the first page") from None
