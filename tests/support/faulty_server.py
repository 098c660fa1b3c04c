"""A real HTTP server on loopback that misbehaves as told.

Each connection plays the next script of its list, the last one again and again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

Script = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


class FaultyServer:
    """`url` ends in /v1.

    `requests` are the bodies it was sent, in order, and `heads` what came before them, in small letters.
    """

    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = scripts
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            self.heads.append(head)
            length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
            self.requests.append(json.loads(await reader.readexactly(length) or b"{}"))
            await self._scripts[min(len(self.requests), len(self._scripts)) - 1](writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@contextmanager
def faulty_server(*scripts: Script) -> Iterator[FaultyServer]:
    server = FaultyServer(list(scripts))
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()

    async def serve() -> None:
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await done.wait()
        listening.close()
        handlers = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(5)


def reply(status: int = 200, body: bytes | dict[str, Any] = b"", *headers: str, claim_bytes: int = 0) -> Script:
    """A whole response; `claim_bytes` announces that many bytes more than are sent."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body

    async def script(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(content) + claim_bytes}", "connection: close", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()

    return script


def stream(*events: bytes, head: str = "") -> Script:
    """Server-sent events, and then the connection closes, whether or not the last event was the end."""

    async def script(writer: asyncio.StreamWriter) -> None:
        more = f"{head}\r\n" if head else ""
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n{more}\r\n".encode())
        for event in events:
            writer.write(event)
            await writer.drain()

    return script


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Nothing at all: the connection closes without a byte."""


async def silence(writer: asyncio.StreamWriter) -> None:
    """Nothing at all: the connection stays open without a byte."""
    await asyncio.sleep(60)


def completion(text: str = "The answer is 4", usage: dict[str, Any] | None = None) -> dict[str, Any]:
    """A well-formed chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    reported = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15} if usage is None else usage
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": reported}


def chunk(text: str | None = None, *, finish: str | None = None, usage: dict[str, Any] | None = None) -> bytes:
    """One chunk of a streamed chat completion."""
    event: dict[str, Any] = {"object": "chat.completion.chunk", "choices": []}
    if text is not None or finish is not None:
        event["choices"] = [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}]
    if usage is not None:
        event["usage"] = usage
    return b"data: " + json.dumps(event).encode() + b"\n\n"


END = b"data: [DONE]\n\n"
