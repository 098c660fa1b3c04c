"""The reference of the gateway's benchmark: the least that a relay in Starlette and aiohttp can do.

It knows no keys, limits or prices.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ.get("UPSTREAM", "")
session: aiohttp.ClientSession | None = None


async def relay(request: Request) -> Response:
    global session
    if session is None:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    body = await request.body()
    reply = await session.post(
        UPSTREAM + "/v1/chat/completions", data=body, headers={"content-type": "application/json"}
    )
    if reply.headers["content-type"].startswith("text/event-stream"):

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in reply.content.iter_any():
                yield chunk

        return StreamingResponse(chunks(), media_type="text/event-stream")
    content = await reply.read()
    return Response(content, reply.status, media_type="application/json")


app = Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])])
