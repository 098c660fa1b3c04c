"""The engine: one query in, one answer out, with its confidence, cost and trace.

SDK, CLI and gateway all drive this class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from orchestrator.agent.unkept import UnkeptRuns
from orchestrator.backends.base import Request
from orchestrator.budget import Budget, BudgetLike, Ledger
from orchestrator.config.models import DEFAULT_NAME, Config, read_config
from orchestrator.decisions.service import Deciders
from orchestrator.engine.assembly import assemble, settings_from_config
from orchestrator.engine.calls import keywords_of, shows_settings, tells_mistakes
from orchestrator.engine.conversation_methods import ConversationMethods
from orchestrator.engine.fleet_settings import FLEET_SETTINGS, FleetSettings
from orchestrator.engine.memory_methods import MemoryMethods
from orchestrator.engine.old_methods import OldMethods
from orchestrator.engine.plan import Plan
from orchestrator.engine.routing_methods import RoutingMethods
from orchestrator.engine.storage import EngineStorage
from orchestrator.engine.trace_log import TraceLog
from orchestrator.errors import BackendError, NoAdequateModel
from orchestrator.fleet.build import fleet_at_hand
from orchestrator.jsontypes import JsonMapping
from orchestrator.router import Preference
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.search.live_text import LiveText
from orchestrator.search.state import Strategy
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import StudentLog
from orchestrator.telemetry import Telemetry
from orchestrator.tools import ToolSet
from orchestrator.trace import Trace
from orchestrator.types import Answer, Completion, Query
from orchestrator.types.keywords import unknown_keyword

if TYPE_CHECKING:
    from orchestrator.fleet.named import ModelLike
    from orchestrator.memory import Recall


class Orchestrator(ConversationMethods, RoutingMethods, MemoryMethods, OldMethods):
    """A fleet of models that acts as one.

    It is the whole face of the engine, so it has more methods than other classes; each hands its work on to the
    planner, the executor, the memory or the deciders.

    Args:
        *models: Models by name (`"openai/gpt-5-mini"`), `Model`s with settings, backends, or mappings from the names
            that the fleet gives them to any of these.
        **settings: Whatever `FleetSettings` lists.

    Raises:
        InvalidArgument: A setting is of another kind than it must be, or there is none of that name.
        UnknownModel: A name that no provider lists; it says what was probably meant.
        ConfigError: A key is missing, or a price that a budget needs.

    Example:
        >>> from orchestrator import Orchestrator
        >>> with Orchestrator("calculator", budget=0.02) as fleet:
        ...     fleet.answer_sync("What is 17 * 23?").text
        '391'
    """

    @shows_settings(FLEET_SETTINGS)
    def __init__(self, *models: ModelLike | Mapping[str, ModelLike], **settings: Unpack[FleetSettings]) -> None:
        super().__init__()
        if not settings.keys() <= _KEYWORDS:
            raise unknown_keyword("Orchestrator", settings, _KEYWORDS)
        parts = assemble(models, settings)
        self.backends, self.memory, self.router, self.budget = parts.backends, parts.memory, parts.router, parts.budget
        self.fallbacks, self.on_event = parts.fallbacks, settings.get("on_event")
        self.telemetry = Telemetry.parse(settings.get("telemetry"))
        self.origin = settings.get("origin") or "the caller"
        self.deciders = Deciders(self.router, self.backends, settings.get("calibrations"))
        self._speeds, self._executor, self._search = parts.speeds, parts.executor, parts.search
        self._planner = parts.planner
        self.catalog = settings.get("catalog")
        self.tools = ToolSet(settings.get("tools") or (), self.catalog)
        self.storage = EngineStorage.open(settings.get("storage"))
        self.traces = TraceLog.open(settings.get("traces"))
        self._owns_traces = self.traces is not settings.get("traces")
        self._unkept = UnkeptRuns()

    @classmethod
    def from_config(
        cls, config: str | Path | JsonMapping | Config = DEFAULT_NAME, **overrides: Unpack[FleetSettings]
    ) -> Orchestrator:
        """Builds everything that a configuration names: a file, the same words as a dict, or a `Config`.

        `overrides` win. Raises `ConfigError` that lists every mistake.
        """
        if not overrides.keys() <= _KEYWORDS:
            raise unknown_keyword("from_config", overrides, _KEYWORDS)
        return cls(**settings_from_config(read_config(config), overrides))

    @classmethod
    @tells_mistakes(FLEET_SETTINGS)
    async def at_hand(
        cls, *, memory_path: str | Path | None = None, local_servers: bool = True, **overrides: Unpack[FleetSettings]
    ) -> Orchestrator:
        """Uses what it finds: API keys in the environment, else local model servers, else calculator and extractive.

        See `origin`.
        """
        fleet = await fleet_at_hand(local_servers=local_servers)
        found: FleetSettings = {"memory": memory_path, "origin": fleet.origin}
        found.update(overrides)
        return cls(fleet.backends, **found)

    @property
    def quality(self) -> float:
        """The P(correct) in [0, 1] at which a search stops, unless a query names its own."""
        return self._planner.defaults.quality

    @property
    def student_log(self) -> StudentLog | None:
        """What is kept of students of this fleet; `None` where it has none and is to have none."""
        watch = self._executor.students
        return None if watch is None else watch.kept

    def __repr__(self) -> str:
        beside = [] if self.memory is None else [f"memory={self.memory!r}"]
        return f"Orchestrator({', '.join([*map(repr, self.backends), *beside])})"

    @property
    def guarantee(self) -> Guard | None:
        """The guard of the promise under which this fleet routes, as its audits left it; `None` without one."""
        return self._executor.guarantee

    @property
    def value_usd(self) -> float:
        """What a right answer is worth in USD, unless a query says otherwise."""
        return self._search.value_usd

    @property
    def max_tokens(self) -> int:
        """The longest answer in tokens, unless a query says otherwise."""
        return self._planner.defaults.max_tokens

    @property
    def has_observers(self) -> bool:
        """Whether answers are kept in a log, learned from or audited."""
        return self._executor.online is not None or self._executor.audits is not None

    @property
    def can_relay_single(self) -> bool:
        """Whether one draft of a named model needs nothing of this engine: no checks of its own, no log, no audit."""
        return not self._planner.defaults.verifiers and not self.has_observers

    @property
    def decisions(self) -> DecisionLog | None:
        """The decision log, if this fleet keeps one."""
        return self._executor.online.log if self._executor.online else None

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
        """What would be done for a query: recalled, routed and ready to be executed. No model is asked.

        `preference` outranks the query's quality; `needs` are capabilities that a model must have.
        """
        limits = None if budget is None else Budget.parse(budget)
        return await self._planner.plan(
            query, trace, budget=limits, strategy=strategy, preference=preference, needs=needs
        )

    async def execute(
        self, plan: Plan, trace: Trace, ledger: Ledger | None = None, live: LiveText | None = None
    ) -> Answer:
        """Searches as planned, on `ledger`, which is the caller's to look at when it fails.

        When the models of the route fail, the plan's fallbacks are asked, on the same ledger. `live` shows text as it
        is written. Raises as `answer` does; a spent budget ends it at once, because no other model helps against that.
        """
        ledger = ledger or Ledger(plan.budget)
        while True:
            try:
                return await self._executor.execute(plan, trace, ledger, live)
            except (BackendError, NoAdequateModel) as error:
                if not plan.fallbacks or (live is not None and live.must_keep):
                    raise
                reason = error.message
            plan = await self._planner.replan(plan, trace, reason)

    async def record_draft(self, plan: Plan, completion: Completion, cost_usd: float | None, trace: Trace) -> Answer:
        """Logs, learns from and audits the plan's only draft, which somebody else obtained and passed on."""
        return await self._executor.record_draft(plan, completion, cost_usd, trace)

    def request_for(self, query: Query, recall: Recall | None = None, *, are_compared: bool = True) -> Request:
        """What a model is asked first; `are_compared` says whether other drafts may stand beside its own."""
        return self._planner.request_for(query, recall, are_compared=are_compared)

    async def aclose(self) -> None:
        """Waits for running audits, then closes connections, the memory and the decision log."""
        if self._executor.audits is not None:
            await self._executor.audits.aclose()
        for backend in self.backends.values():
            await backend.aclose()
        if self.memory is not None:
            self.memory.close()
        await self._executor.aclose()
        if self.catalog is not None:
            await self.catalog.aclose()
        if self.storage is not None:
            await asyncio.to_thread(self.storage.close)
        if self.traces is not None:  # one that was handed in may be shared: it is its maker's to close
            await asyncio.to_thread(self.traces.close if self._owns_traces else self.traces.flush)

    async def __aenter__(self) -> Orchestrator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


_KEYWORDS = keywords_of(Orchestrator.__init__, FLEET_SETTINGS)
