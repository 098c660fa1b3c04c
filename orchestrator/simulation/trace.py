"""Traces of real traffic: rows as serving engines, gateways and published data sets write them.

JSON lines or CSV, gzip too. Read are those of Mooncake (`timestamp` in ms, `input_length`, `output_length`,
`hash_ids`), Azure (`TIMESTAMP`, `ContextTokens`, `GeneratedTokens`), vLLM's and LLMServingSim's request logs
(`arrival_time`, `input_toks`, `output_toks`, `first_token_ts`, `last_token_ts`) and this project's own (`at`,
`prefill_tokens`, `output_tokens`, `ttft_s`, `latency_s`).
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonValue
from orchestrator.simulation.observation import ObservedRequest
from orchestrator.simulation.request import SimulatedRequest

ARRIVAL = ("arrival_s", "arrival_time", "arrival", "timestamp", "at", "TIMESTAMP")
PROMPT = ("prompt_tokens", "input_toks", "input_length", "prefill_tokens", "input_tokens", "ContextTokens")
OUTPUT = ("output_tokens", "output_toks", "output_length", "completion_tokens", "GeneratedTokens")
SESSION = ("session", "session_id", "conversation_id", "user")
FIRST, LAST = ("first_token_s", "first_token_ts"), ("last_token_s", "last_token_ts")
QUEUED = ("queued_ts", "queued_s")
MAX_ROWS = 1_000_000
MAX_TOKENS = 10_000_000
MAX_BYTES = 1_000_000_000
MAX_SKIPPED_SHARE = 0.1
Row = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """What a file says.

    Attributes:
        requests: In the order of arrival, the first at 0 s.
        observed: Those of them whose tokens' times are known.
        skipped: Rows that say too little.
        first_skipped: The first of them: its line, and what it lacks; "" without any.
    """

    requests: tuple[SimulatedRequest, ...]
    observed: tuple[ObservedRequest, ...]
    skipped: int = 0
    first_skipped: str = ""


def read_trace(path: Path) -> RequestTrace:
    """Reads a trace.

    Raises `InvalidArgument` on a file that is none, or where more than a tenth of the rows cannot be used.
    """
    found: list[tuple[SimulatedRequest, _Times | None]] = []
    skipped, first, count = 0, "", 0
    for line, row in _rows(path):
        count += 1
        if count > MAX_ROWS:
            raise InvalidArgument(f"{path} has more than {MAX_ROWS:,} rows", remedy="Simulate a part of it")
        try:
            found.append(_request(row))
        except _Gap as gap:
            skipped, first = skipped + 1, first or f"line {line}: {gap}"
    if not found or skipped > MAX_SKIPPED_SHARE * count:
        told = f"{skipped} of {count} rows cannot be used ({first})" if count else "it has no rows"
        remedy = f"Each row needs an arrival ({', '.join(ARRIVAL)}), tokens of the prompt and of the answer"
        raise InvalidArgument(f"{path} is no trace of requests: {told}", remedy=remedy)
    return _ordered(found, skipped, first)


@dataclass(frozen=True, slots=True)
class _Times:
    """When tokens came, and on the same clock when the engine knew of the request, where it says so."""

    first_s: float
    last_s: float
    queued_s: float | None


class _Gap(ValueError):
    """What a row lacks."""


def _ordered(found: list[tuple[SimulatedRequest, _Times | None]], skipped: int, first: str) -> RequestTrace:
    """The trace with its first arrival at 0 s, on one clock.

    vLLM notes arrivals by the calendar and all else by a clock of its own: the request that was queued soonest after
    its arrival is taken to have been queued at once.
    """
    found.sort(key=lambda pair: pair[0].arrival_s)
    start = found[0][0].arrival_s
    queued = [request.arrival_s - times.queued_s for request, times in found if times and times.queued_s is not None]
    shift = max(queued, default=0.0) - start
    requests = tuple(replace(request, arrival_s=request.arrival_s - start) for request, _ in found)
    observed = tuple(
        ObservedRequest(request, times.first_s + shift, times.last_s + shift)
        for request, (_, times) in zip(requests, found, strict=True)
        if times is not None
    )
    return RequestTrace(requests, observed, skipped, first)


def _request(row: Row) -> tuple[SimulatedRequest, _Times | None]:
    """Raises `_Gap`."""
    arrival = _seconds(row, ARRIVAL)
    if "hash_ids" in row and "timestamp" in row:
        arrival /= 1_000  # Mooncake's are milliseconds
    prompt, output = _count(row, PROMPT), _count(row, OUTPUT)
    chunks = row.get("hash_ids")
    shared = tuple(chunks) if isinstance(chunks, list) and all(isinstance(chunk, int) for chunk in chunks) else ()
    session = next((str(row[name]) for name in SESSION if row.get(name)), "")
    request = SimulatedRequest(arrival, prompt, output, shared, session)
    return request, _times(row, request)


def _times(row: Row, request: SimulatedRequest) -> _Times | None:
    first, last = _optional(row, FIRST), _optional(row, LAST)
    if last is not None:
        return _Times(math.nan if first is None else first, last, _optional(row, QUEUED))
    latency, ttft = _optional(row, ("latency_s",)), _optional(row, ("ttft_s",))
    if latency is None:
        return None
    first_s = math.nan if ttft is None else request.arrival_s + ttft
    return _Times(first_s, request.arrival_s + latency, None)


def _optional(row: Row, names: tuple[str, ...]) -> float | None:
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    try:
        number = None if value is None or isinstance(value, bool) else float(str(value))
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _seconds(row: Row, names: tuple[str, ...]) -> float:
    number = _optional(row, names)
    if number is not None:
        return number
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            try:
                at = datetime.fromisoformat(value.strip()[:26])
            except ValueError:
                raise _Gap(f"{name} is no time: {value[:40]!r}") from None
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    raise _Gap(f"no arrival ({', '.join(names)})")


def _count(row: Row, names: tuple[str, ...]) -> int:
    number = _optional(row, names)
    if number is None:
        raise _Gap(f"no number of tokens ({', '.join(names)})")
    if number < 1 or number != int(number) or number > MAX_TOKENS:
        raise _Gap(f"{number:g} is no number of tokens")
    return int(number)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        raw = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise InvalidArgument(f"{path} has more than {MAX_BYTES:,} bytes", remedy="Simulate a part of it")
    return raw


def _delimiter(text: str) -> str:
    return max(",;\t", key=text[: text.find("\n")].count)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(line, row). Raises `InvalidArgument` on what cannot be read."""
    try:
        text = _content(path).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{path} cannot be read: {told}", remedy="Check the path") from None
    first = text.lstrip()[:1]
    if first != "{":
        try:
            for number, row in enumerate(csv.DictReader(io.StringIO(text), delimiter=_delimiter(text)), 2):
                yield number, {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise InvalidArgument(
                f"{path} is no table: {error}", remedy="Write CSV with a first line of names"
            ) from None
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                parsed = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InvalidArgument(f"{path}:{number}: not JSON: {error}", remedy="Write one object a line") from None
            if not isinstance(parsed, dict):
                raise InvalidArgument(f"{path}:{number}: not an object", remedy="Write one object a line")
            yield number, parsed
