"""The engine: one query in, one answer out, with its confidence, cost and trace. SDK, CLI and gateway all drive this class."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.backends.base import Backend, Request, estimate_prompt_tokens, expected_cached_tokens, is_available
from orchestrator.budget import Budget, Ledger
from orchestrator.config.models import DEFAULT_NAME, Config, OnlineConfig, PromiseConfig, load_config
from orchestrator.decisions import Calibration, Decisions, Question
from orchestrator.decisions.calibration import load_calibrations
from orchestrator.decisions.complexity import COMPLEXITY
from orchestrator.decisions.service import Deciders
from orchestrator.engine.answer import concluded, why_no_answer
from orchestrator.engine.assessment_batcher import Together
from orchestrator.engine.plan import Plan, first_state
from orchestrator.engine.streaming import events_of
from orchestrator.engine.sync import BlockingLoop
from orchestrator.engine.trimming import trimmed
from orchestrator.errors import (
    ConfigError,
    InvalidQuery,
    StorageError,
    UnknownModel,
)
from orchestrator.fleet.build import WHAT_TO_ADD, Fleet, fleet_at_hand, fleet_from_config
from orchestrator.fleet.memory import open_memory, writer_of
from orchestrator.learning.certificates import load_guarantee, trained_router
from orchestrator.learning.online import Online, as_logged
from orchestrator.learning.shadow_audits import Grader, ShadowAudits
from orchestrator.router import Constraints, ModelProfile, Needs, Preference, Route, Router
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.router import Assessed, Explanation, decide
from orchestrator.router.speed import Speeds
from orchestrator.search.actions import Draft
from orchestrator.search.belief import VoteModel
from orchestrator.search.calibration.calibration import calibrated_settings
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.prompts import draft_messages
from orchestrator.search.recording import Change, Recording
from orchestrator.search.revisions import RevisionOdds
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.plugins import strategy_named
from orchestrator.search.strategies.registry import STRATEGIES
from orchestrator.storage import DecisionLog
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer, Candidate, Completion, Message, Query, Usage
from orchestrator.verification.from_config import checks_from_config
from orchestrator.verification.from_query import checks_for
from orchestrator.verifiers import Ensemble, Verifier

if TYPE_CHECKING:
    from orchestrator.memory import Forgotten, Memory, Recall, Record, Summary


log = logging.getLogger(__name__)


class Orchestrator:
    """A fleet of models that acts as one.

    `backends` maps names to backends; `memory` is optional; `budget` limits every query unless the query brings a tighter one. `value_usd` is what
    a right answer is worth: search buys another draft only if that raises P(right) by more than its price divided by this. A `guarantee` answers
    within a certificate instead of by `quality`, unless a query names its own quality or strategy. `online` (settings, or just the path of a log)
    keeps every decision, learns from `feedback`, explores and audits; `grader` compares answers in audits.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        memory: Memory | None = None,
        router: Router | None = None,
        budget: Budget | None = None,
        quality: float = 0.85,
        guarantee: Guard | None = None,
        value_usd: float = 0.05,
        strategy: str | Strategy = "adaptive",
        max_tokens: int = 1_024,
        memory_tokens: int = 800,
        vote_model: VoteModel | None = None,
        verifiers: Sequence[Verifier] = (),
        ensemble: Ensemble | None = None,
        revisions: Mapping[str, RevisionOdds] | None = None,
        usd_per_second: float = 0.0,
        online: OnlineConfig | str | Path | None = None,
        grader: Grader | None = None,
        rng: random.Random | None = None,
        calibrations: Mapping[str, Calibration] | None = None,
        origin: str = "the caller",
    ) -> None:
        if not backends:
            raise ConfigError("the fleet is empty", remedy=WHAT_TO_ADD)
        for name, backend in backends.items():
            if backend.profile.name != name:
                raise ConfigError(f"the backend under {name!r} is called {backend.profile.name!r}", remedy="Give both the same name")
        self.backends = dict(backends)
        self.memory = memory
        self.router = router or Router()
        self.budget = budget or Budget()
        self.origin = origin
        self._quality = quality
        self._promised = guarantee
        self._strategy = _strategy(strategy)
        self._max_tokens = max_tokens
        self._memory_tokens = memory_tokens
        self._verifiers = tuple(verifiers)
        self._settings = SearchState(
            "",
            (),
            {},
            value_usd=value_usd,
            usd_per_second=usd_per_second,
            vote_model=vote_model or VoteModel(),
            ensemble=ensemble or Ensemble(),
            revisions=dict(revisions or {}),
        )
        self.deciders = Deciders(self.router, self.backends, calibrations)
        self._speeds = Speeds(backend.profile for backend in backends.values())
        self._blocking = BlockingLoop()
        self._together = Together(self.router)
        self._online: Online | None = None
        self._shadow: ShadowAudits | None = None
        if online is not None:
            settings = online if isinstance(online, OnlineConfig) else OnlineConfig(path=str(online))
            decisions = DecisionLog(settings.path, keep_days=settings.keep_days)
            self._online = Online(decisions, self.router, settings=settings, is_frozen=guarantee is not None, rng=rng)
            self._online.start({name: backend.profile for name, backend in backends.items()})
            if guarantee is not None:
                self._shadow = ShadowAudits(guarantee, decisions, self.backends, settings, grader=grader, rng=rng)

    @property
    def guarantee(self) -> Guard | None:
        """The guard of the promise under which this fleet routes, as its audits left it; `None` without one."""
        return self._shadow.guard if self._shadow else self._promised

    @property
    def value_usd(self) -> float:
        """What a right answer is worth, unless a query says otherwise."""
        return self._settings.value_usd

    @property
    def asks_plainly(self) -> bool:
        """Whether one draft of a named model is nothing but that: no checks of the fleet's own, no log, no audit."""
        return not self._verifiers and not self.takes_note

    @property
    def takes_note(self) -> bool:
        """Whether anything becomes of an answer beyond the answer: a log, learning, audits."""
        return self._online is not None or self._shadow is not None

    @property
    def decisions(self) -> DecisionLog | None:
        """The decision log, if this fleet keeps one."""
        return self._online.log if self._online else None

    @classmethod
    def from_config(cls, config: str | Path | Config = DEFAULT_NAME, **overrides: Any) -> Orchestrator:
        """Builds everything that a configuration names. Raises `ConfigError`."""
        parsed = config if isinstance(config, Config) else load_config(config)
        return cls._assemble(fleet_from_config(parsed), parsed, overrides)

    @classmethod
    async def at_hand(cls, *, memory_path: str | Path | None = None, local_servers: bool = True, **overrides: Any) -> Orchestrator:
        """Uses what it finds: API keys in the environment, else local model servers, else calculator and extractive. See `origin`."""
        from orchestrator.memory import Memory

        fleet = await fleet_at_hand(local_servers=local_servers)
        memory = Memory(memory_path) if memory_path is not None else None
        return cls(fleet.backends, **{"memory": memory, "origin": fleet.origin, **overrides})

    @classmethod
    def _assemble(cls, fleet: Fleet, config: Config, overrides: dict[str, Any]) -> Orchestrator:
        memory = None
        if config.memory is not None and "memory" not in overrides:
            memory = open_memory(config.memory)
        settings: dict[str, Any] = {
            "router": None,
            "memory": memory,
            "budget": Budget(**config.budget.model_dump()),
            "quality": config.quality if isinstance(config.quality, float) else 0.85,
            "value_usd": config.value_usd,
            "usd_per_second": config.usd_per_second,
            "strategy": config.strategy,
            "max_tokens": config.max_tokens,
            "memory_tokens": config.memory.token_budget if config.memory else 0,
            "online": config.online,
            "calibrations": load_calibrations(config.calibration),
            "origin": fleet.origin,
        }
        if config.checks is not None and "verifiers" not in overrides:
            settings["verifiers"] = checks_from_config(config.checks, fleet.backends)
        if config.search is not None and "strategy" not in overrides:
            settings |= calibrated_settings(config, fleet.backends)
        if config.router is not None and "router" not in overrides:
            settings["router"] = trained_router(config.router)
        if isinstance(config.quality, PromiseConfig) and "guarantee" not in overrides:
            settings["guarantee"] = load_guarantee(config, {name: b.profile for name, b in fleet.backends.items()}, settings["router"])
        return cls(fleet.backends, **{**settings, **overrides})

    async def answer(
        self,
        query: str | bytes | Query,
        *,
        history: Sequence[Message] = (),
        scope: str = "default",
        schema: dict[str, Any] | None = None,
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

        Raises `InvalidQuery`, `UnknownModel`, `BudgetExceeded` (nothing affordable could be started), `BackendError` (the only model failed) or
        `NoAdequateModel` (nothing at hand can answer; says what to add). A deadline or a spent budget gives the best answer so far,
        marked `partial`.
        """
        asked = query
        if not isinstance(asked, Query):
            wishes = {"criteria": tuple(criteria), "value_usd": value_usd, "usd_per_second": usd_per_second, "may_abstain": may_abstain}
            asked = self._parse(query, history, scope, schema, quality, models, **wishes)
        trace = Trace(on_event=on_event)
        return await self.carry_out(await self.plan(asked, trace, budget=budget, strategy=strategy), trace)

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
        """What would be done for a query: recalled, routed and ready to be carried out. No model is asked.

        `preference` outranks the query's quality; `needs` are capabilities that a model must have.
        """
        recall = await self._recall(query, trace)
        request = self.request_for(query, recall)
        limits = self.budget & (budget or Budget())
        route = await self._routed(query, request, trace, preference, needs, limits.seconds)
        if route.chosen is None and (fitting := self._trimmed(query, request, route, trace)) is not None:
            request = fitting
            route = await self._routed(query, request, trace, preference, needs, limits.seconds)
        checks = [*self._verifiers, *checks_for(query, recall)]
        begin = partial(first_state, query, route, request, self.backends, self._settings)
        chosen, first, propensity = self._strategy_for(query, strategy), "", 1.0
        if self._online is not None:
            state = begin()
            chosen, first, propensity = self._online.first_ask(route, state, chosen)
            begin = partial(replace, state)
        is_promised = strategy is None and query.quality is None and preference is None
        return Plan(query, recall, request, route, checks, begin, chosen, limits, is_promised, first, propensity)

    async def carry_out(self, plan: Plan, trace: Trace, ledger: Ledger | None = None) -> Answer:
        """Searches as planned, on `ledger`, which is the caller's to look at when it fails. Raises as `answer` does."""
        ledger = ledger or Ledger(plan.budget)
        search = Search(self.backends, plan.checks, ledger, trace, seconds=plan.budget.seconds)
        result = await search.run(plan.state, plan.strategy, plan.request)
        self._observe_speeds(result.state)
        if not any(map(result.state.is_of_use, range(len(result.state.candidates)))):
            trace.finish(error="no answer")
            raise await why_no_answer(self.backends, plan.request, plan.route, result, trace)
        return await self._concluded(plan, result, search.usage, search.record, ledger, trace)

    async def took(self, plan: Plan, completion: Completion, cost_usd: float | None, trace: Trace) -> Answer:
        """Notes that the plan's only draft (`Plan.only_draft`) was obtained by somebody else, who passed it on as it was written: it is logged,
        learned from and audited like any other answer.
        """
        action = Draft(completion.model)
        state = Change((Candidate(completion),)).applied(plan.state.after_beginning(action))
        ledger = Ledger()
        ledger.settle(
            ledger.reserve(usd=cost_usd),
            usd=cost_usd or 0.0,
            tokens=completion.usage.total_tokens,
            output_tokens=completion.usage.output_tokens,
        )
        self._observe_speeds(state)
        return await self._concluded(plan, SearchResult(state, "one draft", False, {}, ()), completion.usage, None, ledger, trace)

    async def _concluded(
        self, plan: Plan, result: SearchResult, usage: Usage, record: Recording | None, ledger: Ledger, trace: Trace
    ) -> Answer:
        promised = self.guarantee.certificate.promise.vs if self.guarantee else None
        answer = concluded(plan.recall, plan.route, result, usage, record, ledger, trace, reference=promised)
        if self._online is not None:
            await self._log(plan, answer, result.state)
        if self._shadow is not None and not answer.abstained and plan.is_promised:
            self._shadow.consider(answer, plan.request, plan.checks)
        return answer

    def stream(self, query: str | bytes | Query, **settings: Any) -> AsyncGenerator[Event | Answer, None]:
        """As `answer` (same settings and errors), but yields every event as it happens, and last the answer. Closing it cancels the search."""
        return events_of(lambda on_event: self.answer(query, **settings, on_event=on_event))

    async def feedback(
        self,
        answer: Answer | str,
        score: float | None = None,
        *,
        expected: str | None = None,
        reliability: float = 1.0,
        source: str = "user",
    ) -> dict[str, float]:
        """Says what became known of an answer (or of its id): a `score` in [0, 1], or the `expected` answer.

        Logged and, unless a promise freezes the router, learned when this returns. Drafts that said the same get the same score; if the answer was
        right, those that said something else were wrong. Returns the score of each model that this graded. `reliability` in (0.5, 1] is the
        probability that the grader is right. Raises `ConfigError` without a decision log, `UnknownAnswer`, `InvalidQuery`.
        """
        if self._online is None:
            raise ConfigError("feedback needs a decision log", remedy="Pass online=PATH, or write online: {} in the configuration")
        found = answer if isinstance(answer, str) else answer.id
        grades = await asyncio.to_thread(self._online.feedback, found, score, expected=expected, reliability=reliability, source=source)
        return {grade.model: grade.score for grade in grades}

    async def decide(
        self,
        state: str,
        questions: Mapping[str, Question | str],
        *,
        models: Sequence[str] | None = None,
        budget: Budget | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Decisions:
        """Probabilities instead of text: typed questions about `state` (a string asks for yes or no), answered by the cheapest model that gives
        probabilities. They are scaled to what came of earlier ones (`orchestrator calibrate`); each decision says whether they were.
        `models=["orchestrator/complexity"]` asks the router itself, for nothing.

        Raises `UnknownModel`, `ConfigError` (no model gives probabilities), `BudgetExceeded`, `BackendError`.
        """
        asked = {name: Question(one) if isinstance(one, str) else one for name, one in questions.items()}
        if not asked:
            raise InvalidQuery("nothing is asked", remedy='Pass questions={"urgent": "Is this urgent?"}')
        self._parse(state, (), "default", None, None, [model for model in models or () if model != COMPLEXITY])
        limits = self.budget & (budget or Budget())
        return await self.deciders.decide(
            state, asked, ledger=Ledger(limits), trace=Trace(on_event=on_event), models=models, deadline_s=limits.seconds
        )

    async def remember(
        self, text: str, scope: str = "default", *, speaker: str = "", time: datetime | None = None, session: str = "", source: str = ""
    ) -> Record:
        """Stores one text durably. Raises `ConfigError` when there is no memory."""
        memory = self.need_memory()
        return await asyncio.to_thread(memory.remember, text, scope, speaker=speaker, time=time, session=session, source=source)

    async def recall(self, query: str, scope: str = "default", *, token_budget: int | None = None) -> Recall:
        """The facts that a query needs, packed into `token_budget` tokens."""
        budget = self._memory_tokens if token_budget is None else token_budget
        return await asyncio.to_thread(self.need_memory().recall, query, scope, token_budget=budget)

    async def summarize(
        self, scope: str = "default", *, session: str | None = None, token_budget: int = 300, models: Sequence[str] | None = None
    ) -> Summary:
        """What a scope, or one session of it, is about: telling sentences of its records, with citations.

        With `models`, written by the cheapest adequate of them, and kept as far as the records that it cites support it.
        """
        writer = (
            None
            if models is None
            else writer_of(self.answer, self._parse("summary", (), scope, None, None, models), asyncio.get_running_loop())
        )
        summarize = self.need_memory().summarize
        return await asyncio.to_thread(summarize, scope, session=session, token_budget=token_budget, writer=writer)

    async def forget(self, scope: str, ids: Sequence[int] | None = None) -> Forgotten:
        """Deletes records of a scope for good: those of `ids`, or all of them and the decisions logged for the scope."""
        receipt = await asyncio.to_thread(self.need_memory().forget, scope, ids)
        if ids is None and self._online is not None:
            await asyncio.to_thread(self._online.log.forget, scope=scope)
        return receipt

    def route(self, query: str, *, scope: str = "default", quality: float | None = None, models: Sequence[str] | None = None) -> Route:
        """The decision alone, without asking any model."""
        asked = self._parse(query, (), scope, None, quality, models)
        recall = self.memory.recall(asked.text, asked.scope, token_budget=self._memory_tokens) if self.memory else None
        backends, profiles = self._profiles(asked)
        assessed = self.router.assess([_judged(asked)], profiles)[0]
        return self._decided(asked, self.request_for(asked, recall), assessed, backends, profiles)

    def explain(self, query: str) -> Explanation:
        """What the router's decision about this query rests on."""
        return self.router.explain(judged_text(query), [self._speeds.profiles[name] for name in self.backends])

    def answer_sync(self, query: str | bytes | Query, **options: Any) -> Answer:
        """`answer` for scripts; `close` it at the end, or use `with`. Must not be called from a running event loop."""
        return self._blocking.run(self.answer(query, **options))

    def decide_sync(self, state: str, questions: Mapping[str, Question | str], **options: Any) -> Decisions:
        return self._blocking.run(self.decide(state, questions, **options))

    def feedback_sync(self, answer: Answer | str, score: float | None = None, **options: Any) -> dict[str, float]:
        return self._blocking.run(self.feedback(answer, score, **options))

    def remember_sync(self, text: str, scope: str = "default", **fields: Any) -> Record:
        return self._blocking.run(self.remember(text, scope, **fields))

    def recall_sync(self, query: str, scope: str = "default", *, token_budget: int | None = None) -> Recall:
        return self._blocking.run(self.recall(query, scope, token_budget=token_budget))

    async def aclose(self) -> None:
        """Waits for running audits, then closes connections, the memory and the decision log."""
        if self._shadow is not None:
            await self._shadow.aclose()
        for backend in self.backends.values():
            await backend.aclose()
        if self.memory is not None:
            self.memory.close()
        if self._online is not None:
            self._online.log.close()

    def close(self) -> None:
        """`aclose` for scripts."""
        self._blocking.run(self.aclose())
        self._blocking.close()

    def __enter__(self) -> Orchestrator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Orchestrator:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _parse(
        self,
        text: object,
        history: Sequence[Message],
        scope: str,
        schema: dict[str, Any] | None,
        quality: float | None,
        models: Sequence[str] | None,
        **wishes: Any,
    ) -> Query:
        if models is not None:
            for name in models:
                if name not in self.backends:
                    raise UnknownModel(f"unknown model {name!r}", remedy=f"This fleet has: {', '.join(self.backends)}")
        allowed = None if models is None else frozenset(models)
        return Query.parse(text, history=tuple(history), scope=scope, schema=schema, quality=quality, models=allowed, **wishes)

    async def _recall(self, query: Query, trace: Trace) -> Recall | None:
        if self.memory is None or self._memory_tokens == 0 or not query.uses_memory:
            return None
        with trace.span("recall", scope=query.scope) as span:
            recall = await asyncio.to_thread(self.memory.recall, query.text, query.scope, token_budget=self._memory_tokens)
            span.attributes.update(records=len(recall.items), tokens=recall.tokens, searched=recall.searched)
        trace.emit("recalled", records=len(recall.items), tokens=recall.tokens)
        return recall

    def request_for(self, query: Query, recall: Recall | None = None) -> Request:
        """What a model is asked first."""
        recalled = (*(recall.items if recall else ()), *query.sources)
        most = self._max_tokens if query.max_tokens is None else query.max_tokens
        messages = draft_messages(query, recall)
        return Request(messages, query.text, most, query.temperature, schema=query.schema, recalled=recalled, scope=query.scope)

    def _trimmed(self, query: Query, request: Request, route: Route, trace: Trace) -> Request | None:
        """The request cut to what the model with the longest context uses well, where all are ruled out by its length; else `None`."""
        too_long = [w.model for w in route.weighed if set(w.broken) == {"context"}]
        if not too_long:
            return None
        room = max(self._speeds.profiles[name].usable_context_tokens for name in too_long) - request.max_tokens
        fitting = trimmed(request.messages, query.text, room)
        if not fitting.dropped_tokens:
            return None
        trace.emit("trimmed", dropped_tokens=fitting.dropped_tokens)
        trace.root.attributes["trimmed_tokens"] = fitting.dropped_tokens
        return replace(request, messages=fitting.messages)

    def _profiles(self, query: Query) -> tuple[dict[str, Backend], list[ModelProfile]]:
        """The models that may answer, and what is known of them."""
        allowed = {name: b for name, b in self.backends.items() if query.models is None or name in query.models}
        # A certificate speaks of the stated prices and lengths; otherwise what was observed counts.
        return allowed, [backend.profile if self._promised else self._speeds.profiles[name] for name, backend in allowed.items()]

    async def _routed(
        self,
        query: Query,
        request: Request,
        trace: Trace,
        preference: Preference | None,
        capabilities: frozenset[str],
        seconds: float | None,
    ) -> Route:
        backends, profiles = self._profiles(query)
        with trace.span("route") as span:
            assessed = await self._together.assess(_judged(query), profiles)
            route = self._decided(query, request, assessed, backends, profiles, preference, capabilities, seconds)
            span.attributes.update(chosen=route.chosen, reason=route.reason)
        trace.emit("routed", model=route.chosen, reason=route.reason, adequate=route.adequate)
        return route

    def _decided(
        self,
        query: Query,
        request: Request,
        assessed: Assessed,
        backends: Mapping[str, Backend],
        profiles: Sequence[ModelProfile],
        preference: Preference | None = None,
        capabilities: frozenset[str] = frozenset(),
        seconds: float | None = None,
    ) -> Route:
        known = {name: p for name, backend in backends.items() if (p := backend.estimate(request)) is not None}
        needs = Needs(
            estimate_prompt_tokens(request.messages),
            capabilities=capabilities,
            cached_tokens={name: held for name, backend in backends.items() if (held := expected_cached_tokens(backend, request))},
            unavailable=frozenset(name for name, backend in backends.items() if not is_available(backend)),
        )
        wanted = preference or self._preference(query)
        if seconds is not None:
            in_time = Constraints(max_latency_s=seconds)
            route = decide(assessed, profiles, needs=needs, known=known, preference=wanted, constraints=in_time)
            if route.chosen is not None:
                return route
        return decide(assessed, profiles, needs=needs, known=known, preference=wanted)

    def _preference(self, query: Query) -> Preference:
        guard = self.guarantee
        if guard is None or query.quality is not None:
            return Preference(quality=self._quality if query.quality is None else query.quality)
        reference = guard.certificate.promise.vs
        if guard.threshold is None:
            return Preference("close", quality=1.0, reference=reference, gap=-1.0)
        if guard.certificate.promise.covers == "search":
            return Preference(quality=1.0 - guard.threshold)
        return Preference("close", quality=self._quality, reference=reference, gap=guard.threshold)

    def _strategy_for(self, query: Query, named: str | Strategy | None) -> Strategy:
        guard = self.guarantee
        if (
            named is None
            and guard is not None
            and query.quality is None
            and (guard.certificate.promise.covers == "routing" or guard.threshold is None)
        ):
            return STRATEGIES["single"]  # such a certificate speaks of one draft by the routed model
        return self._strategy if named is None else _strategy(named)

    def _observe_speeds(self, state: SearchState) -> None:
        for candidate in state.candidates:
            done = candidate.completion
            used = done.usage
            fresh, written = used.prefill_tokens - used.cached_tokens, used.output_tokens
            self._speeds.observe(done.model, latency_s=done.latency_s, ttft_s=done.ttft_s, output_tokens=written, fresh_tokens=fresh)

    async def _log(self, plan: Plan, answer: Answer, state: SearchState) -> None:
        """Keeps the decision. An answer is never lost because its log could not be written."""
        assert self._online is not None
        decision = as_logged(
            answer,
            state,
            query=_judged(plan.query),
            scope=plan.query.scope,
            asked=plan.asked_first,
            propensity=plan.propensity,
            profiles={name: backend.profile for name, backend in self.backends.items()},
        )
        try:
            await asyncio.to_thread(self._online.record, decision, state)
        except (sqlite3.Error, StorageError) as error:
            log.error("a decision was not logged", extra={"answer": answer.id, "reason": str(error)})

    def need_memory(self) -> Memory:
        """The memory. Raises `ConfigError` when there is none."""
        if self.memory is None:
            raise ConfigError("this orchestrator has no memory", remedy="Pass memory=Memory(path), or set memory.path in the configuration")
        return self.memory


def _judged(query: Query) -> str:
    return judged_text(query.text, [(message.role, message.content) for message in query.history])


def _strategy(strategy: str | Strategy) -> Strategy:
    return strategy if callable(strategy) else strategy_named(strategy)
