"""Gathers what the decision of a query rests on (memory, the router's assessment, the state of the fleet), and has it
decided by `plan`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from orchestrator.backends.base import (
    Backend,
    Request,
    expected_cached_tokens,
    is_available,
    needed_capabilities,
    part_kinds,
)
from orchestrator.budget import Budget
from orchestrator.engine.assessment_batcher import AssessmentBatcher
from orchestrator.engine.plan import (
    FleetState,
    Plan,
    choose_strategy,
    first_state,
    is_promised,
    prefer,
    route_query,
    text_to_judge,
    trim_to_fit,
)
from orchestrator.learning.online import OnlineLearner
from orchestrator.router import ModelProfile, Preference, Route, Router
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.speed import Speeds
from orchestrator.search.prompts import draft_messages, rules_of
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.registry import single
from orchestrator.trace import Trace
from orchestrator.types import Query
from orchestrator.types.recall_limits import RecallLimits
from orchestrator.verification.from_query import checks_for
from orchestrator.verifiers import Verifier

if TYPE_CHECKING:
    from orchestrator.memory import Memory, Recall


_TOOLS = {True: frozenset(("tools",)), False: frozenset[str]()}


@dataclass(frozen=True, slots=True)
class QueryDefaults:
    """What applies to a query that says nothing else.

    `quality` is P(correct), `max_tokens` of an answer, `memory_tokens` of what is recalled. `fallbacks` are not routed
    to. `timeout_s` and `retries` are those of one call.
    """

    quality: float
    strategy: Strategy
    max_tokens: int
    memory_tokens: int
    budget: Budget
    verifiers: tuple[Verifier, ...]
    fallbacks: tuple[str, ...] = ()
    timeout_s: float | None = None
    retries: int | None = None


class Promises(Protocol):
    """What a plan has to respect beside the query: the promise as it holds now, and the log that may explore."""

    online: OnlineLearner | None

    @property
    def guarantee(self) -> Guard | None:
        """The promise as its audits left it."""

    @property
    def is_bound(self) -> bool:
        """Whether the fleet was set up under a promise, which speaks of stated prices and lengths."""


class Planner:
    """Plans queries over one fleet. `search` is what a search begins with, whatever the query is."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        router: Router,
        memory: Memory | None,
        defaults: QueryDefaults,
        search: SearchState,
        *,
        speeds: Speeds,
        promises: Promises,
    ) -> None:
        self.defaults = defaults
        self._backends = backends
        self._router = router
        self._memory = memory
        self._search = search
        self._speeds = speeds
        self._promises = promises
        self._batcher = AssessmentBatcher(router)
        self._capabilities = frozenset().union(*(each.profile.capabilities for each in backends.values()))

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
        """See `Orchestrator.plan`."""
        chosen = choose_strategy(query, strategy, self.defaults.strategy, self._promises.guarantee)
        recall = await self._recall(query, trace)
        request = self.request_for(query, recall, are_compared=chosen is not single)
        needs |= (needed_capabilities(part_kinds(request.messages)) | _TOOLS[bool(query.tools)]) & self._capabilities
        limits = self.defaults.budget & (budget or Budget())
        route = await self._route(query, request, trace, preference, needs, limits.seconds)
        if route.chosen is None and (fitting := self._trim(query, request, route, trace)) is not None:
            request = fitting
            route = await self._route(query, request, trace, preference, needs, limits.seconds)
        checks = [*self.defaults.verifiers, *checks_for(query, recall)]
        begin = partial(first_state, query, route, request, self._backends, self._search)
        first, propensity = "", 1.0
        if self._promises.online is not None:
            state = begin()
            chosen, first, propensity = self._promises.online.first_ask(route, state, chosen)
            begin = partial(replace, state)
        promised = is_promised(query, strategy, preference)
        fallbacks = self.fallbacks_of(query)
        return Plan(
            query, recall, request, route, checks, begin, chosen, limits, promised, first, propensity, fallbacks
        )

    async def replan(self, plan: Plan, trace: Trace, reason: str) -> Plan:
        """The plan of the first of a plan's fallbacks; the others are its own."""
        model, *others = plan.fallbacks
        trace.emit("fallback", model=model, reason=reason)
        query = replace(plan.query, models=frozenset((model,)), fallbacks=tuple(others))
        return await self.plan(query, trace, budget=plan.budget, strategy=plan.strategy)

    def fallbacks_of(self, query: Query) -> tuple[str, ...]:
        """The query's own, else the fleet's, unless the query names the models that may answer."""
        if query.fallbacks is not None:
            return query.fallbacks
        return self.defaults.fallbacks if query.models is None else ()

    def route(self, query: Query) -> Route:
        """The decision alone. Blocks while memory is asked."""
        recall = None
        if self._memory is not None:
            recall = self._memory.recall(query.text, query.scope, token_budget=self.defaults.memory_tokens)
        request = self.request_for(query, recall)
        fleet = self._fleet(query, request)
        assessed = self._router.assess([text_to_judge(query)], fleet.profiles)[0]
        return route_query(assessed, request, fleet, self._preference(query))

    def request_for(self, query: Query, recall: Recall | None = None, *, are_compared: bool = True) -> Request:
        """What a model is asked first; `are_compared` says whether other drafts may stand beside its own."""
        return Request(
            draft_messages(query, recall, are_compared=are_compared),
            query.text,
            self.defaults.max_tokens if query.max_tokens is None else query.max_tokens,
            query.temperature,
            seed=query.seed,
            schema=query.schema,
            recalled=(*(recall.items if recall else ()), *query.sources),
            scope=query.scope,
            stop=query.stop,
            reasoning=query.reasoning,
            extra_body=query.extra_body,
            timeout_s=self.defaults.timeout_s if query.timeout_s is None else query.timeout_s,
            retries=self.defaults.retries if query.retries is None else query.retries,
            parts=query.parts,
            tools=query.tools,
            tool_choice=query.tool_choice,
            parallel_tool_calls=query.parallel_tool_calls,
            rules=rules_of(query),
        )

    async def _recall(self, query: Query, trace: Trace) -> Recall | None:
        limits = query.recall_limits or RecallLimits(self.defaults.memory_tokens)
        if self._memory is None or limits.tokens == 0 or not query.uses_memory:
            return None
        with trace.span("recall", scope=query.scope) as span:
            recall = await asyncio.to_thread(
                self._memory.recall,
                query.text,
                query.scope,
                token_budget=limits.tokens,
                without=limits.without,
                min_relevance=limits.min_relevance,
            )
            span.attributes.update(records=len(recall.items), tokens=recall.tokens, searched=recall.searched)
            span.attributes["recalled"] = [
                {"id": item.record.id, "score": round(item.score, 4)} for item in recall.items
            ]
        trace.emit("recalled", records=len(recall.items), tokens=recall.tokens)
        return recall

    async def _route(
        self,
        query: Query,
        request: Request,
        trace: Trace,
        preference: Preference | None,
        capabilities: frozenset[str],
        seconds: float | None,
    ) -> Route:
        with trace.span("route") as span:
            assessed = await self._batcher.assess(text_to_judge(query), self._profiles(query))
            fleet = self._fleet(query, request)
            wanted = preference or self._preference(query)
            route = route_query(assessed, request, fleet, wanted, capabilities=capabilities, seconds=seconds)
            span.attributes.update(chosen=route.chosen, reason=route.reason)
        trace.emit("routed", model=route.chosen, reason=route.reason, adequate=route.adequate)
        return route

    def _trim(self, query: Query, request: Request, route: Route, trace: Trace) -> Request | None:
        usable = {
            name: profile.usable_context_tokens - max(request.max_tokens, math.ceil(profile.output_tokens))
            for name, profile in self._speeds.profiles.items()
        }
        trimmed = trim_to_fit(request, query, route, usable)
        if trimmed is None:
            return None
        fitting, dropped = trimmed
        trace.emit("trimmed", dropped_tokens=dropped)
        trace.root.attributes["trimmed_tokens"] = dropped
        return fitting

    def _preference(self, query: Query) -> Preference:
        return prefer(query, self.defaults.quality, self._promises.guarantee)

    def _profiles(self, query: Query) -> Sequence[ModelProfile]:
        """What is known of the models that may answer."""
        # A certificate speaks of the stated prices and lengths; otherwise what was observed counts.
        names = [name for name in self._backends if self._may_answer(name, query)]
        return [
            self._backends[name].profile if self._promises.is_bound else self._speeds.profiles[name] for name in names
        ]

    def _may_answer(self, name: str, query: Query) -> bool:
        return (query.models is None or name in query.models) and name not in self.fallbacks_of(query)

    def _fleet(self, query: Query, request: Request) -> FleetState:
        """The models that may answer, as they are at this moment."""
        allowed = {name: each for name, each in self._backends.items() if self._may_answer(name, query)}
        return FleetState(
            self._profiles(query),
            {name: p for name, backend in allowed.items() if (p := backend.estimate(request)) is not None},
            {name: held for name, backend in allowed.items() if (held := expected_cached_tokens(backend, request))},
            frozenset(name for name, backend in allowed.items() if not is_available(backend)),
        )
