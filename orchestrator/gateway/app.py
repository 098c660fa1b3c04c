"""The gateway as an ASGI application: finds the operation, the caller and the limits, and turns every failure into an answer.

Plain ASGI: the path of a request that is passed through holds no framework, no database and no model of its body but a compiled schema.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from orchestrator.backends.http.replicas import Replicas
from orchestrator.backends.http.transport_choice import close_transports
from orchestrator.budget import from_nano
from orchestrator.config.models import Config, GatewayConfig, load_config
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.gateway.accounts.grade_limits import Influence
from orchestrator.gateway.accounts.principals import Keyring, Principal
from orchestrator.gateway.accounts.quota_leases import Limiter
from orchestrator.gateway.accounts.request_account import Tab
from orchestrator.gateway.accounts.shares import Shares
from orchestrator.gateway.api import openapi
from orchestrator.gateway.api.auxiliary import AuxiliaryModels
from orchestrator.gateway.api.batches import Batches
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.endpoints import ENDPOINTS
from orchestrator.gateway.api.nulls import takes_nulls, without_nulls
from orchestrator.gateway.chat.completions import Completions
from orchestrator.gateway.chat.pipeline_models import Pipelines
from orchestrator.gateway.chat.response_cache import Cache
from orchestrator.gateway.http.canonical_request import (
    answer_preflight,
    cors_headers,
    is_preflight,
    nearest_path,
    unpacked_body,
    usual_path,
    without_body,
)
from orchestrator.gateway.http.error_mapping import Problem, problem_of
from orchestrator.gateway.http.request import STALLED_S, Call, Gone, Receive, Scope, Send, parse_json
from orchestrator.gateway.observability.metrics import Metrics
from orchestrator.gateway.observability.recorder import Recorder
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.files import Documents
from orchestrator.storage.quotas import Quotas
from orchestrator.storage.requests import Requests
from orchestrator.storage.runs import Runs

FLUSH_S, BOOK_S, LOOK_S, BURY_S, TIDY_S = 0.25, 0.5, 1.0, 5.0, 3_600.0
CLIENT_GONE = 499
BODY_LOOK_S = 0.5
SMALL_BODY_BYTES = 16_384  # as many of them as may be under way are no trouble
QUICK_BYTES = 65_536  # a larger body is read in a thread
BODIES_IN_MEMORY = 16  # as many of the largest size
log = logging.getLogger(__name__)
T = TypeVar("T")


class Serving:
    """One configuration at work: its engine, and what is built on it. It ends when the last request that began with it has ended."""

    def __init__(self, config: Config, engine: Orchestrator, runs: Runs) -> None:
        self.config = config
        self.engine = engine
        self.pipelines = Pipelines(config.pipelines, engine, runs, timeout_s=config.gateway.seconds, later=self.later)
        self.completions = Completions(
            engine, config.gateway.autos, timeout_s=config.gateway.seconds, later=self.later, pipelines=self.pipelines
        )
        self._beside: set[asyncio.Future[Any]] = set()
        self.embedders = AuxiliaryModels("embeddings", config.embeddings)
        self.rerankers = AuxiliaryModels("rerankers", config.rerankers)
        self.moderations = AuxiliaryModels("moderations", config.moderations)
        self.running = 0
        self._is_over = False

    @property
    def auxiliary_names(self) -> list[str]:
        """Models that do something beside chat."""
        return [*self.embedders.names, *self.rerankers.names, *self.moderations.names]

    def later(self, work: Awaitable[Any]) -> None:
        """Work that belongs to a request and goes on after it."""
        self.running += 1
        task = asyncio.ensure_future(self._counted(work))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _counted(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception:
            log.exception("work after a request failed")
        finally:
            await self.ended()

    async def leave(self) -> None:
        """Closes it as soon as nothing runs on it."""
        self._is_over = True
        await self._close_if_idle()

    async def ended(self) -> None:
        self.running -= 1
        if self._is_over:
            await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self.running == 0:
            await self.pipelines.aclose()
            await self.engine.aclose()


class Gateway:
    """Serves one configuration. `reload` brings the next one; `is_shared` says that other processes use the same database."""

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
        settings = config.gateway
        self.database = database or open_database(settings.database)
        self.runs = Runs(self.database, clock=clock)
        self.serving = Serving(config, engine, self.runs)
        self.accounts = Accounts(self.database, clock=clock)
        self.requests = Requests(self.database, clock=clock)
        self.documents = Documents(self.database, clock=clock)
        self.holder = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.limiter = Limiter(Quotas(self.database, self.holder, clock=clock), is_shared=is_shared, clock=clock)
        self.keyring = Keyring(self.accounts, clock=clock)
        self.metrics = Metrics(lambda: self.in_flight, lambda: from_nano(self.limiter.overrun_nano), self._replicas)
        self.recorder = Recorder(self.requests, self.metrics, access_log=settings.access_log, spans=_spans(settings, self.server_of))
        self.cache = Cache(settings.cache, engine) if settings.cache is not None else None
        self.validators = openapi.Validators()
        self.influence = Influence(clock=clock)
        self.batches = Batches(self)
        self.in_flight = 0
        self.shares = Shares(settings.max_in_flight, BODIES_IN_MEMORY * settings.max_body_bytes)
        self.is_draining = False
        self.clock = clock
        self.is_shared = is_shared
        self._load = load
        self._jobs: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._reading: dict[Call, asyncio.Task[Any] | None] = {}  # requests whose bodies come in
        self._seen: tuple[int, int] | None = None
        self._is_asked = False
        self._exact = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS if "{" not in endpoint.path}
        self._known_paths = [*{endpoint.path for endpoint in ENDPOINTS if "{" not in endpoint.path}]
        self._patterns = [(_pattern(endpoint.path), endpoint) for endpoint in ENDPOINTS if "{" in endpoint.path]

    @property
    def settings(self) -> GatewayConfig:
        return self.serving.config.gateway

    @property
    def stalled_s(self) -> float:
        """How long a client may take nothing of its answer."""
        return min(STALLED_S, self.settings.seconds)

    @property
    def engine(self) -> Orchestrator:
        return self.serving.engine

    def _replicas(self) -> dict[str, Replicas]:
        """The servers behind each model that is asked over HTTP."""
        found = ((name, getattr(backend, "upstream", None)) for name, backend in self.engine.backends.items())
        return {name: upstream.replicas for name, upstream in found if upstream is not None}

    def server_of(self, model: str) -> tuple[str, int] | None:
        """(host, port) of the server that a model is asked at; `None` where it has none, or several."""
        replicas = self._replicas().get(model)
        if replicas is None or len(replicas.all) != 1:
            return None
        split = urlsplit(replicas.all[0].base_url)
        return split.hostname or "", split.port or (443 if split.scheme == "https" else 80)

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def serve_inside(self, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        """A request that the gateway makes for the owner of a key; it passes every check and limit but that of the secret."""
        await self._serve(scope, receive, send, key)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, inside_key: str | None = None) -> None:
        endpoint, call, problem = None, None, None
        self.in_flight += 1
        try:
            call = Call(scope, receive, send)
            if call.method == "OPTIONS" and is_preflight(scope) and (allowed := cors_headers(scope, self.settings.cors)):
                await answer_preflight(scope, send, allowed)
                call.status = 204
                return
            if b"origin" in call.headers and self.settings.cors:
                call.more_headers = cors_headers(scope, self.settings.cors)
            if call.method == "HEAD":
                call.method, call.send = "GET", without_body(send)
            if (call.method, call.path) not in self._exact:
                call.path, call.named_model = usual_path(call.path)
            if b"host" not in call.headers and scope.get("http_version") == "1.1" and inside_key is None:
                raise Problem(400, "an HTTP/1.1 request names its host", code="missing_host")
            endpoint = self._exact.get((call.method, call.path)) or self._find(call)
            if endpoint.permission is not None:
                if self.in_flight > self.settings.max_in_flight:
                    raise Problem(503, "too many requests are under way", code="overloaded", retry_after_s=1.0)
                if inside_key is not None:
                    call.principal = await self.keyring.owner(inside_key)
                else:
                    shown = _secrets(call)
                    call.principal = await (self._caller(shown) if len(shown) > 1 else self.keyring.principal(shown[0] if shown else None))
                if not call.principal.may(endpoint.permission):
                    raise Problem(403, f"this key has no permission {endpoint.permission!r}", code="permission_denied", should_retry=False)
            await endpoint.handler(self, call, await self._input(call, endpoint))
        except Gone:
            if call is not None:
                call.status = CLIENT_GONE
        except TimeoutError:
            problem = Problem(503, "the database of this gateway does not answer", code="storage", retry_after_s=2.0)
            await self._refuse(call, endpoint, problem, scope, receive, send)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                log.exception("a request failed", extra={"request": call.id if call else ""})
                problem = Problem(500, "an error of the gateway; its operator can look for the request id", code="internal")
            elif problem.status >= 500:
                log.warning("%s", error, extra={"request": call.id if call else ""})
            await self._refuse(call, endpoint, problem, scope, receive, send)
        finally:
            self.in_flight -= 1
            if call is not None and call.held_bytes:
                self.shares.give_back(call.principal.org, call.held_bytes)
            if call is not None and call.tab is not None:
                self._record(call, call.tab, problem)

    async def _caller(self, shown: list[str]) -> Principal:
        """Whose keys these are. Some clients send two, and one of them is a placeholder: the first that is known counts."""
        for secret in shown[:-1]:
            with contextlib.suppress(Problem):
                return await self.keyring.principal(secret)
        return await self.keyring.principal(shown[-1])

    def _record(self, call: Call, tab: Tab, problem: Problem | None) -> None:
        facts = call.facts
        why = (problem.code or problem.kind) if problem else "client_gone" if call.status == CLIENT_GONE else facts.failed if facts else ""
        trace = facts.as_trace() if facts else {}
        if b"traceparent" in call.headers:
            trace["traceparent"] = call.traceparent
        self.recorder.add(tab.close(call.status, why, trace))

    def _find(self, call: Call) -> Endpoint:
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
            raise Problem(
                405, f"{call.method} is not for {call.path}: {allow.decode()}", code="method_not_allowed", headers=((b"allow", allow),)
            )
        near = nearest_path(call.path, self._known_paths)
        told = f" Did you mean {near}?" if near else ""
        raise Problem(404, f"there is nothing at {call.path[:200]}.{told} See /openapi.json", code="not_found")

    async def _input(self, call: Call, endpoint: Endpoint) -> Any:
        """The body, checked; or the parameters of the address, where there is no body."""
        for name, schema in endpoint.path_schemas:
            self.validators.in_path(schema, call.params[name])
        query = {}
        if endpoint.params or (not endpoint.body and call.scope["query_string"]):
            query = self.validators.parameters(endpoint.params, call.query())
        if not endpoint.body or endpoint.body_type != "application/json":
            return query
        content_type = call.headers.get(b"content-type", b"application/json")
        if not content_type.startswith(b"application/json"):
            raise Problem(
                400, f"the body must be application/json, not {content_type.decode('latin-1')[:100]}", code="invalid_content_type"
            )
        body = await self.body_of(call)
        encoding = call.headers.get(b"content-encoding")
        if encoding is not None:
            limit, named = self.settings.max_body_bytes, encoding.decode("latin-1").strip().lower()
            body = await asyncio.to_thread(unpacked_body, body, named, limit)
            self.shares.take(call.principal.org, len(body), limit)
            call.held_bytes += len(body)
        if len(body) <= QUICK_BYTES:
            return self._parsed(body, endpoint, call)
        return await asyncio.to_thread(self._parsed, body, endpoint, call)

    async def body_of(self, call: Call) -> bytes:
        """The body of a request, within its organisation's share of what the process can hold."""
        org, largest = call.principal.org, self.settings.max_body_bytes
        self.shares.enter(org, call.principal.chain)
        try:
            claimed = call.claimed_bytes(largest)
            if claimed > SMALL_BODY_BYTES:
                self.shares.take(org, claimed, largest)
                call.held_bytes = claimed
            self._reading[call] = asyncio.current_task()
            return await call.body(largest)
        except asyncio.CancelledError:
            if call in self._reading or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            raise Problem(408, "the body came too slowly", code="request_timeout", headers=((b"connection", b"close"),)) from None
        finally:
            self._reading.pop(call, None)
            self.shares.leave(org)

    async def _end_late_bodies(self) -> None:
        """One look in a while for all: a request whose body comes in time pays for no timer."""
        now = time.perf_counter()
        for call, task in list(self._reading.items()):
            if now > call.body_late_at and task is not None:
                del self._reading[call]
                task.cancel()

    def _parsed(self, body: bytes, endpoint: Endpoint, call: Call) -> Any:
        parsed = parse_json(body.removeprefix(b"\xef\xbb\xbf"))
        if call.named_model and isinstance(parsed, dict):
            parsed.setdefault("model", call.named_model)
        if b"null" in body and takes_nulls(endpoint):
            parsed = without_nulls(parsed)
        self.validators.check(endpoint.body, parsed)
        return parsed

    async def _refuse(
        self, call: Call | None, endpoint: Endpoint | None, problem: Problem, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if call is None:  # its head was refused
            call = Call({**scope, "headers": []}, receive, send)
        if call.started:
            return  # half an answer is out: the server closes the connection without the end mark, so that nobody takes it for whole
        is_anthropic = endpoint.dialect == "anthropic" if endpoint is not None else call.path.startswith("/v1/messages")
        if is_anthropic:
            await call.reply_json(problem.as_anthropic(call.id), problem.status, problem.headers())
        else:
            await call.reply_json(problem.as_openai(), problem.status, problem.headers())

    # Life

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            log.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Begins the work beside the requests."""
        self._seen = await asyncio.to_thread(self.accounts.revision)
        jobs: tuple[tuple[float, Callable[[], Awaitable[Any]]], ...] = (
            (FLUSH_S, self.recorder.flush),
            (BOOK_S, self.limiter.book),
            (LOOK_S, self._look),
            (BURY_S, self.limiter.bury),
            (BODY_LOOK_S, self._end_late_bodies),
            (TIDY_S, self._tidy),
        )
        self._jobs = [asyncio.create_task(_again_and_again(seconds, job)) for seconds, job in jobs]
        self.in_background(self.batches.resume())

    async def aclose(self) -> None:
        """Ends the work, books what was spent, writes what was served."""
        self.is_draining = True
        await self.batches.drain(self.settings.drain_seconds)
        for task in (*self._jobs, *self._background):
            task.cancel()
        await asyncio.gather(*self._jobs, *self._background, return_exceptions=True)
        await self.recorder.flush()
        await self.limiter.aclose()
        await self.serving.leave()
        await close_transports()
        self.recorder.close()
        self.database.close()

    def in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Lets it run beside the requests; it is cancelled when the gateway ends."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def reload(self) -> None:
        """Reads the configuration again, and serves by it from the next request on. Raises `ConfigError`, and goes on as before then."""
        if self._load is None:
            return
        config, engine = await asyncio.to_thread(self._load)
        before, self.serving = self.serving, await asyncio.to_thread(Serving, config, engine, self.runs)
        self.forget_answers()
        await before.leave()
        log.info("the configuration was read again")

    def forget_answers(self) -> None:
        """Gives no answer again that was given before: what it rested on has changed."""
        if self.cache is not None:
            self.cache.clear()

    async def forgotten_everywhere(self) -> None:
        """Returns when other processes have noticed that answers were forgotten, so that none of them gives one again."""
        if self.cache is not None and self.is_shared:
            await asyncio.sleep(2 * LOOK_S)

    def ask_for_reload(self) -> None:
        """Reads the configuration again within a second; safe in a signal handler, which may interrupt anything."""
        self._is_asked = True

    def has_reloaded(self) -> None:
        """The next look at the revision finds nothing new: this process asked for the reload itself."""
        self._seen = None

    async def _look(self) -> None:
        """Notices what other processes changed."""
        if self._is_asked:
            self._is_asked = False
            await asyncio.to_thread(self.accounts.ask_for_reload)
        seen = await asyncio.to_thread(self.accounts.revision)
        if self._seen is not None and seen[0] != self._seen[0]:
            self.keyring.forget()
            self.forget_answers()
        if self._seen is not None and seen[1] != self._seen[1]:
            try:
                await self.reload()
            except OrchestratorError as error:
                log.error("the new configuration is not used: %s", error)
        self._seen = seen

    async def _tidy(self) -> None:
        before = self.clock() - 86_400 * self.settings.keep_days
        await asyncio.to_thread(self.requests.forget, before=before)
        await asyncio.to_thread(self.documents.forget_responses, before=before)
        await asyncio.to_thread(self.runs.forget, before=before)


def _secrets(call: Call) -> list[str]:
    """The keys that a request shows, as its client's dialect does: a bearer (OpenAI's), x-api-key (Anthropic's), api-key (Azure's)."""
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


def _spans(settings: GatewayConfig, server_of: Callable[[str], tuple[str, int] | None]) -> Callable[[Iterable[Any]], None] | None:
    if settings.telemetry is None:
        return None
    from orchestrator.gateway.observability.telemetry import Spans

    return Spans(settings.telemetry, server_of).export


async def _again_and_again(seconds: float, job: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await job()
        except StorageError as error:
            log.error("the database cannot be used: %s", error)
        except Exception:
            log.exception("work beside the requests failed")


def build(config: Config | str | Path, *, is_shared: bool = False) -> Gateway:
    """The gateway of a configuration, or of the file that holds one. Raises `ConfigError`, `StorageError`."""

    def load() -> tuple[Config, Orchestrator]:
        parsed = config if isinstance(config, Config) else load_config(config)
        return parsed, Orchestrator.from_config(parsed)

    parsed, engine = load()
    return Gateway(parsed, engine, is_shared=is_shared, load=None if isinstance(config, Config) else load)
