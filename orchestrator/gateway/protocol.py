"""HTTP connections that cost their peer something: heads have a size and a time, answers a reader, and open connections an end.

uvicorn's protocol bounds none of these. When a process has as many connections as it may, the one that has waited longest for a head makes room:
nobody can shut others out by opening connections and saying nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
HEAD_S = 10.0
STALLED_S = 30.0  # a client that takes nothing of its answer for so long has left
SPARE_DESCRIPTORS = 64  # for files, databases and models' servers


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `most_connections` is for the whole process."""

    most_connections: ClassVar[int] = 0
    _waiting: ClassVar[OrderedDict[GuardedProtocol, None]] = OrderedDict()  # connections without a whole head, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._is_in_head = True
        self._stalled: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._head_is_late)
        if len(self.connections) > (self.most_connections or _most_connections()):
            self._make_room()
        self._waiting[self] = None

    def _make_room(self) -> None:
        if self._waiting:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.pop(self, None)
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._late is None:  # the first bytes of a further request on the same connection
                self._late = self.loop.call_later(HEAD_S, self._head_is_late)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) + len(value) > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        self._waiting.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._is_in_head = True
        super().on_response_complete()
        if not self.transport.is_closing():
            self._waiting[self] = None

    def _head_is_late(self) -> None:
        self._late = None
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _most_connections() -> int:
    """As many as this process may have files, less what it needs itself."""
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        soft = 1_024
    GuardedProtocol.most_connections = max((soft if 0 < soft < 10**6 else 10**6) * 3 // 4 - SPARE_DESCRIPTORS, 16)
    return GuardedProtocol.most_connections
