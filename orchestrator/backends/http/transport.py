"""POST over pooled HTTP/1.1 connections, for the hot path.

Llhttp (httptools) reads, asyncio protocols move bytes, nothing is parsed twice.

Measured beside aiohttp in docs/decisions/011-gateway.md. It speaks what relaying to a model's API needs and no more:
POST, bodies as bytes, no redirects, no cookies, no proxies. Errors say whether the server may have been at work
already.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from orchestrator.backends.provider_errors import TransportError

CONNECT_S = 5.0
IDLE_S = (
    4.0  # many servers close an idle connection after five seconds; one that is closed while we send is an answer lost
)
STALE_S = 2.0  # a connection that ends later than this after a call was sent on it was not closed before it
MAX_IDLE = 256
MAX_HEAD_BYTES = 65_536
HIGH_WATER_BYTES = 262_144
MAX_BODY_BYTES = 64_000_000


async def whole_body(chunks: AsyncIterator[bytes], cancel: Callable[[], None]) -> bytes:
    """The chunks as one. Raises `TransportError`, after `cancel`, where they are over `MAX_BODY_BYTES`."""
    parts, size = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            cancel()
            raise TransportError(f"an answer of over {MAX_BODY_BYTES:,} bytes", may_be_billed=True)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class HttpTransport:
    """A pool of connections, for one event loop.

    `verify` replaces the certificates that are trusted, for servers of one's own.
    """

    def __init__(self, *, verify: ssl.SSLContext | None = None, idle_s: float = IDLE_S) -> None:
        self._verify = verify
        self._idle_s = idle_s
        self._idle: dict[tuple[str, str, int], deque[tuple[float, _Connection]]] = {}
        self._open: set[_Connection] = set()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpResponse:
        """Sends and waits for the head of the answer, whatever its status.

        `timeout_s` is for all of that, and for each silence in the body.
        """
        origin, target, host = _parts(url)
        head = [f"POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n"]
        head += [f"{name}: {value}\r\n" for name, value in headers.items()]
        request = "".join(head).encode("latin-1") + b"\r\n" + body
        connection = self._idle_connection(origin)
        if connection is not None:
            try:
                return await _headed(connection, request, timeout_s)
            except TransportError as error:
                if not error.is_stale:
                    raise
        # A server may close an idle connection at the very moment in which it is used again: it never saw this call
        # (RFC 9110, section 9.2.2).
        return await _headed(await self._connect(origin, timeout_s), request, timeout_s)

    async def aclose(self) -> None:
        """Ends every connection, at work or idle."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the event loop close them

    async def close_idle(self, url: str) -> None:
        """Closes the connections to the host of `url` that nobody uses."""
        for _, connection in self._idle.pop(_parts(url)[0], ()):
            connection.abort()

    def _idle_connection(self, origin: tuple[str, str, int]) -> _Connection | None:
        waiting = self._idle.get(origin)
        if not waiting:
            return None
        oldest = time.monotonic() - self._idle_s
        while waiting:
            since, connection = waiting.pop()  # the one used last: the others grow old and are closed
            if connection.is_usable and since >= oldest:
                if waiting and waiting[0][0] < oldest:
                    waiting.popleft()[1].abort()
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: tuple[str, str, int], timeout_s: float) -> _Connection:
        scheme, host, port = origin
        security = (self._verify or _default_security()) if scheme == "https" else None
        try:
            async with asyncio.timeout(min(CONNECT_S, timeout_s)):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self, origin),
                    host,
                    port,
                    ssl=security,
                    server_hostname=host if security else None,
                )
        except TimeoutError as error:
            raise TransportError(f"no connection to {host}:{port} in time", may_be_billed=False) from error
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"cannot connect to {host}:{port}: {error}", may_be_billed=False) from error
        self._open.add(connection)
        return connection

    def give_back(self, connection: _Connection) -> None:
        """Keeps a connection for the next call to the same server."""
        waiting = self._idle.setdefault(connection.origin, deque())
        if len(waiting) >= MAX_IDLE:
            connection.abort()
        else:
            waiting.append((time.monotonic(), connection))

    def lost(self, connection: _Connection) -> None:
        """Forgets a connection that has ended."""
        self._open.discard(connection)


async def _headed(connection: _Connection, request: bytes, timeout_s: float) -> HttpResponse:
    """Sends, and waits for the head of the answer."""
    reply = connection.begin(request, timeout_s)
    try:
        await reply.headed
    except BaseException:
        connection.abort()
        raise
    return reply


