"""HTTP connections that cost their peer something.

Heads have a size and a time, answers a reader, and open connections an end.

uvicorn's protocol bounds none of these. When a process has as many connections as it may, the one that has waited
longest for a head makes room: nobody can shut others out by opening connections and saying nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
BODY_WITH_HEAD_BYTES = 262_144  # that may come in the same read as the end of a head
HEAD_S = 10.0
STALLED_S = 30.0  # a client that takes nothing of its answer for so long has left
SPARE_DESCRIPTORS = 64  # for files, databases and models' servers


# A wish for HTTP/2 (curl --http2, Java's client) that is not granted: the parser would take what follows for another
# protocol, and lose the body.
_H2C = re.compile(rb"(\r\n)upgrade:(?=[^\r]*\bh2c)", re.IGNORECASE)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `most_connections` is for the whole process."""

    most_connections: ClassVar[int] = 0
    _waiting: ClassVar[OrderedDict[GuardedProtocol, None]] = (
        OrderedDict()
    )  # connections without a whole head, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_since: float | None = (
            self.loop.time()
        )  # when a head began that is not whole; `None` while none is under way
        self._stalled: asyncio.TimerHandle | None = None
        self._look_later: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._look)
        if len(self.connections) > (self.most_connections or _most_connections()):
            self._make_room()
        self._waiting[self] = None

    def _make_room(self) -> None:
        if self._waiting:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has gone."""
        self._waiting.pop(self, None)
        for timer in (self._look_later, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come; a head that grows beyond its bound ends the connection."""
        if self in self._waiting:
            self._head_bytes += len(data)
            if self._head_since is None:  # the first bytes of a further request on the same connection
                self._head_since = self.loop.time()
                if self._look_later is None:
                    self._look_later = self.loop.call_later(HEAD_S, self._look)
            if b"pgrade" in data:
                data = _H2C.sub(rb"\1x-passed-over:", data, count=1)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """The head is whole; one that is too large is refused."""
        self._waiting.pop(self, None)
        is_large, self._head_bytes, self._head_since = self._head_bytes > MAX_HEAD_BYTES + BODY_WITH_HEAD_BYTES, 0, None
        if is_large:
            self._refuse(b"431 Request Header Fields Too Large")
        elif not self.transport.is_closing():
            super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer is out; the next head is waited for."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._waiting[self] = None

    def _look(self) -> None:
        """The timer: one for many requests, so that a request costs none.

        It looks whether a head is late, and sleeps again until it is.
        """
        self._look_later = None
        if self._head_since is None or self.transport.is_closing():
            return
        left_s = self._head_since + HEAD_S - self.loop.time()
        if left_s <= 0:
            self._refuse(b"408 Request Timeout")
        else:
            self._look_later = self.loop.call_later(left_s, self._look)

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read: after a while the connection is ended."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _most_connections() -> int:
    """As many as this process may have files, less what it needs itself."""
    try:
        import resource  # not on Windows

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        soft = 1_024
    GuardedProtocol.most_connections = max((soft if 0 < soft < 10**6 else 10**6) * 3 // 4 - SPARE_DESCRIPTORS, 16)
    return GuardedProtocol.most_connections
