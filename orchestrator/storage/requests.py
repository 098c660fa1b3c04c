"""What the gateway served: a row for each request, with its cost and trace, written in batches by a thread.

Answers' texts are not kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from orchestrator.budget import from_nano
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import Database, SqlValue
from orchestrator.storage.migrations import migrate

_SCHEMA = """
CREATE TABLE requests (
    id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, org TEXT NOT NULL, team TEXT, key TEXT NOT NULL,
    api TEXT NOT NULL, asked TEXT NOT NULL,
    model TEXT NOT NULL, status BIGINT NOT NULL, prefill_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cost_nano BIGINT, latency_s DOUBLE PRECISION NOT NULL, ttft_s DOUBLE PRECISION, cached TEXT NOT NULL,
    scope TEXT NOT NULL,
    error TEXT NOT NULL, trace TEXT NOT NULL
);
CREATE INDEX requests_by_org ON requests (org, at);
CREATE INDEX requests_by_time ON requests (at)
"""


@dataclass(slots=True)
class ServedRequest:
    """`cost_nano` is `None` where a model has no known price; `cached` is "", "exact" or "semantic".

    `error` a code, "" if it was answered.
    """

    id: str
    at: float
    org: str
    team: str | None
    key: str
    api: str
    asked: str
    model: str = ""
    status: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0
    latency_s: float = 0.0
    ttft_s: float | None = None
    cached: str = ""
    scope: str = ""
    error: str = ""
    trace: Mapping[str, Any] | None = None


_COLUMNS = tuple(field.name for field in fields(ServedRequest))
_GROUPS = {name: name for name in ("org", "model", "key", "api")} | {
    "team": "coalesce(team, '')",
    "day": "CAST(at / 86400 AS BIGINT)",
}
_LIST = ", ".join(_COLUMNS)
_plain = attrgetter(*_COLUMNS[:-1])


class Requests:
    """Calls block. Every reading names an organisation; sums alone may be of all."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "requests", [_SCHEMA])

    def add(self, served: list[ServedRequest]) -> None:
        """Keeps them; what is kept already (the same id) stays as it is, so that nothing counts twice."""
        self._database.insert_many(
            "requests", _COLUMNS, [[*_plain(one), orjson.dumps(one.trace or {}).decode()] for one in served]
        )

    def find(self, org: str, id: str) -> JsonObject | None:
        """A request by its id; `None` if it is not there."""
        rows = self._database.read(f"SELECT {_LIST} FROM requests WHERE org = ? AND id = ?", org, id)
        return _described(rows[0]) if rows else None

    def recent(self, org: str, limit: int, *, before: float | None = None, key: str | None = None) -> list[JsonObject]:
        """The newest first, without their traces."""
        sql = (
            f"SELECT {_LIST} FROM requests WHERE org = ? AND at < ?"
            + (" AND key = ?" if key else "")
            + " ORDER BY at DESC LIMIT ?"
        )
        values: list[SqlValue] = [org, self._clock() + 1 if before is None else before, *([key] if key else []), limit]
        found = [_described(row) for row in self._database.read(sql, *values)]
        for one in found:
            del one["trace"]
        return found

    def usage(
        self, org: str | None, *, since: float, until: float, by: str, key: str | None = None
    ) -> list[JsonObject]:
        """Sums for each value of `by`: org, model, key, team, api or day.

        Of one organisation, or of all (`None`: for the operator alone). `unpriced` counts requests whose cost is not
        known, `last_at` is when the last of them began.
        """
        group = _GROUPS[by]
        only = {"org": org, "key": key}
        where = "".join(f" AND {name} = ?" for name, value in only.items() if value is not None)
        values: list[SqlValue] = [since, until, *(value for value in only.values() if value is not None)]
        rows = self._database.read(
            f"SELECT {group}, count(*), sum(CASE WHEN error = '' THEN 0 ELSE 1 END), sum(prefill_tokens), "
            "sum(cached_tokens), "
            "sum(output_tokens), coalesce(sum(cost_nano), 0), sum(CASE WHEN cost_nano IS NULL THEN 1 ELSE 0 END), "
            "sum(latency_s), max(at) "
            f"FROM requests WHERE at >= ? AND at < ?{where} GROUP BY 1 ORDER BY 1",
            *values,
        )
        return [
            {
                by: time.strftime("%Y-%m-%d", time.gmtime(int(name) * 86_400)) if by == "day" else name,
                "requests": int(count),
                "errors": int(errors),
                "prefill_tokens": int(prefill),
                "cached_tokens": int(cached),
                "output_tokens": int(output),
                "cost_usd": from_nano(int(nano)),
                "unpriced": int(unpriced),
                "mean_latency_s": float(seconds) / int(count),
                "last_at": float(last),
            }
            for name, count, errors, prefill, cached, output, nano, unpriced, seconds, last in rows
        ]

    def forget(self, *, before: float) -> None:
        """Deletes what is older than a moment."""
        with self._database.writing() as run:
            run("DELETE FROM requests WHERE at < ?", before)


def _described(row: tuple[Any, ...]) -> JsonObject:
    found = dict(zip(_COLUMNS, row, strict=True))
    nano = found.pop("cost_nano")
    return {**found, "cost_usd": None if nano is None else from_nano(int(nano)), "trace": json.loads(found["trace"])}
