"""A real gateway on a real socket, in front of a real HTTP server that plays an OpenAI-compatible provider as told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml

from orchestrator.gateway.app import Gateway, build
from orchestrator.gateway.http.connection_limits import GuardedProtocol
from orchestrator.storage.account_types import NewKey
from orchestrator.storage.accounts import Accounts

Send = Callable[[dict[str, Any]], Any]


@dataclass
class Provider:
    """Answers every request by `play`.

    `bodies` are the requests it got, `cancelled` counts streams whose reader left.
    """

    play: Callable[[dict[str, Any], Send], Any]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    cancelled: int = 0
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        raw = await read_body(receive)
        body = json.loads(raw) if raw else {}
        self.bodies.append(body)
        self.paths.append(scope["path"])
        self.headers.append(dict(scope["headers"]))
        playing = asyncio.ensure_future(self.play(body, send))
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait((playing, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not playing.done():
            self.cancelled += 1
            playing.cancel()
        else:
            playing.result()


async def read_body(receive: Any) -> bytes:
    """The whole body of an ASGI request."""
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body"):
            return raw


async def reply(send: Send, status: int, body: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json"), *headers]}
    )
    await send({"type": "http.response.body", "body": content})


async def begin_stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})


async def chunk(send: Send, content: Any, *, more: bool = True) -> None:
    raw = content if isinstance(content, bytes) else b"data: " + json.dumps(content).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": raw, "more_body": more})


def delta(content: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "upstream",
        "choices": [choice],
        "usage": None,
    }


def completion(text: str | None = "Paris", *, prompt: int = 20, output: int = 10, **message: Any) -> dict[str, Any]:
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream",
        "choices": [choice],
        "usage": usage,
    }


async def usual(body: dict[str, Any], send: Send) -> None:
    """A well-behaved model: says "Paris", calls the first tool it is offered, or embeds."""
    if "input" in body:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": [0.1, 0.2]} for i in range(len(texts))]
        await reply(
            send, 200, {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        )
        return
    if "prompt" in body:
        choice = {"index": 0, "text": "Paris", "logprobs": None, "finish_reason": "stop"}
        await reply(
            send, 200, {"id": "c1", "object": "text_completion", "created": 1, "model": "upstream", "choices": [choice]}
        )
        return
    tool = body["tools"][0]["function"]["name"] if body.get("tools") else None
    wants_json = (body.get("response_format") or {}).get("type", "text") != "text" or "JSON Schema" in json.dumps(
        body["messages"]
    )
    text = '{"city": "Paris"}' if wants_json else "Paris"
    if not body.get("stream"):
        calls = [{"id": "call_1", "type": "function", "function": {"name": tool, "arguments": '{"city": "Paris"}'}}]
        await reply(send, 200, completion(None, tool_calls=calls) if tool else completion(text))
        return
    await begin_stream(send)
    await chunk(send, delta({"role": "assistant", "content": ""}))
    if tool:
        await chunk(
            send,
            delta(
                {
                    "tool_calls": [
                        {"index": 0, "id": "call_1", "type": "function", "function": {"name": tool, "arguments": ""}}
                    ]
                }
            ),
        )
        for piece in ('{"city":', ' "Paris"}'):
            await chunk(send, delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    else:
        for piece in (text[:2], text[2:]):
            await chunk(send, delta({"content": piece}))
    await chunk(send, delta({}, "tool_calls" if tool else "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        await chunk(
            send,
            {
                "id": "c1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "upstream",
                "choices": [],
                "usage": usage,
            },
        )
    await chunk(send, b"data: [DONE]\n\n", more=False)


@contextmanager
def served(app: Any, *, lifespan: str = "off", http: Any = "httptools") -> Iterator[str]:
    """Serves an application from a thread while the block runs; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        settings = uvicorn.Config(
            app, log_level="error", lifespan=lifespan, access_log=False, ws="none", http=http, proxy_headers=False
        )  # type: ignore[arg-type]
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)


