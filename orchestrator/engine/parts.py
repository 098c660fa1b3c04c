"""What an engine is made of, as its methods see it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.agent.unkept import UnkeptRuns
from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, BudgetLike, Ledger
from orchestrator.decisions.service import Deciders
from orchestrator.engine.execute import Executor
from orchestrator.engine.plan import Plan
from orchestrator.engine.planner import Planner
from orchestrator.engine.settings import check_models
from orchestrator.engine.storage import EngineStorage
from orchestrator.engine.sync import SyncMethods
from orchestrator.engine.trace_log import TraceLog
from orchestrator.router import Preference, Router
from orchestrator.router.speed import Speeds
from orchestrator.search.live_text import LiveText
from orchestrator.search.state import Strategy
from orchestrator.telemetry import Telemetry
from orchestrator.tools import ToolSet
from orchestrator.tools.catalog import ToolCatalog
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer, Query

if TYPE_CHECKING:
    from orchestrator.memory import Memory


class EngineParts(SyncMethods):
    """The parts that `Orchestrator` sets up, and the query that they all begin with."""

    backends: dict[str, Backend]
    router: Router
    memory: Memory | None
    budget: Budget
    deciders: Deciders
    fallbacks: tuple[str, ...]
    on_event: Callable[[Event], None] | None
    telemetry: Telemetry | None
    tools: ToolSet
    catalog: ToolCatalog | None
    storage: EngineStorage | None
    traces: TraceLog | None
    _unkept: UnkeptRuns
    _planner: Planner
    _executor: Executor
    _speeds: Speeds

    def answer(self, query: str | bytes | Query) -> Coroutine[None, None, Answer]:
        """Answers a query: a summary is written by this."""
        raise TypeError(f"{type(self).__name__} must define answer()")

    async def plan(
        self,
        query: Query,
        trace: Trace,
        *,
        budget: BudgetLike | None = None,
        strategy: str | Strategy | None = None,
        preference: Preference | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> Plan:
        """What would be done for a query."""
        raise TypeError(f"{type(self).__name__} must define plan()")

    async def execute(
        self, plan: Plan, trace: Trace, ledger: Ledger | None = None, live: LiveText | None = None
    ) -> Answer:
        """Searches as planned."""
        raise TypeError(f"{type(self).__name__} must define execute()")

    def _query(self, text: object, scope: str = "default", models: Sequence[str] | None = None, **wishes: Any) -> Query:
        """The query that a caller's words stand for. Raises `InvalidQuery`, `UnknownModel`."""
        query = Query.parse(text, scope=scope, models=None if models is None else frozenset(models), **wishes)
        check_models(query.models, self.backends)
        return query
