"""Sums of what was served, kept as it comes in, so that a page of a month reads some hundred rows and no million.

An hour and a day are summed side by side. Percentiles come from logarithmic bins, which can be added up and are right
within `RELATIVE_ERROR` (DDSketch: Masson, Rim & Lee 2019, VLDB 12(12), section 2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from orchestrator.budget import from_nano
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database, Row, Run, SqlValue

HOUR_S, DAY_S = 3_600, 86_400
RELATIVE_ERROR = 0.05
FINE_DAYS = 3.0
"""Ranges up to so many days are read by the hour, longer ones by the day."""
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
SMALLEST_S = 1e-6
NOBODY = "(none)"
"""Stands for no value: requests without a team, or that no model answered."""
Z = 1.96
Dimension = Literal["org", "team", "key", "model", "api", "start"]
Measure = Literal["latency", "ttft"]
_KEYS = ("span_s", "start", "org", "team", "key", "model", "api")
_SUMS = (
    "requests",
    "errors",
    "cost_nano",
    "unpriced",
    "prefill_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_s",
    "hits",
    "drafts",
    "searched",
    "escalated",
    "compared",
    "saved_nano",
    "saved_squares",
)


def schema(database: Database) -> str:
    """The tables, in the order of their keys where the database can."""
    real = ("latency_s", "saved_squares")
    sums = ", ".join(f"{name} {'DOUBLE PRECISION' if name in real else 'BIGINT'} NOT NULL" for name in _SUMS)
    return f"""
