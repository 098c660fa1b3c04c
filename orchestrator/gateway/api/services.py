"""What the operations of the API share.

The configuration at work, accounts, databases, limits, and the work beside requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from orchestrator.backends.http.replicas import Replicas
from orchestrator.backends.http.transport_choice import close_transports
from orchestrator.budget import from_nano
from orchestrator.config.models import Config, GatewayConfig
from orchestrator.conversation import ConversationStore
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.trace_log import policy_of
from orchestrator.errors import OrchestratorError, StorageError
from orchestrator.gateway.accounts.grade_limits import Influence
from orchestrator.gateway.accounts.principals import Keyring, Principal
from orchestrator.gateway.accounts.quota_leases import Limiter
from orchestrator.gateway.accounts.shares import Shares
from orchestrator.gateway.api.auxiliary_models import AuxiliaryModels
from orchestrator.gateway.api.batch_runner import BatchRunner
from orchestrator.gateway.api.body_reader import BodyReader
from orchestrator.gateway.api.inside import ServeInside
from orchestrator.gateway.api.validators import Validators
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.chat.completions import Completions
from orchestrator.gateway.chat.options import Options
from orchestrator.gateway.chat.pipeline_models import Pipelines
from orchestrator.gateway.chat.response_cache import Cache
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.request import STALLED_S
from orchestrator.gateway.observability.metrics import Metrics
from orchestrator.gateway.observability.recorder import Recorder
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.audit_log import AuditLog
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.files import Documents
from orchestrator.storage.item_lists import ItemLists
from orchestrator.storage.quotas import Quotas
from orchestrator.storage.requests import Requests
from orchestrator.storage.runs import Runs

FLUSH_S, BOOK_S, LOOK_S, BURY_S, TIDY_S = 0.25, 0.5, 1.0, 5.0, 3_600.0
STUDENTS_S = 60.0
BODY_LOOK_S = 0.5
AT_START = ("database", "admin_key", "access_log", "cache", "max_in_flight", "telemetry", "log_level", "log_format")
"""Fields of `gateway:` that are read when it starts, and not again at a reload."""
BODIES_IN_MEMORY = 16  # as many of the largest size
log = logging.getLogger(__name__)
T = TypeVar("T")


class McpServing(Protocol):
    """What speaks the Model Context Protocol: made when it is first asked for."""

    async def run(self) -> None:
        """Serves until it is cancelled."""

    async def serve(self, call: ClientRequest, message: JsonObject, gone: asyncio.Event) -> None:
        """Answers one message."""


class Serving:
    """One configuration at work: its engine, and what is built on it.

    It ends when the last request that began with it has ended.
    """

    def __init__(self, config: Config, engine: Orchestrator, runs: Runs) -> None:
        self.config = config
        self.engine = engine
        self.pipelines = Pipelines(config.pipelines, engine, runs, timeout_s=config.gateway.seconds, later=self.later)
        self.completions = Completions(
            engine,
            config.gateway.autos,
            timeout_s=config.gateway.seconds,
            later=self.later,
            pipelines=self.pipelines,
            tools=config.gateway.tools,
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
        """A request that began with this configuration has ended."""
        self.running -= 1
        if self._is_over:
            await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self.running == 0:
            await self.pipelines.aclose()
            await self.engine.aclose()


class Services:
    """What the handlers of one gateway share.

    `reload` brings the next configuration; `is_shared` says that other processes use the same database.

    It has many attributes, because each operation takes the few that it needs of one place.
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
        serve_inside: ServeInside,
        openapi: Callable[[], bytes],
    ) -> None:
        settings = config.gateway
        self.database = database or open_database(settings.database)
        self.runs = Runs(self.database, clock=clock)
        self.serving = Serving(config, engine, self.runs)
        self.accounts = Accounts(self.database, clock=clock)
        self.requests = Requests(self.database, clock=clock)
        self.documents = Documents(self.database, clock=clock)
        self.threads = ItemLists(self.database, clock=clock)
        self.conversations = ConversationStore(self.database, clock=clock)
        self.holder = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.limiter = Limiter(Quotas(self.database, self.holder, clock=clock), is_shared=is_shared, clock=clock)
        self.keyring = Keyring(self.accounts, clock=clock)
        self.metrics = Metrics(lambda: self.in_flight, lambda: from_nano(self.limiter.overrun_nano), self.replicas)
        self.recorder = Recorder(
            self.requests,
            self.metrics,
            access_log=settings.access_log,
            spans=_spans(settings, self.server_of),
            policy=policy_of(config.traces, config.folder),
        )
        self.audit = AuditLog(self.database, clock=clock)
        self.running: set[ClientRequest] = set()
        self._began = settings
        self.cache = Cache(settings.cache, engine) if settings.cache is not None else None
        self.validators = Validators()
        self.influence = Influence(clock=clock)
        self.openapi = openapi
        self.batches = BatchRunner(
            self.documents, self.holder, clock=clock, in_background=self.in_background, serve_inside=serve_inside
        )
        self.serve_inside = serve_inside
        self.mcp: McpServing | None = None
        self.in_flight = 0
        self.shares = Shares(settings.max_in_flight, BODIES_IN_MEMORY * settings.max_body_bytes)
        self.bodies = BodyReader(self.shares, lambda: self.settings.max_body_bytes)
        self.is_draining = False
        self.clock = clock
        self.is_shared = is_shared
        self._load = load
        self._jobs: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._seen: tuple[int, int] | None = None
        self._is_asked = False

    @property
    def settings(self) -> GatewayConfig:
        """The gateway's section of the configuration at work."""
        return self.serving.config.gateway

    def remembers(self, principal: Principal, options: Options) -> bool:
        """Whether the conversation of a request is kept. Raises `GatewayError` where the key may not ask for that."""
        if options.remember and not principal.may("memory"):
            raise GatewayError(403, "this key has no permission 'memory'", code="permission_denied", should_retry=False)
        if options.remember is not None:
            return options.remember
        stated = self.settings.remember
        return stated if isinstance(stated, bool) else principal.is_one_of(stated)

    @property
    def stalled_s(self) -> float:
        """How long a client may take nothing of its answer."""
        return min(STALLED_S, self.settings.seconds)

    @property
    def engine(self) -> Orchestrator:
        """The engine at work."""
        return self.serving.engine

    def replicas(self) -> dict[str, Replicas]:
        """The servers behind each model that is asked over HTTP."""
        found = ((name, getattr(backend, "upstream", None)) for name, backend in self.engine.backends.items())
        return {name: upstream.replicas for name, upstream in found if upstream is not None}

    def server_of(self, model: str) -> tuple[str, int] | None:
        """(host, port) of the server that a model is asked at; `None` where it has none, or several."""
        replicas = self.replicas().get(model)
        if replicas is None or len(replicas.all) != 1:
            return None
        split = urlsplit(replicas.all[0].base_url)
        return split.hostname or "", split.port or (443 if split.scheme == "https" else 80)

    async def start(self) -> None:
        """Begins the work beside the requests."""
        self._seen = await asyncio.to_thread(self.accounts.revision)
        jobs: tuple[tuple[float, Callable[[], Awaitable[Any]]], ...] = (
            (FLUSH_S, self.recorder.flush),
            (BOOK_S, self.limiter.book),
            (LOOK_S, self._look),
            (BURY_S, self.limiter.bury),
            (BODY_LOOK_S, self.bodies.end_late),
            (TIDY_S, self._tidy),
            (STUDENTS_S, self._refresh_students),
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

    def in_background(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Lets it run beside the requests; it is cancelled when the gateway ends."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def reload(self) -> list[str]:
        """Reads the configuration again, and serves by it from the next request on.

        Returns the fields that have changed and count only after a restart. Raises `ConfigError`, and goes on as before
        then.
        """
        if self._load is None:
            return []
        config, engine = await asyncio.to_thread(self._load)
        self.recorder.policy = policy_of(config.traces, config.folder)
        before, self.serving = self.serving, await asyncio.to_thread(Serving, config, engine, self.runs)
        self.forget_answers()
        await before.leave()
        needs_restart = [
            f"gateway.{name}" for name in AT_START if getattr(config.gateway, name) != getattr(self._began, name)
        ]
        log.info(
            "the configuration was read again%s", f"; restart for {', '.join(needs_restart)}" if needs_restart else ""
        )
        return needs_restart

    def forget_answers(self) -> None:
        """Gives no answer again that was given before: what it rested on has changed."""
        if self.cache is not None:
            self.cache.clear()

    async def forgotten_everywhere(self) -> None:
        """Returns when other processes have noticed that answers were forgotten, so that none of them gives one
        again.
        """
        if self.cache is not None and self.is_shared:
            await asyncio.sleep(2 * LOOK_S)

    def ask_for_reload(self) -> None:
        """Reads the configuration again within a second; safe in a signal handler, which may interrupt anything."""
        self._is_asked = True

    def has_reloaded(self) -> None:
        """The next look at the revision finds nothing new: this process asked for the reload itself."""
        self._seen = None

    async def _refresh_students(self) -> None:
        """Makes new students where their time has come."""
        settings, kept = self.serving.config.distill, self.engine.student_log
        if settings is not None and settings.every is not None and kept is not None:
            from orchestrator.distill.flywheel import refresh_students  # where students learn from traffic

            await refresh_students(settings, kept, self.serving.config.file)

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
        spans_before = self.clock() - 86_400 * self.recorder.policy.keep_days
        await asyncio.to_thread(self.requests.forget, before=before, spans_before=spans_before)
        await asyncio.to_thread(self.documents.forget_responses, before=before)
        await asyncio.to_thread(self.runs.forget, before=before)
        await asyncio.to_thread(self.conversations.forget_before, before)
        await asyncio.to_thread(self.threads.forget_before, before)


def _spans(
    settings: GatewayConfig, server_of: Callable[[str], tuple[str, int] | None]
) -> Callable[[Iterable[Any]], None] | None:
    if settings.telemetry is None:
        return None
    from orchestrator.gateway.observability.telemetry import Spans  # optional: extra `telemetry`

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
