"""One HTTP request and what is sent back, on plain ASGI. Bodies are read under a limit and parsed strictly; nothing is parsed twice."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway.problems import Problem

if TYPE_CHECKING:
    from orchestrator.gateway.facts import Facts
    from orchestrator.gateway.keys import Principal
    from orchestrator.gateway.tab import Tab

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
WATCHED_AFTER_S = 0.02
JSON = (b"content-type", b"application/json")
EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_ONCE = frozenset((b"authorization", b"x-api-key", b"content-length", b"content-type", b"host", b"idempotency-key"))
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ids = random.SystemRandom()
_quick = random.Random(_ids.getrandbits(256))  # ids name requests, they guard nothing


class Gone(Exception):
    """The client went away."""


class Call:
    """A request under way. `id` is ours alone (32 hex digits): a client may make many requests in one trace of its own, `traceparent`."""

    __slots__ = (
        *(
            "at",
            "began",
            "body_bytes",
            "facts",
            "headers",
            "id",
            "method",
            "params",
            "path",
            "principal",
            "receive",
            "scope",
            "send",
            "started",
        ),
        *("status", "tab"),
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
        self.principal: Principal
        self.tab: Tab | None = None
        self.facts: Facts | None = None
        self.body_bytes = 0
        doubled = b""
        for name, value in scope["headers"]:
            if name in self.headers and name in _ONCE:
                doubled = name
            self.headers[name] = value
        self.id = f"{_quick.getrandbits(128):032x}"
        if doubled:
            raise Problem(400, f"the header {doubled.decode()} stands twice", code="duplicate_header")

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def traceparent(self) -> str:
        """The span of the client's that this request belongs to (W3C Trace Context); "" if it names none."""
        named = self.header(b"traceparent") or ""
        return named if _TRACEPARENT.fullmatch(named) else ""

    def query(self) -> dict[str, str]:
        """The parameters of the address. Raises `Problem` on one that stands twice."""
        from urllib.parse import parse_qsl

        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=50)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Problem(400, "a parameter stands twice", code="duplicate_parameter")
        return found

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `Problem` (413) as soon as it is known to be larger than `limit` bytes, `Gone`."""
        claimed = self.headers.get(b"content-length", b"0")
        if not claimed.isdigit() or int(claimed) > limit:
            raise _too_large(limit)
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

    def watched(self) -> _Watch:
        """A context that ends with `Gone` as soon as the client goes away: what is awaited in it is cancelled. For after the body was read."""
        return _Watch(self)

    async def gone(self) -> None:
        """Returns when the client has gone away (after the body was read)."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def reply(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (JSON,)) -> None:
        """Sends a whole answer."""
        if self.tab is not None:
            await self.tab.posted()
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send({"type": "http.response.body", "body": body})

    async def reply_json(self, value: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        await self.reply(status, orjson.dumps(value), (JSON, *headers))

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status, self.started = status, True
        head = [*headers, (b"x-request-id", self.id.encode()), (b"x-content-type-options", b"nosniff")]
        await self.send({"type": "http.response.start", "status": status, "headers": head})

    async def write(self, chunk: bytes) -> None:
        await self.send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        if self.tab is not None:
            await self.tab.posted()
        await self.send({"type": "http.response.body", "body": b""})

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.began


class _Watch:
    """See `Call.watched`."""

    __slots__ = ("_call", "_leaving", "_task", "_timer")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._leaving: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        # Most clients stay; what is answered in a moment need not be watched at all.
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._leaving = asyncio.ensure_future(self._call.gone())
        self._leaving.add_done_callback(self._left)

    def _left(self, leaving: asyncio.Future[None]) -> None:
        if not leaving.cancelled() and self._task is not None:
            self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._timer.cancel()
        if self._leaving is None:
            return
        self._leaving.remove_done_callback(self._left)
        has_left = self._leaving.done()
        self._leaving.cancel()
        if kind is asyncio.CancelledError and has_left and self._task is not None:
            self._task.uncancel()
            raise Gone from None


def parse_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN, no doubled keys, at most 1,024 levels. Raises `Problem`."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw.strip():
            raise Problem(400, "the body is empty", code="invalid_json") from None
        raise Problem(400, f"the body is not JSON: {error}", code="invalid_json") from None
    # Whoever doubles a key wants two readers to disagree. A pair that was dropped leaves fewer quotation marks, unless some were written as \u0022.
    if raw.count(b'"') != orjson.dumps(value).count(b'"') or b"\\u0022" in raw:
        try:
            json.loads(raw, object_pairs_hook=_once)
        except RecursionError:
            raise Problem(400, "the body is nested too deep", code="invalid_json") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise Problem(400, f"the key {doubled!r} stands twice in one object", code="duplicate_key", param=doubled)
    return found


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit:,} bytes", code="request_too_large", headers=((b"connection", b"close"),))
