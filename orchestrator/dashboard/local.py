"""A store of this machine's own behind the pages: what programs, commands and pipelines kept, without a gateway."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from orchestrator.dashboard.host import BudgetState, DashboardError, ModelHealth, RunningRequest
from orchestrator.dashboard.oidc_settings import OidcSettings
from orchestrator.dashboard.viewer import Viewer
from orchestrator.engine.trace_log import LOCAL_ORG
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.comparisons import Comparisons
from orchestrator.storage.database import Database
from orchestrator.storage.requests import Requests
from orchestrator.storage.runs import Runs

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.memory import Memory
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.audit_log import AuditLog

_ONE = re.compile(r"/v1/memories/(\d+)")
PAGE = 50


class LocalDashboardHost:
    """A local store behind the pages (`orchestrator.dashboard.host.DashboardHost`).

    Args:
        traces: Where traces are.
        engine: The fleet of the configuration, for its memory, decisions and models; `None` without one.
        runs: Runs of pipelines, if there are any.
        keeps_content: Whether texts are kept.
    """

    is_local = True

    def __init__(
        self,
        traces: Database,
        engine: Orchestrator | None = None,
        runs: Runs | None = None,
        *,
        keeps_content: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.secret = secrets.token_bytes(32)
        self.clock = clock
        self.requests = Requests(traces, clock=clock)
        self.comparisons = Comparisons(traces, clock=clock)
        self.engine: Orchestrator | None = engine
        self.runs: Runs | None = runs
        self.keeps_content = keeps_content
        self.accounts: Accounts | None = None
        self.audit: AuditLog | None = None
        self.pipelines: dict[str, JsonObject] = {}
        self.openapi: bytes | None = None
        self.oidc: OidcSettings | None = None

    def viewer(self) -> Viewer:
        """Whoever sits at this machine."""
        return Viewer("local", "this machine", "operator", is_local=True)

    async def sign_in(self, shown: str) -> Viewer:
        """Nobody signs in here."""
        return self.viewer()

    async def viewer_of(self, key: str) -> Viewer | None:
        """Nobody signs in here."""
        return self.viewer()

    async def end_session(self, nonce: str, ends_at: float) -> None:
        """There are no sessions here."""

    async def has_ended(self, nonce: str) -> bool:
        """There are no sessions here."""
        return False

    async def viewer_of_named(self, key: str) -> Viewer | None:
        """Nobody signs in here."""
        return self.viewer()

    async def call(
        self, viewer: Viewer, method: str, path: str, body: JsonObject | None = None
    ) -> tuple[int, JsonObject]:
        """What the API of a gateway would answer of the memory; nothing else is there."""
        if not path.startswith("/v1/memories"):
            return 404, {"error": {"message": "only a gateway does this", "code": "not_found"}}
        if self.engine is None or self.engine.memory is None:
            return 404, {"error": {"message": "there is no memory here", "code": "no_memory"}}
        memory = self.engine.memory
        where, _, query = path.partition("?")
        given = dict(parse_qsl(query)) | {name: str(value) for name, value in (body or {}).items()}
        reply = await asyncio.to_thread(_memory_call, memory, method, where, given)
        if method == "DELETE" and reply[0] < 400:  # what was kept of its texts goes with it
            scope = given.get("scope") or "default"
            await asyncio.to_thread(self.requests.forget_texts, LOCAL_ORG, scope)
        return reply

    def stream(self, viewer: Viewer, path: str, body: JsonObject) -> AsyncIterator[bytes]:
        """No model is asked from here."""
        raise DashboardError(404, "no model is asked from here", remedy="Serve a gateway: orchestrator serve")

    def shown_to(self, viewer: Viewer, value: JsonValue) -> JsonValue:
        """Everything here belongs to whoever sits at this machine."""
        return value

    async def budgets(self, viewer: Viewer) -> list[BudgetState]:
        """There are no accounts."""
        return []

    def running(self) -> list[RunningRequest]:
        """Other programs ask; what they do at this moment is not known here."""
        return []

    def health(self) -> dict[str, ModelHealth]:
        """Nobody is asked from here."""
        return {}

    async def flush(self) -> None:
        """Programs write what they served by themselves."""


def _memory_call(memory: Memory, method: str, path: str, given: dict[str, str]) -> tuple[int, JsonObject]:
    scope, one = given.get("scope") or "default", _ONE.fullmatch(path)
    if path == "/v1/memories/search":
        recall = memory.recall(given["query"], scope, token_budget=int(given.get("token_budget", "1000")))
        items = [{**item.record.as_dict(), "score": item.score, "reason": item.reason} for item in recall.items]
        return 200, {"text": recall.text, "tokens": recall.tokens, "searched": recall.searched, "items": items}
    if method == "DELETE":
        receipt = memory.forget(scope, None if one is None else [int(one[1])])
        return 200, {"scope": scope, "forgotten": list(receipt.ids), "left": receipt.remaining}
    if one is not None:
        found = memory.get(scope, int(one[1]))
        if found is None:
            message = f"there is no memory {one[1]} in this scope"
            return 404, {"error": {"message": message, "code": "memory_not_found"}}
        return 200, dict(found.as_dict())
    after, limit = int(given.get("after", "0")), int(given.get("limit", str(PAGE)))
    records = [record for record in memory.export(scope) if record.id > after]
    return 200, {"data": [record.as_dict() for record in records[:limit]], "has_more": len(records) > limit}
