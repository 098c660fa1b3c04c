"""The engine: one query in, one answer out, with its confidence, cost and trace.

SDK, CLI and gateway all drive this class.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.base import Backend, Request
from orchestrator.budget import Budget, Ledger
from orchestrator.config import defaults
from orchestrator.config.models import DEFAULT_NAME, Config, OnlineConfig, load_config
from orchestrator.decisions import ProbabilityCalibration
from orchestrator.decisions.service import Deciders
from orchestrator.engine.assembly import check_fleet, make_executor, settings_from_config
from orchestrator.engine.memory_methods import MemoryMethods
from orchestrator.engine.old_methods import OldMethods
from orchestrator.engine.plan import Plan, find_strategy
from orchestrator.engine.planner import Planner, QueryDefaults
from orchestrator.engine.routing_methods import RoutingMethods
from orchestrator.engine.streaming import events_of
from orchestrator.engine.sync import SyncMethods
from orchestrator.fleet.build import fleet_at_hand
from orchestrator.jsontypes import JsonObject
from orchestrator.learning.shadow_audits import Grader
from orchestrator.router import Preference, Router
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.speed import Speeds
from orchestrator.search.revisions import RevisionOdds
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.vote_model import VoteModel
from orchestrator.storage import DecisionLog
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer, Completion, Message, Query
from orchestrator.verifiers import Ensemble, Verifier

if TYPE_CHECKING:
    from orchestrator.memory import Memory, Recall


class Orchestrator(RoutingMethods, MemoryMethods, SyncMethods, OldMethods):
    """A fleet of models that acts as one.

    `backends` maps names to backends; `memory` is optional; `budget` limits every query unless the query brings a
    tighter one. `value_usd` is what a right answer is worth: search buys another draft only if that raises P(correct)
    by more than its price divided by this. A `guarantee` answers within a certificate instead of by `quality`, unless a
    query names its own quality or strategy. `online` (settings, or just the path of a log) keeps every decision, learns
    from `feedback`, explores and audits; `grader` compares answers in audits.

    It is the whole face of the engine, so it has more methods than other classes; each hands its work on to `Planner`,
    `Executor`, the memory or the deciders.

    Example:
        >>> from orchestrator import CalculatorBackend, Orchestrator
        >>> with Orchestrator({"calculator": CalculatorBackend()}) as fleet:
        ...     fleet.answer_sync("What is 17 * 23?").text
        '391'
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        memory: Memory | None = None,
        router: Router | None = None,
        budget: Budget | None = None,
        quality: float = defaults.QUALITY,
        guarantee: Guard | None = None,
        value_usd: float = defaults.VALUE_USD,
        strategy: str | Strategy = defaults.STRATEGY,
        max_tokens: int = defaults.MAX_TOKENS,
        memory_tokens: int = defaults.MEMORY_TOKENS,
        vote_model: VoteModel | None = None,
        verifiers: Sequence[Verifier] = (),
        ensemble: Ensemble | None = None,
        revisions: Mapping[str, RevisionOdds] | None = None,
        usd_per_second: float = 0.0,
        online: OnlineConfig | str | Path | None = None,
        grader: Grader | None = None,
        rng: random.Random | None = None,
        calibrations: Mapping[str, ProbabilityCalibration] | None = None,
        origin: str = "the caller",
    ) -> None:
        super().__init__()
        check_fleet(backends)
        self.backends, self.memory, self.router = dict(backends), memory, router or Router()
        self.budget, self.origin = budget or Budget(), origin
        self.deciders = Deciders(self.router, self.backends, calibrations)
        self._speeds = Speeds(backend.profile for backend in backends.values())
        self._executor = make_executor(self.backends, self.router, self._speeds, guarantee, online, grader, rng)
        self._search = SearchState(
            "",
            (),
            {},
            value_usd=value_usd,
            usd_per_second=usd_per_second,
            vote_model=vote_model or VoteModel(),
            ensemble=ensemble or Ensemble(),
            revisions=dict(revisions or {}),
        )
        defaults = QueryDefaults(
            quality, find_strategy(strategy), max_tokens, memory_tokens, self.budget, tuple(verifiers)
        )
        self._planner = Planner(
            self.backends, self.router, memory, defaults, self._search, speeds=self._speeds, promises=self._executor
        )

    @classmethod
    def from_config(cls, config: str | Path | Config = DEFAULT_NAME, **overrides: Any) -> Orchestrator:
        """Builds everything that a configuration names. Raises `ConfigError`."""
        parsed = config if isinstance(config, Config) else load_config(config)
        return cls(**settings_from_config(parsed, overrides))

    @classmethod
    async def at_hand(
        cls, *, memory_path: str | Path | None = None, local_servers: bool = True, **overrides: Any
    ) -> Orchestrator:
        """Uses what it finds: API keys in the environment, else local model servers, else calculator and extractive.

        See `origin`.
        """
        from orchestrator.memory import Memory  # FAISS is loaded only where there is a memory

        fleet = await fleet_at_hand(local_servers=local_servers)
        memory = Memory(memory_path) if memory_path is not None else None
        return cls(fleet.backends, **{"memory": memory, "origin": fleet.origin, **overrides})

    @property
    def guarantee(self) -> Guard | None:
        """The guard of the promise under which this fleet routes, as its audits left it; `None` without one."""
        return self._executor.guarantee

    @property
    def value_usd(self) -> float:
        """What a right answer is worth in USD, unless a query says otherwise."""
        return self._search.value_usd

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

    async def answer(
        self,
        query: str | bytes | Query,
        *,
        history: Sequence[Message] = (),
        scope: str = "default",
        schema: JsonObject | None = None,
        quality: float | None = None,
        budget: Budget | None = None,
        strategy: str | Strategy | None = None,
        models: Sequence[str] | None = None,
        criteria: Sequence[str] = (),
        value_usd: float | None = None,
        usd_per_second: float | None = None,
        may_abstain: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Answer:
        """Answers one query. The settings are those of `Query`; `budget` and `strategy` are for this query alone.

        Raises `InvalidQuery`, `UnknownModel`, `BudgetExceeded` (nothing affordable could be started), `BackendError`
        (the only model failed) or `NoAdequateModel` (nothing at hand can answer; says what to add). A deadline or a
        spent budget gives the best answer so far, marked `partial`.
        """
        asked = query
        if not isinstance(asked, Query):
            asked = self._query(
                query,
                scope,
                models,
                history=tuple(history),
                schema=schema,
                quality=quality,
                criteria=tuple(criteria),
                value_usd=value_usd,
                usd_per_second=usd_per_second,
                may_abstain=may_abstain,
            )
        trace = Trace(on_event=on_event)
        return await self.execute(await self.plan(asked, trace, budget=budget, strategy=strategy), trace)

    async def plan(
        self,
        query: Query,
        trace: Trace,
        *,
        budget: Budget | None = None,
        strategy: str | Strategy | None = None,
        preference: Preference | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> Plan:
        """What would be done for a query: recalled, routed and ready to be executed. No model is asked.

        `preference` outranks the query's quality; `needs` are capabilities that a model must have.
        """
        return await self._planner.plan(
            query, trace, budget=budget, strategy=strategy, preference=preference, needs=needs
        )

    async def execute(self, plan: Plan, trace: Trace, ledger: Ledger | None = None) -> Answer:
        """Searches as planned, on `ledger`, which is the caller's to look at when it fails. Raises as `answer` does."""
        return await self._executor.execute(plan, trace, ledger)

    async def record_draft(self, plan: Plan, completion: Completion, cost_usd: float | None, trace: Trace) -> Answer:
        """Logs, learns from and audits the plan's only draft, which somebody else obtained and passed on."""
        return await self._executor.record_draft(plan, completion, cost_usd, trace)

    def stream(self, query: str | bytes | Query, **settings: Any) -> AsyncGenerator[Event | Answer, None]:
        """As `answer` (same settings and errors), but yields every event as it happens, and last the answer.

        Closing it cancels the search.
        """
        return events_of(lambda on_event: self.answer(query, **settings, on_event=on_event))

    def request_for(self, query: Query, recall: Recall | None = None) -> Request:
        """What a model is asked first."""
        return self._planner.request_for(query, recall)

    async def aclose(self) -> None:
        """Waits for running audits, then closes connections, the memory and the decision log."""
        if self._executor.audits is not None:
            await self._executor.audits.aclose()
        for backend in self.backends.values():
            await backend.aclose()
        if self.memory is not None:
            self.memory.close()
        await self._executor.aclose()

    async def __aenter__(self) -> Orchestrator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
