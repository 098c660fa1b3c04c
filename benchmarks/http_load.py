"""A load generator and a mock upstream on bare asyncio protocols.

As little of the processor as Python allows, so that it goes to what is measured.

The upstream answers any POST with a chat completion of 1 KB, or with a stream of 50 chunks when the body asks for one.
It is a mock: no model.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

CHUNKS = 50
_TEXT = "The quick brown fox jumps over the lazy dog and thinks about it. " * 10


def completion_bytes() -> bytes:
    """A whole response with a body of about 1 KB."""
    message = {"role": "assistant", "content": _TEXT}
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "mock",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 30, "completion_tokens": 160, "total_tokens": 190},
        },
        separators=(",", ":"),
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def stream_chunks(count: int = CHUNKS) -> list[bytes]:
    """The chunks of one stream, each with its chunked framing; the last one holds the usage and the end mark."""
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock"}
    events = [
        envelope | {"choices": [{"index": 0, "delta": {"content": f"word{i} "}, "finish_reason": None}], "usage": None}
        for i in range(count)
    ]
    events[-1]["choices"] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    usage = envelope | {
        "choices": [],
        "usage": {"prompt_tokens": 30, "completion_tokens": count, "total_tokens": 30 + count},
    }
    lines = [b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n" for event in events]
    lines.append(b"data: " + json.dumps(usage, separators=(",", ":")).encode() + b"\n\ndata: [DONE]\n\n")
    return [b"%x\r\n" % len(line) + line + b"\r\n" for line in lines]


class Upstream(asyncio.Protocol):
    """One connection of the mock. `gap_s` is the time between the chunks of a stream."""

    whole = completion_bytes()
    chunks = stream_chunks()
    gap_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : (head + b"\r\n").index(b"\r\n", at)]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' in body or b'"stream": true' in body:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            if self.gap_s:
                self._next(0)
            else:
                for chunk in self.chunks:
                    self._transport.write(chunk)
                self._transport.write(b"0\r\n\r\n")
        else:
            self._transport.write(self.whole)

    def _next(self, index: int) -> None:
        if self._transport.is_closing():
            return
        if index == len(self.chunks):
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(self.chunks[index])
        asyncio.get_running_loop().call_later(self.gap_s, self._next, index + 1)


@dataclass
class Load:
    """What a run of requests found; times in seconds. `gaps_s` are the longest silences inside each stream."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    first_bytes_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    bytes: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3


class _Client(asyncio.Protocol):
    """One connection that sends request after request until `next_request` has no more."""

    def __init__(self, load: Load, next_request: Callable[[], bytes | None], done: Callable[[], None]) -> None:
        self._load, self._next_request, self._done = load, next_request, done
        self._buffer = bytearray()
        self._is_chunked: bool | None = None
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        request = self._next_request()
        if request is None:
            self._transport.close()
            self._done()
            return
        self._buffer.clear()
        self._is_chunked = None
        self._began = self._last = time.perf_counter()
        self._first = self._gap = 0.0
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._first:
            self._gap = max(self._gap, now - self._last)
        else:
            self._first = now - self._began
        self._last = now
        self._load.bytes += len(data)
        if self._is_chunked is None:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            status = int(head[9:12])
            self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
            at = head.find(b"content-length:")
            self._is_chunked = at < 0
            self._length = 0 if at < 0 else end + 4 + int(head[at + 15 : (head + b"\r\n").index(b"\r\n", at)])
        else:
            self._buffer += data
        if self._is_chunked:
            is_whole = self._buffer.endswith(b"0\r\n\r\n")
            del self._buffer[:-8]
        else:
            is_whole = len(self._buffer) >= self._length
        if is_whole:
            self._load.latencies_s.append(now - self._began)
            self._load.first_bytes_s.append(self._first)
            self._load.gaps_s.append(self._gap)
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._load.statuses[0] = self._load.statuses.get(0, 0) + 1
            self._done()


def request_bytes(path: str, body: bytes, *, key: str = "", port: int = 80) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    if key:
        head += f"authorization: Bearer {key}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def run_load(port: int, requests: Sequence[bytes], *, connections: int, seconds: float = 0.0, count: int = 0) -> Load:
    """Sends `requests` round robin over `connections` kept-alive connections, for some seconds or as many as
    `count`.
    """
    import uvloop

    load = Load()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        finished, left, sent = asyncio.Event(), connections, 0
        end = time.perf_counter() + seconds if seconds else float("inf")

        def next_request() -> bytes | None:
            nonlocal sent
            if (count and sent >= count) or time.perf_counter() >= end:
                return None
            sent += 1
            return requests[sent % len(requests)]

        def done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                finished.set()

        began = time.perf_counter()
        await asyncio.gather(
            *(
                loop.create_connection(lambda: _Client(load, next_request, done), "127.0.0.1", port)
                for _ in range(connections)
            )
        )
        await finished.wait()
        load.seconds = time.perf_counter() - began

    uvloop.run(run())
    return load


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(
    *command: str, core: int | Sequence[int], port: int, path: str = "/health", wait_s: float = 60.0, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server on one core (or some) and waits until it accepts connections on `port`; ended with the block."""
    cores = {core} if isinstance(core, int) else set(core)
    started = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        wait_for(port, started, wait_s)
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for(port: int, server: subprocess.Popen[bytes], wait_s: float = 60.0) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"no server on port {port} after {wait_s:.0f} s")


async def _serve(port: int, gap_s: float) -> None:
    Upstream.gap_s = gap_s
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
