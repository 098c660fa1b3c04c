"""Requests that the gateway makes to itself for the owner of a key: every check and limit but that of the secret."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from orchestrator.gateway.http.request import Receive, Scope, Send
from orchestrator.jsontypes import JsonObject, JsonValue

ServeInside = Callable[[Scope, Receive, Send, str], Awaitable[None]]
"""Serves a request (an ASGI scope, receive, send) for the owner of a key, by its id.

Every check and limit but that of the secret applies.
"""


async def request_inside(
    serve_inside: ServeInside,
    key: str,
    method: str,
    path: str,
    body: JsonObject | None = None,
    query: str = "",
    gone: asyncio.Event | None = None,
) -> tuple[int, dict[bytes, bytes], bytes, str]:
    """A request of a key's owner from inside: (status, headers, body, id).

    It goes through all checks and limits of that key, and is cut off once its client has `gone`.
    """
    found: dict[str, Any] = {"status": 500, "headers": {}, "body": b""}
    sent = False
    content = b"" if body is None else orjson.dumps(body)
    ended = asyncio.Event() if gone is None else gone

    async def receive() -> JsonObject:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: JsonValue) -> None:
        if message["type"] == "http.response.start":
            found["status"], found["headers"] = message["status"], dict(message["headers"])
        else:
            found["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"content-type", b"application/json")],
    }
    await serve_inside(scope, receive, send, key)
    if gone is None:
        ended.set()
    return found["status"], found["headers"], found["body"], found["headers"].get(b"x-request-id", b"").decode()
