"""One HTTP request and what is sent back, on plain ASGI.

Bodies are read under a limit and parsed strictly; nothing is parsed twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import orjson

from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject, JsonValue

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
WATCHED_AFTER_S = 0.02
STALLED_S = 30.0
BODY_S, MIN_BYTES_PER_S = 20.0, 50_000.0  # for a body: so long, and longer for a large one
CHUNKED_BYTES = 1_000_000
MAX_KEYS, MAX_ITEMS = 200_000, 2_000_000  # of a JSON body: what costs time is not its bytes
SLACK = 8  # levels that upstream APIs put around what a caller sends; orjson writes 254
JSON = (b"content-type", b"application/json")
EVENTS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_ONCE = frozenset(
    (b"authorization", b"x-api-key", b"api-key", b"content-length", b"content-type", b"host", b"idempotency-key")
)
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ids = random.SystemRandom()
_quick = random.Random(_ids.getrandbits(256))  # ids name requests, they guard nothing


class Gone(Exception):
    """The client went away."""


class HttpRequest:
    """A request under way.

    `id` is ours alone (32 hex digits): a client may make many requests in one trace of its own, `traceparent`.

    It has more attributes than other classes: what ASGI says of a request, and how far its answer is.
    """

    __slots__ = (
        *(
            "at",
            "began",
            "body_bytes",
            "headers",
            "id",
            "method",
            "params",
            "path",
            "receive",
            "scope",
            "send",
            "started",
        ),
        *("held_bytes", "more_headers", "named_model", "status", "writing_since"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.began = time.perf_counter()
        self.at = time.time()
        self.headers: dict[bytes, bytes] = {}
        self.params: dict[str, str] = {}
        self.status = 0
        self.started = False
        self.more_headers: Headers = []  # for every answer to this request
        self.named_model = ""  # by the address, as Azure's clients do
        self.body_bytes = 0
        self.held_bytes = 0  # of the share of its organisation
        self.writing_since = 0.0  # when a part of the answer was given to a client who has not taken it yet
        doubled = b""
        for name, value in scope["headers"]:
            if name in self.headers and name in _ONCE:
                doubled = name
            self.headers[name] = value
        self.id = f"{_quick.getrandbits(128):032x}"
        if doubled:
            raise GatewayError(400, f"the header {doubled.decode()} stands twice", code="duplicate_header")

    def header(self, name: bytes) -> str | None:
        """A header by its name in small letters."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def traceparent(self) -> str:
        """The span of the client's that this request belongs to (W3C Trace Context); "" if it names none."""
        named = self.header(b"traceparent") or ""
        return named if _TRACEPARENT.fullmatch(named) else ""

    def query(self) -> dict[str, str]:
        """The parameters of the address. Raises `GatewayError` on one that stands twice."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=50)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise GatewayError(400, "a parameter stands twice", code="duplicate_parameter")
        return found

    def claimed_bytes(self, limit: int) -> int:
        """The size of the body as its head tells it; a guess, where it comes in chunks. Raises `GatewayError` (413)."""
        claimed = self.headers.get(b"content-length")
        if claimed is None:
            return min(limit, CHUNKED_BYTES) if b"transfer-encoding" in self.headers else 0
        if not claimed.isdigit() or int(claimed) > limit:
            raise _too_large(limit)
        return int(claimed)

    @property
    def body_late_at(self) -> float:
        """When (as `time.perf_counter` counts) the whole body has to be here."""
        return self.began + BODY_S + self.held_bytes / MIN_BYTES_PER_S

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises `GatewayError` (413) as soon as it is known to be larger than `limit` bytes, `Gone`.
        """
        parts, size = [], 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body"):
                self.body_bytes = size
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def watched(self, stalled_s: float = STALLED_S) -> _Watch:
        """A context that ends with `Gone` as soon as the client goes away, or takes nothing of its answer for
        `stalled_s`: what is awaited in it is cancelled. For after the body was read.
        """
        return _Watch(self, stalled_s)

    async def gone(self) -> None:
        """Returns when the client has gone away (after the body was read)."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def before_end(self) -> None:
        """Awaited before an answer ends: what has to be true when its client has it. Subclasses say what."""

    async def reply(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (JSON,)) -> None:
        """Sends a whole answer."""
        await self.before_end()
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send({"type": "http.response.body", "body": body})

    async def reply_json(
        self, value: JsonValue, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Sends a whole answer as JSON."""
        await self.reply(status, orjson.dumps(value), (JSON, *headers))

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Sends the head of an answer."""
        self.status, self.started = status, True
        head = [
            *headers,
            *self.more_headers,
            (b"x-request-id", self.id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": head})

    async def write(self, chunk: bytes) -> None:
        """Sends a part of the body; returns when the client has room for it."""
        self.writing_since = time.perf_counter()
        await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        self.writing_since = 0.0

    async def end(self) -> None:
        """Ends the body."""
        await self.before_end()
        await self.send({"type": "http.response.body", "body": b""})

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.began


class _Watch:
    """See `HttpRequest.watched`."""

    __slots__ = ("_leaving", "_request", "_stalled_s", "_task", "_timer", "_watching")

    def __init__(self, request: HttpRequest, stalled_s: float) -> None:
        self._request, self._stalled_s = request, stalled_s
        self._watching: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        # Most clients stay; what is answered in a moment need not be watched at all.
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._leaving = asyncio.ensure_future(self._request.gone())
        self._leaving.add_done_callback(self._left)
        self._look()

    def _look(self) -> None:
        """Once in a while: one timer for a whole stream."""
        since = self._request.writing_since
        if since and time.perf_counter() - since > self._stalled_s and self._leaving is not None:
            self._leaving.cancel()
            self._leaving = asyncio.get_running_loop().create_future()
            self._leaving.set_result(None)
            if self._task is not None:
                self._task.cancel()
            return
        self._watching = asyncio.get_running_loop().call_later(min(self._stalled_s / 2, 1.0), self._look)

    def _left(self, leaving: asyncio.Future[None]) -> None:
        if not leaving.cancelled() and self._task is not None:
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._leaving is None:
            return
        self._leaving.remove_done_callback(self._left)
        has_left = self._leaving.done()
        self._leaving.cancel()
        if kind is asyncio.CancelledError and has_left and self._task is not None:
            self._task.uncancel()
            raise Gone from None


def parse_json(raw: bytes) -> JsonValue:
    """Strict JSON: UTF-8, no NaN, no doubled keys, at most some 240 levels, keys and items up to a bound.

    Raises `GatewayError`.
    """
    if raw.count(b'":') - raw.count(b'\\":') > MAX_KEYS or (len(raw) > MAX_ITEMS and raw.count(b",") > MAX_ITEMS):
        message = f"the body has more than {MAX_KEYS:,} keys or {MAX_ITEMS:,} items"
        raise GatewayError(400, message, code="too_many_items")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw.strip():
            raise GatewayError(400, "the body is empty", code="invalid_json") from None
        raise GatewayError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    # Whoever doubles a key wants two readers to disagree. A pair that was dropped leaves fewer quotation marks, unless
    # some were written as \u0022.
    try:
        written = orjson.dumps(_nested(value) if raw.count(b"[") + raw.count(b"{") > 200 else value)
    except TypeError:  # orjson's JSONEncodeError: it can be read, but not be sent on
        raise GatewayError(400, "the body is nested too deep", code="invalid_json") from None
    if raw.count(b'"') != written.count(b'"') or b"\\u0022" in raw:
        try:
            json.loads(raw, object_pairs_hook=_once)
        except RecursionError:
            raise GatewayError(400, "the body is nested too deep", code="invalid_json") from None
    return value


def _nested(value: JsonValue) -> JsonValue:
    for _ in range(SLACK):
        value = [value]
    return value


def _once(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise GatewayError(400, f"the key {doubled!r} stands twice in one object", code="duplicate_key", param=doubled)
    return found


def _too_large(limit: int) -> GatewayError:
    return GatewayError(
        413, f"the body is larger than {limit:,} bytes", code="request_too_large", headers=((b"connection", b"close"),)
    )
