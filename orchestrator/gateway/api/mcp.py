"""POST /mcp: the gateway as a server of the Model Context Protocol over streamable HTTP (extra `mcp`), for its keys.

Each call becomes a request of the API for the same key, so that permissions, scopes, budgets and limits are those of
everywhere. Sessions hold nothing here: any worker may serve any request.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from orchestrator.errors import ConfigError
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.inside import request_inside
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.mcp.host import MAX_RESOURCE_CHARS, NO_NOTES, Answered, HostError, OfferedPipeline, Routed, as_tool
from orchestrator.mcp.server import build_server
from orchestrator.tools.results import trimmed

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

MODEL = "auto"
READS = b"application/json, text/event-stream"


@dataclass(frozen=True, slots=True)
class _Asking:
    """Who asks, in which scope; `gone` is set when the client leaves."""

    principal: Principal
    scope: str | None
    gone: asyncio.Event


_asking: ContextVar[_Asking] = ContextVar("asking")


class GatewayHost:
    """What a key may do, by requests to the gateway itself."""

    scope = "mine"

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, question: str, quality: float | None) -> Answered:
        """POST /v1/chat/completions."""
        options = _scoped({} if quality is None else {"quality": quality})
        messages = [{"role": "user", "content": question}]
        found = await self._ask("POST", "/v1/chat/completions", _with_options(MODEL, messages, options))
        told = found.get("orchestrator") or {}
        return Answered(
            answer=found["choices"][0]["message"].get("content") or "",
            confidence=told.get("confidence") or 0.0,
            model=found.get("model") or "",
            cost_usd=told.get("cost_usd"),
            partial=False,
        )

    async def recall(self, query: str, tokens: int) -> str:
        """POST /v1/memories/search."""
        found = await self._ask("POST", "/v1/memories/search", _scoped({"query": query, "token_budget": tokens}))
        return str(found["text"]) or NO_NOTES

    async def remember(self, text: str) -> str:
        """POST /v1/memories."""
        return f"m:{(await self._ask('POST', '/v1/memories', _scoped({'text': text, 'source': 'mcp'})))['id']}"

    async def forget(self, ids: Sequence[int]) -> str:
        """DELETE /v1/memories/ID."""
        left = 0
        for id in ids:
            left = (await self._ask("DELETE", f"/v1/memories/{int(id)}", query=urlencode(_scoped({}))))["left"]
        return f"forgotten: {len(ids)}; left: {left}"

    async def route(self, question: str) -> Routed:
        """POST /v1/route."""
        options = _scoped({})
        body: JsonObject = {"query": question} | ({"options": options} if options else {})
        found = await self._ask("POST", "/v1/route", body)
        chances = {option["model"]: round(option["p_success"], 4) for option in found["options"]}
        return Routed(model=found["chosen"], reason=found["reason"], p_correct=chances)

    async def notes(self) -> str:
        """GET /v1/memories/export."""
        raw = await self._raw("GET", "/v1/memories/export", None, urlencode(_scoped({})))
        records = [orjson.loads(line) for line in raw.splitlines() if line]
        return trimmed("\n".join(f"[m:{each['id']}] {each['text']}" for each in records), MAX_RESOURCE_CHARS)

    def pipelines(self) -> Sequence[OfferedPipeline]:
        """Those that the key may run."""
        found = self._services.serving.pipelines.allowed(_asking.get().principal)
        return [as_tool(name, each) for name, each in found.items()]

    async def run(self, pipeline: str, inputs: JsonObject) -> JsonValue:
        """POST /v1/pipelines/NAME/runs."""
        return (await self._ask("POST", f"/v1/pipelines/{quote(pipeline, safe='')}/runs", {"inputs": inputs}))["output"]

    async def _ask(self, method: str, path: str, body: JsonObject | None = None, query: str = "") -> JsonObject:
        found: JsonObject = orjson.loads(await self._raw(method, path, body, query))
        return found

    async def _raw(self, method: str, path: str, body: JsonObject | None, query: str) -> bytes:
        asking, serve_inside = _asking.get(), self._services.serve_inside
        status, _, content, _ = await request_inside(
            serve_inside, asking.principal.key, method, path, body, query, asking.gone
        )
        if status >= 400:
            raise HostError(str(orjson.loads(content)["error"]["message"]))
        return content


class McpFace:
    """The protocol's own part: reads and writes its messages for as long as the gateway runs."""

    def __init__(self, services: Services) -> None:
        from mcp.server.transport_security import TransportSecuritySettings

        server = build_server(GatewayHost(services))
        # a page of another origin has no key, so a name that points here does it no good
        walls = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._app: Any = server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            transport_security=walls,
            max_request_body_size=services.settings.max_body_bytes,
        )
        self._sessions = server.session_manager
        self._is_ready = asyncio.Event()

    async def run(self) -> None:
        """Serves until it is cancelled."""
        async with self._sessions.run():
            self._is_ready.set()
            await asyncio.Event().wait()

    async def serve(self, call: ClientRequest, message: JsonObject, gone: asyncio.Event) -> None:
        """Answers one message, which is read already; `gone` is set when the client leaves before."""
        await self._is_ready.wait()
        body = orjson.dumps(message)
        known = {**call.headers, b"accept": READS, b"content-type": b"application/json"}
        headers = [
            (name, value) for name, value in known.items() if name not in (b"content-length", b"content-encoding")
        ]
        scope = {**call.scope, "path": "/mcp", "raw_path": b"/mcp", "root_path": "", "headers": headers}
        is_read = False

        async def watch() -> None:
            while (await call.receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async def receive() -> MutableMapping[str, JsonValue]:
            nonlocal is_read
            if is_read:
                await gone.wait()
                return {"type": "http.disconnect"}
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: JsonObject) -> None:
            if message["type"] == "http.response.start":
                call.status, call.started = message["status"], True
            await call.send(message)

        watching = asyncio.create_task(watch())
        try:
            await self._app(scope, receive, send)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def serve(services: Services, call: ClientRequest, message: JsonObject) -> None:
    """The protocol's messages, for the key that they are sent with; x-orchestrator-scope says whose memory it is."""
    if services.mcp is None:
        try:
            services.mcp = McpFace(services)
        except (ImportError, ConfigError):
            raise GatewayError(
                404, "this gateway does not speak MCP: its operator can install the extra mcp", code="no_mcp"
            ) from None
        services.in_background(services.mcp.run())
    scope = call.header(b"x-orchestrator-scope")
    call.principal.scope(scope)
    gone = asyncio.Event()
    token = _asking.set(_Asking(call.principal, scope, gone))
    try:
        await services.mcp.serve(call, message, gone)
    finally:
        _asking.reset(token)


def _scoped(fields: JsonObject) -> JsonObject:
    """Fields of a request, with the scope that the client named."""
    scope = _asking.get().scope
    return fields if scope is None else {**fields, "scope": scope}


def _with_options(model: str, messages: list[JsonObject], options: JsonObject) -> JsonObject:
    body: JsonObject = {"model": model, "messages": messages}
    return body | ({"orchestrator": options} if options else {})


ENDPOINTS = (
    Endpoint(
        "POST",
        "/mcp",
        serve,
        "The Model Context Protocol over streamable HTTP: answer, recall, remember, forget, route, pipelines",
        "inference",
        body="McpMessage",
        answer="McpMessage",
        may_accept=True,
    ),
)