class HttpResponse:
    """The answer to one call.

    `headers` have names in small letters. Read it to its end, or `cancel` it, which ends the connection.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_is_whole",
        "_pending_bytes",
        "_timeout_s",
        "_wake",
        "headed",
        "headers",
        "status",
    )

    def __init__(self, connection: _Connection, timeout_s: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.headed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._timeout_s = timeout_s
        self._chunks: deque[bytes] = deque()
        self._pending_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._is_whole = False
        self._error: TransportError | None = None

    async def read(self) -> bytes:
        """The whole body."""
        return await whole_body(self.chunks(), self.cancel)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `TransportError` where it breaks off."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft() if len(self._chunks) == 1 else self._all()
                self._pending_bytes = 0
                self._connection.resume()
                yield chunk
            if self._is_whole:
                return
            if self._error is not None:
                raise self._error
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    def cancel(self) -> None:
        """Ends the call, unless it is over: the server sees that nobody listens any more."""
        if not self._is_whole:
            self._connection.abort()

    def _all(self) -> bytes:
        joined = b"".join(self._chunks)
        self._chunks.clear()
        return joined

    def add(self, chunk: bytes) -> bool:
        """Whether so much is waiting that the server had better pause."""
        self._chunks.append(chunk)
        self._pending_bytes += len(chunk)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return self._pending_bytes > HIGH_WATER_BYTES

    def end(self, error: TransportError | None = None) -> None:
        """The body is whole, or an error has ended it."""
        if self._is_whole or self._error is not None:
            return
        self._is_whole, self._error = error is None, error
        if not self.headed.done():
            if error is None:
                self.headed.set_result(None)
            else:
                self.headed.set_exception(error)
                self.headed.exception()  # looked at here, so that a caller who has left is no complaint
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, one call at a time.

    Its attributes are the state of one exchange, which the parser's callbacks fill piece by piece.
    """

    def __init__(self, wire: HttpTransport, origin: tuple[str, str, int]) -> None:
        self.origin = origin
        self._wire = wire
        self._reply: HttpResponse | None = None
        self._parser: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_closed = False
        self._calls = 0
        self._has_bytes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    @property
    def is_usable(self) -> bool:
        return not self._is_closed and self._reply is None and not self._transport.is_closing()

    def begin(self, request: bytes, timeout_s: float) -> HttpResponse:
        import httptools  # needed where a connection opens

        self._reply = reply = HttpResponse(self, timeout_s)
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._calls += 1
        self._has_bytes = False
        self._has_end = self._keep = True
        self._began_at = self._heard_at = time.monotonic()
        self._timeout_s = timeout_s
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._look)
        self._transport.write(request)
        return reply

    def _look(self) -> None:
        """The timer: one for many calls, so that a call costs none.

        It looks whether the server was silent for too long, and sleeps again.
        """
        self._timer = None
        if self._reply is None or self._is_closed:
            return
        silent = time.monotonic() - self._heard_at
        if silent >= self._timeout_s and not self._is_paused:
            reply = self._reply
            self.abort(TransportError(f"no answer in {self._timeout_s:.0f} s", may_be_billed=True, is_timeout=True))
            reply.end()
            return
        self._timer = asyncio.get_running_loop().call_later(max(self._timeout_s - silent, 0.01), self._look)

    def data_received(self, data: bytes) -> None:
        self._has_bytes = True
        if (
            self._reply is not None and self._reply.status
        ):  # a head that comes byte by byte has its time once, not for each byte
            self._heard_at = time.monotonic()
        if self._reply is None:  # nobody asked: a server that talks out of turn is not used again
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except Exception as error:  # httptools has errors of many kinds, and passes on those of callbacks
            self.abort(TransportError(f"the answer is not HTTP: {error.__context__ or error}", may_be_billed=True))

    def on_status(self, status: bytes) -> None:
        pass

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("its head is too long")
        if self._reply is not None:
            self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        reply = self._reply
        if reply is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            reply.headers.clear()
            return
        reply.status = status
        self._keep = self._parser.should_keep_alive()
        encoding = reply.headers.get("content-encoding")
        self._inflate = None if encoding is None else _inflation(encoding.strip().lower())
        self._has_end = (
            "content-length" in reply.headers or "chunked" in reply.headers.get("transfer-encoding", "").lower()
        )
        if not reply.headed.done():
            reply.headed.set_result(None)

    def on_body(self, body: bytes) -> None:
        if self._inflate is not None:
            body = self._inflated(body)
        if self._reply is not None and self._reply.add(body) and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _inflated(self, body: bytes) -> bytes:
        assert self._inflate is not None
        found: bytes = self._inflate.decompress(body, MAX_BODY_BYTES)
        if self._inflate.unconsumed_tail:
            raise ValueError(f"it holds more than {MAX_BODY_BYTES:,} bytes, compressed")
        return found

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is None or reply.status == 0:  # 100 Continue
            return
        self._reply = None
        reply.end()
        if self._keep and self._has_end and not self._is_closed:
            self._wire.give_back(self)
        else:
            self.abort()

    def resume(self) -> None:
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            self._heard_at = time.monotonic()
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and self._reply.status and not self._has_end and error is None:
            reply, self._reply = self._reply, None  # a body that lasts until the connection ends
            reply.end()
        is_stale = self._calls > 1 and not self._has_bytes and time.monotonic() - self._began_at < STALE_S
        told = f"the connection broke off{f': {error}' if error else ''}"
        self._close(TransportError(told, may_be_billed=not is_stale, is_stale=is_stale))

    def abort(self, error: TransportError | None = None) -> None:
        if not self._is_closed:
            self._transport.abort()
        self._close(error or TransportError("the call was cancelled", may_be_billed=True))

    def _close(self, error: TransportError) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wire.lost(self)
        if self._reply is not None:
            reply, self._reply = self._reply, None
            reply.end(error)


def _inflation(encoding: str) -> Any:
    """What undoes a content encoding that nobody asked for, but some servers and caches between use all the same.

    Raises `ValueError`.
    """
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=47)  # either header, gzip's or zlib's
    raise ValueError(f"it is compressed by {encoding!r}, which was not asked for")


@lru_cache(maxsize=256)
def _parts(url: str) -> tuple[tuple[str, str, int], str, str]:
    """((scheme, host, port), target, value of the header `host`). Raises `ValueError` on what is no web address."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError(f"not a web address: {url!r}")
    port = split.port or (443 if split.scheme == "https" else 80)
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return (split.scheme, split.hostname, port), target, split.netloc.rpartition("@")[2]


@lru_cache(maxsize=1)
def _default_security() -> ssl.SSLContext:
    import certifi  # needed with TLS only

    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
