"""An endpoint that streams answers, with FastAPI: `uvicorn fastapi_stream:app`, then POST {"question": "..."} to /ask.

With OPENAI_API_KEY set it asks a real model; without, it calculates. Run as a program it asks itself once.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from orchestrator import InvalidQuery, Orchestrator, OrchestratorError, Query


class Question(BaseModel):
    """What the endpoint takes."""

    question: str
    user: str = "guest"


fleet = Orchestrator("openai/gpt-5-mini" if os.environ.get("OPENAI_API_KEY") else "calculator", budget=0.02)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    async with fleet:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/ask")
async def ask(asked: Question) -> StreamingResponse:
    try:
        query = Query.parse(asked.question, scope=f"web/{asked.user}")
    except InvalidQuery as error:
        raise HTTPException(422, f"{error.message}. {error.remedy}") from error

    async def text() -> AsyncIterator[str]:
        async with fleet.stream_text(query) as pieces:  # a client that leaves cancels what is under way
            try:
                async for piece in pieces:
                    yield piece
            except OrchestratorError as error:  # the status has been sent: say it in words
                yield f"[{error.message}]"

    return StreamingResponse(text(), media_type="text/plain")


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for question in ("What is 15% of 4,740?", " "):
            async with client.stream("POST", "/ask", json={"question": question}) as reply:
                print(reply.status_code, "".join([piece async for piece in reply.aiter_text()]))
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