CREATE TABLE rollups (
    span_s BIGINT NOT NULL, start BIGINT NOT NULL, org TEXT NOT NULL, team TEXT NOT NULL, key TEXT NOT NULL,
    model TEXT NOT NULL, api TEXT NOT NULL, {sums},
    PRIMARY KEY ({", ".join(_KEYS)})
){database.clustered};
CREATE TABLE rollup_bins (
    span_s BIGINT NOT NULL, measure TEXT NOT NULL, start BIGINT NOT NULL, org TEXT NOT NULL, model TEXT NOT NULL,
    bin BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (span_s, measure, start, org, model, bin)
){database.clustered}
"""


class Summed(Protocol):
    """What of a served request is summed (see `orchestrator.storage.requests.ServedRequest`)."""

    at: float
    org: str
    team: str | None
    key: str
    api: str
    model: str
    prefill_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_nano: int | None
    latency_s: float
    ttft_s: float | None
    cached: str
    error: str
    drafts: int
    escalated: bool
    reference_nano: int | None


@dataclass(frozen=True, slots=True)
class RollupWindow:
    """What is summed up: from `since` until `until` (seconds since 1970), of one organisation, team or key, or of all.

    Sums are kept by the hour and the day, so that both ends are widened to whole ones.
    """

    since: float
    until: float
    org: str | None = None
    team: str | None = None
    key: str | None = None
    model: str | None = None

    @property
    def span_s(self) -> int:
        """Seconds of each sum that is read."""
        return HOUR_S if self.until - self.since <= FINE_DAYS * DAY_S else DAY_S

    @property
    def start(self) -> int:
        """Where the first sum begins."""
        return int(self.since // self.span_s) * self.span_s

    def where(self) -> tuple[str, list[SqlValue]]:
        """The condition, and its values."""
        only = {name: value for name in ("org", "team", "key", "model") if (value := getattr(self, name)) is not None}
        only = {name: "" if value == NOBODY else value for name, value in only.items()}
        told = "span_s = ? AND start >= ? AND start < ?" + "".join(f" AND {name} = ?" for name in only)
        return told, [self.span_s, self.start, self.until, *only.values()]


def bin_of(seconds: float) -> int:
    """The bin that a duration falls into."""
    return math.ceil(math.log(max(seconds, SMALLEST_S)) / _LOG_GAMMA)


def bin_value(number: int) -> float:
    """The duration in seconds that stands for a bin: none in it is off by more than `RELATIVE_ERROR`."""
    return 2 * _GAMMA**number / (_GAMMA + 1)


def percentile(bins: Mapping[int, int], share: float) -> float | None:
    """The duration (seconds) that `share` of all, in (0, 1], do not exceed; `None` of nothing."""
    wanted = math.ceil(share * sum(bins.values()))
    seen = 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= wanted:
            return bin_value(number)
    return None


def _percentiles(bins: Mapping[int, int]) -> JsonObject:
    return {name: percentile(bins, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def add_up(run: Run, served: Iterable[Summed]) -> None:
    """Adds requests to the sums, within the transaction of `run`."""
    sums, bins = _summed(served)
    grown = ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in _SUMS)
    marks = ", ".join("?" * (len(_KEYS) + len(_SUMS)))
    # In the order of their keys, so that two processes never wait for each other's rows crosswise.
    for keys in sorted(sums):
        run(f"INSERT INTO rollups VALUES ({marks}) ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {grown}",
            *keys, *sums[keys])  # fmt: skip
    upsert = (
        "INSERT INTO rollup_bins VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (span_s, measure, start, org, model, bin) "
        "DO UPDATE SET n = rollup_bins.n + excluded.n"
    )
    for keys in sorted(bins):
        run(upsert, *keys, bins[keys])


Sums = dict[tuple[Any, ...], tuple[float, ...]]
Bins = dict[tuple[Any, ...], int]


def _summed(served: Iterable[Summed]) -> tuple[Sums, Bins]:
    """Requests by the hour, and hours by the day: each request is looked at once."""
    rows: dict[tuple[Any, ...], list[tuple[float, ...]]] = defaultdict(list)
    counts: Bins = defaultdict(int)
    for one in served:
        hour, org, model = int(one.at // HOUR_S) * HOUR_S, one.org, one.model
        rows[hour, org, one.team or "", one.key, model, one.api].append(_row_of(one))
        if not one.error:
            counts["latency", hour, org, model, bin_of(one.latency_s)] += 1
            if one.ttft_s is not None:
                counts["ttft", hour, org, model, bin_of(one.ttft_s)] += 1
    sums: Sums = {}
    bins: Bins = defaultdict(int)
    for (hour, *others), some in rows.items():
        added = tuple(map(sum, zip(*some, strict=True)))
        sums[HOUR_S, hour, *others] = added
        day = (DAY_S, hour // DAY_S * DAY_S, *others)
        sums[day] = tuple(map(sum, zip(sums[day], added, strict=True))) if day in sums else added
    for (measure, hour, *others), n in counts.items():
        bins[HOUR_S, measure, hour, *others] += n
        bins[DAY_S, measure, hour // DAY_S * DAY_S, *others] += n
    return sums, bins


def _row_of(one: Summed) -> tuple[float, ...]:
    compared = one.reference_nano is not None and one.cost_nano is not None and not one.error
    saved = (one.reference_nano or 0) - (one.cost_nano or 0) if compared else 0
    return (
        1,
        1 if one.error else 0,
        one.cost_nano or 0,
        1 if one.cost_nano is None else 0,
        one.prefill_tokens,
        one.cached_tokens,
        one.output_tokens,
        one.latency_s,
        1 if one.cached else 0,
        one.drafts,
        1 if one.drafts else 0,
        1 if one.escalated else 0,
        1 if compared else 0,
        saved,
        (saved / 1e9) ** 2,
    )


class Rollups:
    """Reads the sums. Calls block."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def sums(self, window: RollupWindow, by: Sequence[Dimension] = ()) -> list[JsonObject]:
        """What was served, for each value of `by`; all together in one row without it. Empty where nothing was."""
        return self.sums_by(window, [by])[0]

    def sums_by(self, window: RollupWindow, several: Sequence[Sequence[Dimension]]) -> list[list[JsonObject]]:
        """The same for each of several choices of what to sum up by, read once."""
        dimensions = list(dict.fromkeys(name for by in several for name in by))
        told, values = window.where()
        columns = ", ".join(f"sum({name})" for name in _SUMS)
        names = "".join(f"{name}, " for name in dimensions)
        grouped = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
        rows = self._database.read(f"SELECT {names}{columns} FROM rollups WHERE {told}{grouped}", *values)
        known = [row for row in rows if row[len(dimensions)]]  # without groups, one row of nothing
        return [_folded(known, dimensions, by) for by in several]

    def over_time(self, window: RollupWindow) -> list[JsonObject]:
        """Requests and money by hour or day, and model."""
        told, values = window.where()
        rows = self._database.read(
            f"SELECT start, model, sum(requests), sum(cost_nano) FROM rollups WHERE {told} GROUP BY start, model "
            "ORDER BY start, model",
            *values,
        )
        return [
            {"start": start, "model": model, "requests": int(n), "cost_usd": from_nano(int(nano))}
            for start, model, n, nano in rows
        ]

    def values(self, window: RollupWindow, names: Sequence[Dimension]) -> dict[str, list[str]]:
        """Which values there are of each dimension, in order; "" is left out."""
        told, values = window.where()
        rows = self._database.read(f"SELECT DISTINCT {', '.join(names)} FROM rollups WHERE {told}", *values)
        return {name: sorted({str(row[place]) for row in rows} - {""}) for place, name in enumerate(names)}

    def percentiles(self, window: RollupWindow, measure: Measure) -> JsonObject:
        """p50, p95 and p99 in seconds, each within 5 %, of requests that were answered; of all keys and teams."""
        return self.percentiles_by(window, measure, "start")[0]

    def percentiles_by(
        self, window: RollupWindow, measure: Measure, by: Literal["start", "model"]
    ) -> tuple[JsonObject, dict[str | int, JsonObject]]:
        """The same of all together, and of each hour or day, or each model."""
        told, values = RollupWindow(window.since, window.until, window.org, model=window.model).where()
        rows = self._database.read(
            f"SELECT {by}, bin, sum(n) FROM rollup_bins WHERE measure = ? AND {told} GROUP BY {by}, bin",
            measure,
            *values,
        )
        found: dict[str | int, dict[int, int]] = defaultdict(dict)
        whole: dict[int, int] = defaultdict(int)
        for name, number, n in rows:
            found[name][int(number)] = int(n)
            whole[int(number)] += int(n)
        return _percentiles(whole), {name: _percentiles(bins) for name, bins in found.items()}

    def forget(self, run: Run, *, before: float) -> None:
        """Deletes sums that end before a moment, within the transaction of `run`."""
        for table in ("rollups", "rollup_bins"):
            run(f"DELETE FROM {table} WHERE start + span_s <= ?", before)


