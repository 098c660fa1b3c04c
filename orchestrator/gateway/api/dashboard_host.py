"""What the dashboard sees of a gateway.

It reads the gateway's own tables; what it changes goes through the API, as a request of whoever is signed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.config.secrets import secret
from orchestrator.dashboard.host import BudgetState, DashboardError, ModelHealth, RunningRequest
from orchestrator.dashboard.oidc_settings import OidcSettings
from orchestrator.dashboard.viewer import Viewer, role_of
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.quota_leases import USD, period_of
from orchestrator.gateway.api.inside import request_inside
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.redaction import without_addresses
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.account_types import AccountLimits
from orchestrator.storage.comparisons import Comparisons
from orchestrator.storage.page_sessions import PageSessions
from orchestrator.storage.quotas import Quota
from orchestrator.storage.requests import Requests
from orchestrator.storage.runs import Runs

if TYPE_CHECKING:
    from orchestrator.backends.http.replicas import Replicas
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.gateway.api.services import Services
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.audit_log import AuditLog

DAY_S = 86_400.0
log = logging.getLogger(__name__)
IMPLIED = frozenset(("usage", "traces"))  # what whoever sees more than a key of its own looks at


class GatewayDashboardHost:
    """The gateway behind the pages (`orchestrator.dashboard.host.DashboardHost`)."""

    is_local = False

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions = PageSessions(services.database, clock=services.clock)
        self.secret = self._sessions.secret()
        self.clock: Callable[[], float] = services.clock
        self._reader = services.database.reader()
        self.requests = Requests(self._reader, clock=services.clock)
        self.comparisons = Comparisons(services.database, clock=services.clock)
        self.runs: Runs | None = Runs(self._reader, clock=services.clock)

    def close(self) -> None:
        """Closes the connection for reading."""
        if self._reader is not self._services.database:
            self._reader.close()

    @property
    def engine(self) -> Orchestrator | None:
        """The fleet at work."""
        return self._services.engine

    @property
    def accounts(self) -> Accounts | None:
        """Organisations, teams and keys."""
        return self._services.accounts

    @property
    def audit(self) -> AuditLog | None:
        """What administrators did."""
        return self._services.audit

    @property
    def keeps_content(self) -> bool:
        """Whether texts of requests are kept."""
        return self._services.recorder.policy.content

    @property
    def pipelines(self) -> dict[str, JsonObject]:
        """The pipelines that are served."""
        return self._services.serving.pipelines.described()

    @property
    def openapi(self) -> bytes | None:
        """The OpenAPI document."""
        return self._services.openapi()

    def viewer(self) -> Viewer:
        """Nobody looks at a gateway without a key."""
        raise DashboardError(401, "sign in to see this page", kind="not_signed_in")

    async def sign_in(self, shown: str) -> Viewer:
        """The owner of a key. Raises `DashboardError`."""
        try:
            principal = await self._services.keyring.principal(shown)
            return viewer_of(principal, (await asyncio.to_thread(self._services.accounts.key, principal.key)).hint)
        except GatewayError as error:
            raise DashboardError(error.status, error.message, kind=error.code or "refused") from None

    async def viewer_of(self, key: str) -> Viewer | None:
        """The owner of a key by its id; `None` once it is not valid any more."""
        try:
            principal = await self._services.keyring.owner(key)
            return viewer_of(principal, (await asyncio.to_thread(self._services.accounts.key, key)).hint)
        except (GatewayError, LookupError):
            return None

    async def end_session(self, nonce: str, ends_at: float) -> None:
        """A session that was signed out opens nothing any more, whoever has copied its cookie."""
        await asyncio.to_thread(self._sessions.end, nonce, ends_at)

    async def has_ended(self, nonce: str) -> bool:
        """Whether a session was signed out."""
        return await asyncio.to_thread(self._sessions.has_ended, nonce)

    @property
    def oidc(self) -> OidcSettings | None:
        """The identity provider of the configuration. Raises `ConfigError` where its secret cannot be read."""
        stated = self._services.settings.oidc
        if stated is None:
            return None
        hidden = None if stated.client_secret is None else secret(stated.client_secret, None)
        return OidcSettings(stated.issuer, stated.client_id, hidden, stated.claim, stated.keys)

    async def viewer_of_named(self, key: str) -> Viewer | None:
        """The owner of a key by its id, or as ORGANISATION/NAME (`operator/NAME` for the operator's).

        Never by a name alone: anybody may give a key the name of somebody else's.
        """
        return await self.viewer_of(await asyncio.to_thread(_key_id, self._services.accounts, key))

    async def call(
        self, viewer: Viewer, method: str, path: str, body: JsonObject | None = None
    ) -> tuple[int, JsonObject]:
        """What the API answers to this viewer."""
        where, _, query = path.partition("?")
        status, _, content, _ = await request_inside(
            self._services.serve_inside, viewer.key, method, where, body, query
        )
        return status, orjson.loads(content) if content else {}

    async def stream(self, viewer: Viewer, path: str, body: JsonObject) -> AsyncIterator[bytes]:
        """What the API answers to this viewer, as it comes; it ends when the reader leaves."""
        parts: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)
        left = asyncio.Event()
        sent = False

        async def receive() -> JsonObject:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                await parts.put(message["body"])

        async def serve() -> None:
            scope = {
                "type": "http",
                "method": "POST",
                "path": path,
                "query_string": b"",
                "headers": [(b"content-type", b"application/json")],
            }
            try:
                await self._services.serve_inside(scope, receive, send, viewer.key)
            except Exception:
                log.exception("a request of a page failed")
            await parts.put(None)  # not where it was cancelled: then nobody reads

        serving = asyncio.ensure_future(serve())
        try:
            while (part := await parts.get()) is not None:
                yield part
            await serving
        finally:
            left.set()
            if not serving.done():
                serving.cancel()

    def shown_to(self, viewer: Viewer, value: JsonValue) -> JsonValue:
        """A tenant is told no address of a provider."""
        return value if viewer.role == "operator" else without_addresses(value)

    async def budgets(self, viewer: Viewer) -> list[BudgetState]:
        """The budgets that this viewer may see, as far as they are booked."""
        await self._services.limiter.book()
        return await asyncio.to_thread(budget_states, self._services, viewer)

    def running(self) -> list[RunningRequest]:
        """What this process answers at this moment."""
        return [
            RunningRequest(
                call.id,
                call.at,
                call.principal.org,
                call.principal.team,
                call.principal.key,
                call.tab.served.api,
                call.tab.served.model or call.tab.served.asked,
            )
            for call in list(self._services.running)
            if call.tab is not None
        ]

    def health(self) -> dict[str, ModelHealth]:
        """How the servers of each model do."""
        return {name: _health(replicas) for name, replicas in self._services.replicas().items()}

    async def flush(self) -> None:
        """Returns when all that was served before is written."""
        await self._services.recorder.flush()


def budget_states(services: Services, viewer: Viewer | None = None) -> list[BudgetState]:
    """The budgets that a viewer may see; all of them without one. Blocks."""
    accounts, now = services.accounts, services.clock()
    org = None if viewer is None else viewer.org
    sees_all = viewer is None or viewer.is_at_least("organisation")
    own_key, own_team = ("", "") if viewer is None else (viewer.key, viewer.team or "")
    shared_team = own_team if viewer is not None and viewer.role == "team" else ""
    limited = [
        *(("organisation", one.id, one.name, one.limits) for one in accounts.orgs() if org in (None, one.id)),
        *(("team", one.id, one.name, one.limits) for one in accounts.teams(org) if sees_all or one.id == own_team),
        *(
            ("key", one.id, one.name, one.limits)
            for one in accounts.keys(org)
            if one.revoked_at is None and (sees_all or one.id == own_key or (one.team == shared_team != ""))
        ),
    ]
    return [_budget(services, *each, now) for each in limited if each[3].usd is not None]


def _budget(services: Services, of: str, id: str, name: str, limits: AccountLimits, now: float) -> BudgetState:
    used, _ = services.limiter.quotas.standing(Quota(id, USD, period_of(limits.period, now)))
    began, ends = period_bounds(limits.period, now)
    return BudgetState(of, id, name, limits.period, limits.usd or 0.0, used / 1e9, began, ends)


def viewer_of(principal: Principal, stamp: str) -> Viewer:
    """Who looks, by their key; `stamp` changes with its secret."""
    role = role_of(
        principal.permissions, is_operator=principal.is_operator, team=principal.team, scopes=principal.scopes
    )
    org = None if principal.is_operator else principal.org
    permissions = principal.permissions | (frozenset() if role == "member" else IMPLIED)
    return Viewer(
        principal.key,
        principal.name,
        role,
        org,
        principal.team,
        permissions,
        principal.scopes,
        principal.models,
        stamp=stamp,
    )


def _key_id(accounts: Accounts, stated: str) -> str:
    org, _, name = stated.rpartition("/")
    if not org:
        return stated
    ids: dict[str | None, str] = {each.id: each.name for each in accounts.orgs()}
    found = [
        key.id
        for key in accounts.keys(None)
        if key.name == name and key.revoked_at is None and org in (key.org, ids.get(key.org, "operator"))
    ]
    return found[0] if len(found) == 1 else ""


def period_bounds(period: str, now: float) -> tuple[float | None, float | None]:
    """When the period of a budget began and when it ends (seconds since 1970); `None` for one without end."""
    moment = datetime.fromtimestamp(now, UTC)
    if period == "day":
        began = now // DAY_S * DAY_S
        return began, began + DAY_S
    if period == "month":
        first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
        return first.timestamp(), following.timestamp()
    return None, None


def _health(replicas: Replicas) -> ModelHealth:
    told = [one.told.waiting for one in replicas.all if one.told.waiting is not None]
    servers: list[JsonObject] = [
        {
            "breaker": "open" if one.breaker.is_open else "closed",
            "in_flight": one.limit.in_flight,
            "limit": one.limit.limit,
            "waiting": one.told.waiting,
            "hit_rate": one.hit_rate,
        }
        for one in replicas.all
    ]
    return ModelHealth(
        "ok" if replicas.is_available else "resting",
        sum(one.limit.in_flight for one in replicas.all),
        int(sum(one.limit.limit for one in replicas.all)),
        sum(told) if told else None,
        replicas.hit_rate,
        servers,
    )
