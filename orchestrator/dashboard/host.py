"""What the dashboard needs of the program that shows it: a gateway, or a command over a local store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from orchestrator.dashboard.oidc_settings import OidcSettings
from orchestrator.dashboard.viewer import Viewer
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.audit_log import AuditLog
    from orchestrator.storage.comparisons import Comparisons
    from orchestrator.storage.requests import Requests
    from orchestrator.storage.runs import Runs


class DashboardError(OrchestratorError):
    """A page cannot be shown; `status` is HTTP's, `kind` a stable word for programs."""

    code = "dashboard"

    def __init__(self, status: int, message: str, *, remedy: str = "", kind: str = "dashboard") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How the budget of an account stands. `of` is organisation, team or key, `subject` its id; amounts are USD."""

    of: str
    subject: str
    name: str
    period: str
    limit_usd: float
    spent_usd: float
    began_at: float | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A request that is being answered at this moment; `at` is when it came, in seconds since 1970."""

    id: str
    at: float
    org: str
    team: str | None
    key: str
    api: str
    model: str


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """How the servers of a model do. `state` is `ok`, `resting` (all of them failed lately) or `unknown`."""

    state: str
    in_flight: int = 0
    limit: int | None = None
    waiting: float | None = None
    hit_rate: float | None = None
    servers: Sequence[JsonObject] = field(default_factory=tuple)


class DashboardHost(Protocol):
    """The program behind the pages.

    Its attributes are read at each request, because a gateway may read its configuration anew at any time.
    """

    is_local: bool
    """Whether nobody has to sign in: a store of this machine's own, shown on this machine alone."""
    secret: bytes
    """What sessions are signed with; the same in all processes that share a database."""
    clock: Callable[[], float]

    @property
    def engine(self) -> Orchestrator | None:
        """The fleet at work; `None` where only a store is shown."""

    @property
    def requests(self) -> Requests:
        """What was served, on a connection of its own for reading."""

    @property
    def runs(self) -> Runs | None:
        """Runs of pipelines."""

    @property
    def accounts(self) -> Accounts | None:
        """Organisations, teams and keys."""

    @property
    def audit(self) -> AuditLog | None:
        """What administrators did."""

    @property
    def comparisons(self) -> Comparisons:
        """Comparisons that were kept in the playground."""

    @property
    def keeps_content(self) -> bool:
        """Whether texts of requests are kept."""

    @property
    def pipelines(self) -> dict[str, JsonObject]:
        """The pipelines that are served, by name, described with their steps and their diagram (Mermaid)."""

    @property
    def openapi(self) -> bytes | None:
        """The OpenAPI document; `None` where no API is served."""

    def viewer(self) -> Viewer:
        """Who looks at a local store."""

    async def sign_in(self, shown: str) -> Viewer:
        """The owner of a key, by the key itself. Raises `DashboardError` (401)."""

    async def viewer_of(self, key: str) -> Viewer | None:
        """The owner of a key, by its id; `None` once it is not valid any more."""

    @property
    def oidc(self) -> OidcSettings | None:
        """The identity provider that people sign in with; `None` for keys alone."""

    async def end_session(self, nonce: str, ends_at: float) -> None:
        """Ends a session for good, whoever has its cookie."""

    async def has_ended(self, nonce: str) -> bool:
        """Whether a session was ended."""

    async def viewer_of_named(self, key: str) -> Viewer | None:
        """The owner of a key by its id, or as ORGANISATION/NAME; `None` where there is none that is valid."""

    async def call(
        self, viewer: Viewer, method: str, path: str, body: JsonObject | None = None
    ) -> tuple[int, JsonObject]:
        """What the API answers to this viewer: (status, JSON)."""

    def stream(self, viewer: Viewer, path: str, body: JsonObject) -> AsyncIterator[bytes]:
        """What the API answers to this viewer, as it comes."""

    def shown_to(self, viewer: Viewer, value: JsonValue) -> JsonValue:
        """The same value without what is the operator's business alone: addresses of providers."""

    async def budgets(self, viewer: Viewer) -> list[BudgetState]:
        """The budgets that this viewer may see."""

    def running(self) -> list[RunningRequest]:
        """What this process answers at this moment."""

    def health(self) -> dict[str, ModelHealth]:
        """How the servers of each model do, as this process sees them."""

    async def flush(self) -> None:
        """Returns when all that was served before is written."""