def _folded(rows: Sequence[Row], dimensions: Sequence[Dimension], by: Sequence[Dimension]) -> list[JsonObject]:
    """Rows of all `dimensions` with their sums, summed up by some of them."""
    places, first = [dimensions.index(name) for name in by], len(dimensions)
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[place] for place in places)].append(row[first:])
    return [
        _told(dict(zip(by, key, strict=True)), tuple(map(sum, zip(*some, strict=True))))
        for key, some in sorted(groups.items())
    ]


def _told(names: JsonObject, row: Row) -> JsonObject:
    found = dict(zip(_SUMS, row, strict=True))
    count, compared = int(found["requests"]), int(found["compared"])
    saved = from_nano(int(found["saved_nano"]))
    spread = max(float(found["saved_squares"]) - saved * saved / compared, 0.0) if compared else 0.0
    half = Z * math.sqrt(spread * compared / (compared - 1)) if compared > 1 else None
    counts = ("requests", "errors", "unpriced", "prefill_tokens", "cached_tokens", "output_tokens", "hits", "drafts")
    return {
        **names,
        **{name: int(found[name]) for name in (*counts, "searched", "escalated", "compared")},
        "cost_usd": from_nano(int(found["cost_nano"])),
        "mean_latency_s": float(found["latency_s"]) / count,
        "saved_usd": saved if compared else None,
        "saved_usd_low": None if half is None else saved - half,
        "saved_usd_high": None if half is None else saved + half,
    }
