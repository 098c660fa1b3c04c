"""What the gateway and the SDK served: a row for each request, with its cost, its spans and sums of all.

Written in batches by a thread. Texts of questions and answers are kept only where the policy says so.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from orchestrator.budget import from_nano
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage import rollups
from orchestrator.storage.database import Database, Row, Run, SqlValue, insert_rows
from orchestrator.storage.migrations import LOCK, migrate
from orchestrator.storage.request_schema import request_schemas
from orchestrator.storage.rollups import Rollups
from orchestrator.storage.served_request import COLUMNS as COLUMNS
from orchestrator.storage.served_request import LIST as LIST
from orchestrator.storage.served_request import ServedRequest as ServedRequest
from orchestrator.storage.served_request import described as described
from orchestrator.storage.served_request import served_of, values_of
from orchestrator.storage.spans import SPANS_PER_PART, nest, of_attempts, pack, pack_value, unpack
from orchestrator.storage.trace_policy import TracePolicy

MAX_DELETED = 5_000  # rows at once, so that what is served meanwhile waits for moments only
BACKFILLED = 20_000
MAX_IDS = 500
ROUNDS = -1
"""The part in which the rounds of a search are."""
log = logging.getLogger(__name__)
EVERYBODY: Mapping[str, str] = {}
KEPT_ALWAYS = TracePolicy()
_GROUPS = {"org": "org", "model": "model", "key": "key", "api": "api", "team": "coalesce(team, '')"}
_PART = ("request", "part", "at", "content")
_TEXT = ("request", "at", "org", "scope", "content")


class Requests:
    """Calls block. Every reading names an organisation; sums alone may be of all."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock
        self.rollups = Rollups(database, clock)
        migrate(database, "requests", request_schemas(database))
        self._backfill()

    def add(self, served: list[ServedRequest], policy: TracePolicy = KEPT_ALWAYS) -> None:
        """Keeps them; what is kept already (the same id) stays as it is, so that nothing counts twice."""
        served = list({one.id: one for one in served}.values())
        rows = [[*values_of(one), *_kept_spans(one, policy)] for one in served]
        detailed = [one for one in served if one.spans and policy.keeps_spans(one)]
        parts = [
            [one.id, part, one.at, packed] for one in detailed for part, packed in pack(policy.spans_of(one.spans))
        ]
        parts += [[one.id, ROUNDS, one.at, pack_value(told)] for one in detailed if (told := _rounds_of(one))]
        texts = _texts_of(served, policy)
        with self.database.writing() as run:  # whatever takes long was done before: others wait for this
            new = insert_rows(run, "requests", (*COLUMNS, "spans", "trace"), rows, returning="id")
            fresh = {row[0] for row in new}
            rollups.add_up(run, [one for one in served if one.id in fresh])
            insert_rows(run, "trace_parts", _PART, [row for row in parts if row[0] in fresh])
            insert_rows(run, "trace_contents", _TEXT, [row for row in texts if row[0] in fresh])

    def find(self, org: str | None, id: str) -> JsonObject | None:
        """A request by its id, with its whole trace; `None` if it is not there. `org=None` looks in all."""
        found = self.head(org, id)
        if found is None:
            return None
        spans = [span for part in range(self._parts(found)) for span in self.spans(id, part)]
        if spans and "search" not in found["trace"]:
            root = {"id": id, "name": "answer", "start_s": 0.0, "duration_s": round(found["latency_s"], 6)}
            found["trace"]["search"] = {**root, "children": nest(spans)}
        return found

    def head(self, org: str | None, id: str) -> JsonObject | None:
        """A request without its spans; `None` if it is not there."""
        only, values = ("", [id]) if org is None else (" AND org = ?", [id, org])
        rows = self.database.read(f"SELECT {LIST}, trace FROM requests WHERE id = ?{only}", *values)
        return None if not rows else {**described(rows[0][:-1]), "trace": json.loads(rows[0][-1])}

    def beginning_with(self, beginning: str, org: str | None = None) -> list[str]:
        """Ids that begin so, at most two; of one organisation, or of all."""
        start = beginning.lower()
        only, values = ("", []) if org is None else (" AND org = ?", [org])
        sql = f"SELECT id FROM requests WHERE id >= ? AND id < ?{only} LIMIT 2"
        return [str(row[0]) for row in self.database.read(sql, start, f"{start}g", *values)]

    def among(self, ids: Sequence[str], only: Mapping[str, str]) -> set[str]:
        """Those of `ids` whose requests are of a `key`, a `team` or an `org`."""
        found: set[str] = set()
        named = "".join(f" AND {name} = ?" for name in only)
        for start in range(0, len(ids), MAX_IDS):
            some = ids[start : start + MAX_IDS]
            sql = f"SELECT id FROM requests WHERE id IN ({', '.join('?' * len(some))}){named}"
            found |= {str(row[0]) for row in self.database.read(sql, *some, *only.values())}
        return found

    def newest(self, limit: int, *, since: float) -> list[JsonObject]:
        """The newest requests of everybody since a moment (seconds since 1970)."""
        sql = f"SELECT {LIST} FROM requests WHERE at >= ? ORDER BY at DESC LIMIT ?"
        return [described(row) for row in self.database.read(sql, since, limit)]

    def steps(self, head: JsonObject, part: int) -> list[JsonObject]:
        """Some steps of a request (`head`): its spans, or its calls, where it was passed through and has no other."""
        if head["spans"] or part:
            return self.spans(head["id"], part)
        steps = of_attempts(head["trace"].get("attempts") or ())
        if len(steps) == 1 and not head["error"]:  # then all that was used is this call's
            used = {name: head[name] for name in ("cost_usd", "prefill_tokens", "output_tokens")}
            steps[0]["attributes"] |= used
        return steps

    def spans(self, id: str, part: int) -> list[JsonObject]:
        """Some spans of a request, depth first; empty beyond the last part."""
        rows = self.database.read("SELECT content FROM trace_parts WHERE request = ? AND part = ?", id, part)
        found = _unpacked(id, rows[0][0]) if rows else []
        return found if isinstance(found, list) else []

    def rounds(self, id: str) -> list[JsonObject]:
        """The rounds of its search (`orchestrator.search.outline`); empty where none was needed, or none are kept."""
        return self.spans(id, ROUNDS)

    def content(self, id: str) -> JsonObject | None:
        """The texts of a request; `None` where they are not kept."""
        rows = self.database.read("SELECT content FROM trace_contents WHERE request = ?", id)
        found = _unpacked(id, rows[0][0]) if rows else None
        return found if isinstance(found, dict) else None

    @staticmethod
    def _parts(found: JsonObject) -> int:
        return -(-int(found["spans"]) // SPANS_PER_PART)

    def recent(
        self, org: str, limit: int, *, before: float | None = None, only: Mapping[str, str] = EVERYBODY
    ) -> list[JsonObject]:
        """The newest first, without their traces; `only` of a `key` or a `team`."""
        named = "".join(f" AND {name} = ?" for name in only)
        sql = f"SELECT {LIST} FROM requests WHERE org = ? AND at < ?{named} ORDER BY at DESC LIMIT ?"
        until = self._clock() + 1 if before is None else before
        return [described(row) for row in self.database.read(sql, org, until, *only.values(), limit)]

    def of_experiment(self, name: str, *, since: float, page: int = 5_000) -> Iterator[JsonObject]:
        """Requests that took part in an A/B test since then, oldest first: `id`, `at`, `model`, `cost_usd`, `seconds`,
        `arm` and `unit`.
        """
        place, last = since, ""
        while True:
            rows = self.database.read(
                "SELECT id, at, model, cost_nano, latency_s, trace FROM requests "
                "WHERE (at > ? OR (at = ? AND id > ?)) AND error = '' AND trace LIKE ? ORDER BY at, id LIMIT ?",
                place,
                place,
                last,
                f'%"experiment"%{name}%',
                page,
            )
            for id, at, model, nano, seconds, trace in rows:
                told = orjson.loads(trace).get("experiment")
                if isinstance(told, dict) and told.get("name") == name:
                    usd = None if nano is None else from_nano(int(nano))
                    yield {"id": id, "at": at, "model": model, "cost_usd": usd, "seconds": seconds, **told}
            if len(rows) < page:
                return
            last, place = rows[-1][0], rows[-1][1]

    def usage(
        self, org: str | None, *, since: float, until: float, by: str, only: Mapping[str, str] = EVERYBODY
    ) -> list[JsonObject]:
        """Sums for each value of `by`: org, model, key, team, api or day.

        Of one organisation, or of all (`None`: for the operator alone); `only` of a `key` or a `team`. `unpriced`
        counts requests whose cost is not known, `last_at` is when the last of them began.
        """
        group = self.database.whole.format("at / 86400") if by == "day" else _GROUPS[by]
        bounds = {**({} if org is None else {"org": org}), **only}
        where = "".join(f" AND {name} = ?" for name in bounds)
        values: list[SqlValue] = [since, until, *bounds.values()]
        rows = self.database.read(
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

    def forget(self, *, before: float, spans_before: float | None = None) -> None:
        """Deletes what is older than a moment: requests with their sums; spans and texts from another moment on."""
        for table in ("trace_parts", "trace_contents"):
            self._delete(table, "request", before if spans_before is None else max(before, spans_before))
        self._delete("requests", "id", before)
        with self.database.writing() as run:
            self.rollups.forget(run, before=before)

    def _delete(self, table: str, name: str, before: float) -> None:
        chosen = f"SELECT {name} FROM {table} WHERE at < ? ORDER BY at LIMIT {MAX_DELETED}"
        while True:
            with self.database.writing() as run:
                if len(run(f"DELETE FROM {table} WHERE {name} IN ({chosen}) RETURNING {name}", before)) < MAX_DELETED:
                    return

    def forget_texts(self, org: str, scope: str) -> int:
        """Deletes the kept texts of requests in a scope and below it, because something in it was forgotten.

        All of them, and their spans, whose feedback and errors may quote: an answer may tell of what was forgotten in
        other words. Returns of how many requests there were texts.
        """
        below = f"{scope}/"
        within = "org = ? AND (scope = ? OR substr(scope, 1, ?) = ?)"
        with self.database.writing() as run:
            run(
                f"DELETE FROM trace_parts WHERE part >= 0 AND request IN (SELECT id FROM requests WHERE {within})",
                org,
                scope,
                len(below),
                below,
            )
            gone = run(
                "DELETE FROM trace_contents WHERE org = ? AND (scope = ? OR substr(scope, 1, ?) = ?) RETURNING request",
                org,
                scope,
                len(below),
                below,
            )
        return len(gone)

    def _backfill(self) -> None:
        """Sums up what an earlier version kept without sums; nothing where there are some, or nothing was kept."""
        with self.database.writing() as run:
            if self.database.locking:  # one process at a time, as where tables are made
                run("SELECT pg_advisory_xact_lock(?)", LOCK)
            if run("SELECT 1 FROM rollups LIMIT 1") or not run("SELECT 1 FROM requests LIMIT 1"):
                return
            last: tuple[float, str] = (-1.0, "")
            while rows := _after(run, last):
                rollups.add_up(run, [served_of(row) for row in rows])
                last = (float(rows[-1][1]), str(rows[-1][0]))


def _after(run: Run, last: tuple[float, str]) -> list[Row]:
    at, id = last
    return run(
        f"SELECT {', '.join(COLUMNS)} FROM requests WHERE at > ? OR (at = ? AND id > ?) ORDER BY at, id LIMIT ?",
        at,
        at,
        id,
        BACKFILLED,
    )


def _kept_spans(one: ServedRequest, policy: TracePolicy) -> tuple[int, str]:
    """How many spans are kept of it, and the head of its trace."""
    return len(one.spans) if policy.keeps_spans(one) else 0, orjson.dumps(one.trace or {}).decode().replace(
        "\\u0000", "\\ufffd"
    )


def _texts_of(served: Sequence[ServedRequest], policy: TracePolicy) -> list[list[Any]]:
    if not policy.content:
        return []
    kept = [(one, policy.redacted(one.content)) for one in served if one.content and policy.keeps_spans(one)]
    return [[one.id, one.at, one.org, one.scope, pack_value(text)] for one, text in kept if text]


def _unpacked(id: str, stored: bytes) -> JsonValue:
    try:
        return unpack(bytes(stored))
    except (zlib.error, ValueError):  # of a damaged file: the request's row can still be looked at
        log.error("what is kept of a request cannot be read", extra={"request": id})
        return None


def _rounds_of(one: ServedRequest) -> list[JsonObject]:
    try:
        return [] if one.rounds is None else one.rounds()
    except Exception:  # a request is counted, whatever cannot be told of it
        log.exception("the rounds of a search are not kept", extra={"request": one.id})
        return []