@dataclass
class Running:
    """A gateway that serves at `url`; `key` asks models, `admin` manages."""

    url: str
    key: str
    admin: str
    org: str
    gateway: Gateway
    accounts: Accounts
    provider: Provider
    config: Path

    def new_key(self, **fields: Any) -> str:
        """Another key of the same organisation."""
        secret = self.accounts.add_key(
            NewKey(fields.pop("name", f"k{time.monotonic_ns()}"), fields.pop("org", self.org), **fields)
        )[1]
        self.gateway.services.keyring.forget()
        return secret

    def post(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=self._headers(key, headers), timeout=30, trust_env=False)

    def get(self, path: str, *, key: str | None = None, **params: Any) -> httpx.Response:
        return httpx.get(
            self.url + path, params=params or None, headers=self._headers(key, {}), timeout=30, trust_env=False
        )

    def send(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        return httpx.request(
            method, self.url + path, headers=self._headers(key, {}), timeout=30, trust_env=False, **options
        )

    def chat(
        self, text: str = "Where is the Louvre?", *, model: str = "small", key: str | None = None, **fields: Any
    ) -> httpx.Response:
        headers = fields.pop("headers", {})
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(
            self.url + "/v1/chat/completions",
            json=body,
            headers=self._headers(key, headers),
            timeout=30,
            trust_env=False,
        )

    def leave_once_asked(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> None:
        """Sends a request, and hangs up without an answer when the provider has been asked for it."""
        before = len(self.provider.bodies)

        async def leave() -> None:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                posting = asyncio.create_task(
                    client.post(self.url + path, json=body, headers=self._headers(key, headers))
                )
                assert await asyncio.to_thread(settled, lambda: len(self.provider.bodies) > before)
                assert posting.cancel(), "it was answered"
                with suppress(asyncio.CancelledError):
                    await posting

        asyncio.run(leave())

    def _headers(self, key: str | None, headers: dict[str, str]) -> dict[str, str]:
        shown = {} if key == "" else {"authorization": f"Bearer {self.key if key is None else key}"}
        return {**shown, **{n.replace("_", "-"): v for n, v in headers.items()}}


def settled(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Waits until something is so that follows from a request without being part of its answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def leave_room_in_the_minute(seconds: float = 15.0) -> None:
    """Where this minute ends within `seconds`, waits for the next: limits of a minute begin anew with it."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.1)


@contextmanager
def running_gateway(
    folder: Path, play: Any = usual, *, models: dict[str, Any] | None = None, **config: Any
) -> Iterator[Running]:
    """`small` and `large` are behind one provider; `config` are further parts of the configuration."""
    provider = Provider(play)
    with served(provider) as upstream:
        provider.url = upstream
        made = {
            "small": {
                "provider": "compatible",
                "base_url": f"{upstream}/v1",
                "skill": 0.7,
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 2.0,
            },
            "large": {
                "provider": "compatible",
                "base_url": f"{upstream}/v1",
                "skill": 0.95,
                "input_usd_per_mtok": 10.0,
                "output_usd_per_mtok": 20.0,
            },
            "calculator": {"provider": "calculator"},
        }
        whole = {
            "models": made if models is None else models,
            "memory": {"path": str(folder / "memory.db")},
            "embeddings": {
                "embedder": {
                    "provider": "compatible",
                    "base_url": f"{upstream}/v1",
                    "model": "e",
                    "input_usd_per_mtok": 0.1,
                }
            },
            **config,
        }
        whole["gateway"] = {"database": str(folder / "gateway.db"), **config.get("gateway", {})}
        path = folder / "orchestrator.yaml"
        path.write_text(yaml.safe_dump(whole))
        gateway = build(path)
        accounts = gateway.services.accounts
        org = accounts.add_org("acme")
        key = accounts.add_key(NewKey("first", org.id))[1]
        admin = accounts.add_key(NewKey("admin", None, permissions=("admin",)))[1]
        with served(gateway, lifespan="on", http=GuardedProtocol) as url:
            yield Running(url, key, admin, org.id, gateway, accounts, provider, path)
