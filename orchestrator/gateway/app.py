"""The gateway as an ASGI application.

Finds the operation, the caller and the limits, and turns every failure into an answer.

Plain ASGI: the path of a request that is passed through holds no framework, no database and no model of its body but a
compiled schema.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import orjson

from orchestrator.backends.http.replicas import call_priority, endpoints_allowed
from orchestrator.config.models import Config, load_config
from orchestrator.dashboard.app import Dashboard
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import StorageError
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api import openapi
from orchestrator.gateway.api.auditing import is_audited, note_action
from orchestrator.gateway.api.dashboard_host import GatewayDashboardHost
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.endpoints import ENDPOINTS
from orchestrator.gateway.api.nulls import takes_nulls, without_nulls
from orchestrator.gateway.api.services import Services
from orchestrator.gateway.api.validators import may_be_absent
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.canonical_request import (
    answer_preflight,
    cors_headers,
    is_preflight,
    nearest_path,
    unpacked_body,
    usual_path,
    without_body,
)
from orchestrator.gateway.http.error_mapping import to_gateway_error
from orchestrator.gateway.http.request import Gone, Receive, Scope, Send, parse_json
from orchestrator.jsontypes import JsonValue
from orchestrator.storage.database import Database

FLUSH_S, BOOK_S, LOOK_S, BURY_S, TIDY_S = 0.25, 0.5, 1.0, 5.0, 3_600.0
CLIENT_GONE = 499
SUBSET_HEADER = b"x-gateway-destination-endpoint-subset"  # of the Gateway API inference extension, proposal 004
BODY_LOOK_S = 0.5
SMALL_BODY_BYTES = 16_384  # as many of them as may be under way are no trouble
QUICK_BYTES = 65_536  # a larger body is read in a thread
BODIES_IN_MEMORY = 16  # as many of the largest size
log = logging.getLogger(__name__)
T = TypeVar("T")


def _note_placement(call: ClientRequest, priorities: Mapping[str, int]) -> None:
    """What holds for every call of a model that this request makes: where it may go, and how urgent it is there."""
    hint = call.header(SUBSET_HEADER)
    if hint:
        endpoints_allowed.set(frozenset(filter(None, (part.strip() for part in hint.split(",")))))
    if priorities:
        principal = call.principal
        names = (principal.key, principal.name, principal.team or "", principal.org)
        call_priority.set(next((priorities[name] for name in names if name in priorities), 0))


class Gateway:
    """Serves one configuration.

    `reload` brings the next one; `is_shared` says that other processes use the same database.
    """

    def __init__(
        self,
        config: Config,
        engine: Orchestrator,
        *,
        database: Database | None = None,
        is_shared: bool = False,
        load: Callable[[], tuple[Config, Orchestrator]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.services = Services(
            config,
            engine,
            database=database,
            is_shared=is_shared,
            load=load,
            clock=clock,
            serve_inside=self.serve_inside,
            openapi=_described,
        )
        self._host: GatewayDashboardHost | None = None
        self._pages: Dashboard | None = None  # made when a page is first asked for
        self._exact = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS if "{" not in endpoint.path}
        self._known_paths = [*{endpoint.path for endpoint in ENDPOINTS if "{" not in endpoint.path}]
        self._patterns = [(_pattern(endpoint.path), endpoint) for endpoint in ENDPOINTS if "{" in endpoint.path]

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or start and end with the server (ASGI)."""
        if scope["type"] == "http":
            if Dashboard.serves(scope["path"]):
                await self._dashboard(scope, receive, send)
            else:
                await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _dashboard(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pages is None:
            try:
                host = await asyncio.to_thread(GatewayDashboardHost, self.services)
            except StorageError as error:
                log.error("the dashboard cannot be shown: %s", error)
                told = "the database of this gateway does not answer, or is being migrated"
                problem = GatewayError(503, told, code="storage", retry_after_s=2.0)
                await self._refuse(ClientRequest(scope, receive, send), None, problem, scope, receive, send)
                return
            if self._pages is None:  # another request may have been faster
                self._host, self._pages = host, Dashboard(host)
        await self._pages(scope, receive, send)

    async def serve_inside(self, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        """A request that the gateway makes for the owner of a key.

        It passes every check and limit but that of the secret.
        """
        await self._serve(scope, receive, send, key)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, inside_key: str | None = None) -> None:
        endpoint, call, problem, taken = None, None, None, None
        self.services.in_flight += 1
        try:
            call = ClientRequest(scope, receive, send)
            self.services.running.add(call)
            if (
                call.method == "OPTIONS"
                and is_preflight(scope)
                and (allowed := cors_headers(scope, self.services.settings.cors))
            ):
                await answer_preflight(scope, send, allowed)
                call.status = 204
                return
            if b"origin" in call.headers and self.services.settings.cors:
                call.more_headers = cors_headers(scope, self.services.settings.cors)
            if call.method == "HEAD":
                call.method, call.send = "GET", without_body(send)
            if (call.method, call.path) not in self._exact:
                call.path, call.named_model = usual_path(call.path)
            if b"host" not in call.headers and scope.get("http_version") == "1.1" and inside_key is None:
                raise GatewayError(400, "an HTTP/1.1 request names its host", code="missing_host")
            endpoint = self._exact.get((call.method, call.path)) or self._find(call)
            if endpoint.permission is not None:
                if self.services.in_flight > self.services.settings.max_in_flight:
                    raise GatewayError(503, "too many requests are under way", code="overloaded", retry_after_s=1.0)
                if inside_key is not None:
                    call.principal = await self.services.keyring.owner(inside_key)
                else:
                    shown = _secrets(call)
                    call.principal = await (
                        self._caller(shown)
                        if len(shown) > 1
                        else self.services.keyring.principal(shown[0] if shown else None)
                    )
                if not call.principal.may(endpoint.permission):
                    raise GatewayError(
                        403,
                        f"this key has no permission {endpoint.permission!r}",
                        code="permission_denied",
                        should_retry=False,
                    )
                _note_placement(call, self.services.settings.priorities)
            taken = await self._input(call, endpoint)
            await endpoint.handler(self.services, call, taken)
        except Gone:
            if call is not None:
                call.status = CLIENT_GONE
        except TimeoutError:
            problem = GatewayError(
                503, "the database of this gateway does not answer", code="storage", retry_after_s=2.0
            )
            await self._refuse(call, endpoint, problem, scope, receive, send)
        except Exception as error:
            problem = to_gateway_error(error)
            if problem is None:
                log.exception("a request failed", extra={"request": call.id if call else ""})
                problem = GatewayError(
                    500, "an error of the gateway; its operator can look for the request id", code="internal"
                )
            elif problem.status >= 500:
                log.warning("%s", error, extra={"request": call.id if call else ""})
            await self._refuse(call, endpoint, problem, scope, receive, send)
        finally:
            self.services.in_flight -= 1
            if call is not None:
                self.services.running.discard(call)
                if endpoint is not None and is_audited(endpoint):
                    await note_action(self.services, call, endpoint, taken)
            if call is not None and call.held_bytes:
                self.services.shares.give_back(call.principal.org, call.held_bytes)
            if call is not None and call.tab is not None:
                self._record(call, call.tab, problem)

    async def _caller(self, shown: list[str]) -> Principal:
        """Whose keys these are.

        Some clients send two, and one of them is a placeholder: the first that is known counts.
        """
        for secret in shown[:-1]:
            with contextlib.suppress(GatewayError):
                return await self.services.keyring.principal(secret)
        return await self.services.keyring.principal(shown[-1])

    def _record(self, call: ClientRequest, tab: RequestAccount, problem: GatewayError | None) -> None:
        facts = call.facts
        why = (
            (problem.code or problem.kind)
            if problem
            else "client_gone"
            if call.status == CLIENT_GONE
            else facts.failed
            if facts
            else ""
        )
        trace = facts.as_trace() if facts else {}
        if b"traceparent" in call.headers:
            trace["traceparent"] = call.traceparent
        served = tab.close(call.status, why, trace)
        if facts is not None:
            facts.describe(served)
        self.services.recorder.add(served)

    def _find(self, call: ClientRequest) -> Endpoint:
        allowed = {method for method, path in self._exact if path == call.path}
        for pattern, endpoint in () if allowed else self._patterns:
            found = pattern.fullmatch(call.path)
            if found is not None:
                if endpoint.method == call.method:
                    call.params = found.groupdict()
                    return endpoint
                allowed.add(endpoint.method)
        if allowed:
            allow = ", ".join(sorted(allowed)).encode()
            raise GatewayError(
                405,
                f"{call.method} is not for {call.path}: {allow.decode()}",
                code="method_not_allowed",
                headers=((b"allow", allow),),
            )
        near = nearest_path(call.path, self._known_paths)
        told = f" Did you mean {near}?" if near else ""
        raise GatewayError(404, f"there is nothing at {call.path[:200]}.{told} See /openapi.json", code="not_found")

    async def _input(self, call: ClientRequest, endpoint: Endpoint) -> JsonValue:
        """The body, checked; or the parameters of the address, where there is no body."""
        for name, schema in endpoint.path_schemas:
            self.services.validators.in_path(schema, call.params[name])
        query = {}
        if endpoint.params or (not endpoint.body and call.scope["query_string"]):
            query = self.services.validators.parameters(endpoint.params, call.query())
        if not endpoint.body or endpoint.body_type != "application/json":
            return query
        content_type = call.headers.get(b"content-type", b"application/json")
        if not content_type.startswith(b"application/json"):
            raise GatewayError(
                400,
                f"the body must be application/json, not {content_type.decode('latin-1')[:100]}",
                code="invalid_content_type",
            )
        body = await self.services.bodies.read(call)
        encoding = call.headers.get(b"content-encoding")
        if encoding is not None:
            limit, named = self.services.settings.max_body_bytes, encoding.decode("latin-1").strip().lower()
            body = await asyncio.to_thread(unpacked_body, body, named, limit)
            self.services.shares.take(call.principal.org, len(body), limit)
            call.held_bytes += len(body)
        if len(body) <= QUICK_BYTES:
            return self._parsed(body, endpoint, call)
        return await asyncio.to_thread(self._parsed, body, endpoint, call)

    def _parsed(self, body: bytes, endpoint: Endpoint, call: ClientRequest) -> JsonValue:
        is_left_out = not body and may_be_absent(endpoint.body)
        parsed = {} if is_left_out else parse_json(body.removeprefix(b"\xef\xbb\xbf"))
        if call.named_model and isinstance(parsed, dict):
            parsed.setdefault("model", call.named_model)
        if b"null" in body and takes_nulls(endpoint):
            parsed = without_nulls(parsed)
        self.services.validators.check(endpoint.body, parsed)
        return parsed

    async def _refuse(
        self,
        call: ClientRequest | None,
        endpoint: Endpoint | None,
        problem: GatewayError,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if call is None:  # its head was refused
            call = ClientRequest({**scope, "headers": []}, receive, send)
        if call.started:
            # Half an answer is out: the server closes the connection without the end mark, so that nobody takes it for
            # whole
            return
        is_anthropic = endpoint.dialect == "anthropic" if endpoint is not None else call.path.startswith("/v1/messages")
        if is_anthropic:
            await call.reply_json(problem.as_anthropic(call.id), problem.status, problem.headers())
        else:
            await call.reply_json(problem.as_openai(), problem.status, problem.headers())

    # Life

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.services.start()
        except Exception as error:
            log.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._host is not None:
            self._host.close()
        await self.services.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _described() -> bytes:
    """The OpenAPI document."""
    return orjson.dumps(openapi.document(ENDPOINTS))


def _secrets(call: ClientRequest) -> list[str]:
    """The keys that a request shows, as its client's dialect does.

    A bearer (OpenAI's), x-api-key (Anthropic's), api-key (Azure's).
    """
    found = []
    bearer = call.header(b"authorization")
    if bearer is not None:
        scheme, _, secret = bearer.partition(" ")
        found += [secret.strip()] if scheme.lower() == "bearer" else []
    return [*found, *(named for name in (b"x-api-key", b"api-key") if (named := call.header(name)))]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", _segment, re.escape(path)))


def _segment(name: re.Match[str]) -> str:
    """A name in braces stands for one segment; names of models have slashes in them."""
    return f"(?P<{name[1]}>.+)" if name[1] == "model" else f"(?P<{name[1]}>[^/]+)"


def build(config: Config | str | Path, *, is_shared: bool = False) -> Gateway:
    """The gateway of a configuration, or of the file that holds one. Raises `ConfigError`, `StorageError`."""

    def load() -> tuple[Config, Orchestrator]:
        parsed = config if isinstance(config, Config) else load_config(config)
        return parsed, Orchestrator.from_config(parsed)

    parsed, engine = load()
    return Gateway(parsed, engine, is_shared=is_shared, load=None if isinstance(config, Config) else load)
