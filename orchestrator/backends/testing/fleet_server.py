"""Simulated or recorded models behind a real OpenAI-compatible HTTP server (plain ASGI on uvicorn), so that the socket
is exercised too.

    GET /health   GET /v1/models   POST /v1/chat/completions (JSON or SSE)

Every answer of a simulated model carries `"simulated": true` and the header `x-orchestrator-simulated: true`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

from orchestrator.backends.testing.simulated import SimulatedReply, question_key
from orchestrator.errors import BackendRejected
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import TOKENS_PER_MESSAGE, estimate_message

MAX_REQUEST_BYTES = 20_000_000
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ServedModel(Protocol):
    """What the server needs of a model."""

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model."""

    def reply(self, question: str, prefill_tokens: int, draw: int = 0) -> SimulatedReply:
        """What the model says to a question; `draw` tells repeated samples apart."""


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FleetApp:
    """The ASGI application. `time_scale` multiplies every latency: 0 answers at once."""

    def __init__(self, models: Iterable[ServedModel], *, time_scale: float = 1.0) -> None:
        self._models = {model.profile.name: model for model in models}
        self._time_scale = time_scale

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except _Refused as error:
            kind = "invalid_request_error" if error.status < 500 else "server_error"
            await _send_json(
                send, error.status, {"error": {"message": str(error), "type": kind, "param": None, "code": None}}
            )

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = (scope["method"], scope["path"])
        if route == ("GET", "/health"):
            await _send_json(send, 200, {"status": "ok"})
        elif route == ("GET", "/v1/models"):
            listed = [
                {"id": name, "object": "model", "created": 0, "owned_by": "orchestrator"} for name in self._models
            ]
            await _send_json(send, 200, {"object": "list", "data": listed})
        elif route == ("POST", "/v1/chat/completions"):
            await self._chat(await _read_json(receive), send)
        else:
            raise _Refused(404, f"no such endpoint: {scope['method']} {scope['path']}")

    async def _chat(self, body: JsonValue, send: Send) -> None:
        model, question, prompt_tokens = self._parse(body)
        try:
            reply = model.reply(question, prompt_tokens, int(body.get("seed") or 0))
        except BackendRejected as error:
            raise _Refused(error.status or 400, error.message) from None
        if body.get("stream"):
            usage_wanted = bool((body.get("stream_options") or {}).get("include_usage"))
            await self._stream(model.profile.name, reply, send, include_usage=usage_wanted)
            return
        await self._wait(reply.ttft_s + reply.decode_s)
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.calls:
            message |= {"content": reply.text or None, "tool_calls": list(reply.calls)}
        payload = self._envelope("chat.completion", model.profile.name, reply)
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
        payload["choices"], payload["usage"] = [choice], _usage(reply)
        await _send_json(send, 200, payload, simulated=reply.simulated)

    def _parse(self, body: JsonValue) -> tuple[ServedModel, str, int]:
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
            raise _Refused(400, "the body must be a JSON object with a non-empty list of messages")
        model = self._models.get(str(body.get("model")))
        if model is None:
            raise _Refused(404, f"unknown model {body.get('model')!r}; this server has: {', '.join(self._models)}")
        messages = [m for m in body["messages"] if isinstance(m, dict) and isinstance(m.get("content"), str)]
        users: list[str] = [m["content"] for m in messages if m.get("role") == "user"]
        if not users:
            raise _Refused(400, "there is no user message with text")
        return (
            model,
            question_key(users[-1], body.get("tools") or ()),
            sum(estimate_message(m["content"]) + TOKENS_PER_MESSAGE for m in messages),
        )

    async def _stream(self, name: str, reply: SimulatedReply, send: Send, *, include_usage: bool) -> None:
        await self._wait(reply.ttft_s)
        await send(
            {"type": "http.response.start", "status": 200, "headers": _headers("text/event-stream", reply.simulated)}
        )
        envelope = self._envelope("chat.completion.chunk", name, reply)
        pieces = [reply.text[i : i + 24] for i in range(0, len(reply.text), 24)] or [""]
        for index, piece in enumerate(pieces):
            delta = {"role": "assistant", "content": piece} if index == 0 else {"content": piece}
            await _send_event(send, envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            await self._wait(reply.decode_s / len(pieces))
        if reply.calls:
            called = {"tool_calls": [{**call, "index": number} for number, call in enumerate(reply.calls)]}
            await _send_event(send, envelope | {"choices": [{"index": 0, "delta": called, "finish_reason": None}]})
        await _send_event(send, envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]})
        if include_usage:
            await _send_event(send, envelope | {"choices": [], "usage": _usage(reply)})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    def _envelope(self, kind: str, name: str, reply: SimulatedReply) -> JsonObject:
        envelope: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
            "object": kind,
            "created": int(time.time()),
            "model": name,
        }
        return envelope | ({"simulated": True} if reply.simulated else {})

    async def _wait(self, seconds: float) -> None:
        if seconds * self._time_scale > 0:
            await asyncio.sleep(seconds * self._time_scale)


@contextmanager
def running_server(app: Callable[..., object], *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serves `app` from a thread of this process while the block runs; yields the base URL that ends in `/v1`."""
    import uvicorn  # heavy

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        address = listener.getsockname()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="fleet-server")
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://{address[0]}:{address[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(timeout=5)


def serve(app: FleetApp, *, host: str, port: int) -> None:
    """Serves until interrupted."""
    import uvicorn  # heavy

    uvicorn.run(app, host=host, port=port, log_level="warning", lifespan="off", access_log=False, ws="none")


async def _read_json(receive: Receive) -> JsonValue:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "the client went away")
        body += message.get("body", b"")
        more = bool(message.get("more_body"))
        if len(body) > MAX_REQUEST_BYTES:
            raise _Refused(413, f"the request is larger than {MAX_REQUEST_BYTES:,} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "the body is not JSON") from None


async def _send_json(send: Send, status: int, payload: JsonObject, *, simulated: bool = False) -> None:
    body = json.dumps(payload).encode()
    headers = [*_headers("application/json", simulated), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_event(send: Send, payload: JsonObject) -> None:
    await send(
        {"type": "http.response.body", "body": b"data: " + json.dumps(payload).encode() + b"\n\n", "more_body": True}
    )


def _headers(content_type: str, simulated: bool) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", content_type.encode())]
    return [*headers, (b"x-orchestrator-simulated", b"true")] if simulated else headers


def _finish(reply: SimulatedReply) -> str:
    return "tool_calls" if reply.calls else "stop"


def _usage(reply: SimulatedReply) -> dict[str, int]:
    total = reply.prefill_tokens + reply.output_tokens
    return {"prompt_tokens": reply.prefill_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total}
