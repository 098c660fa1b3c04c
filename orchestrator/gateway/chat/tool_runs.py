"""Tools of the configuration behind the gateway: called here, for keys that may, until there is an answer.

A call that needs approval waits: the reply names it under `requires_action`, with the id of the run. The same request
again, with `orchestrator: {run, approve: {CALL: true}}`, goes on; what was paid and done by then is not done again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from orchestrator.agent.journal import new_run_id
from orchestrator.agent.loop import RunLimits
from orchestrator.agent.unkept import UnkeptRun
from orchestrator.budget import Budget, Ledger
from orchestrator.config.models import AutoConfig
from orchestrator.conversation.sent import NOTICE
from orchestrator.engine.settings import PreparedQuery
from orchestrator.errors import ConfigError
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.chat.job import ChatJob
from orchestrator.gateway.chat.synthetic import completion, told_as_events
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.error_mapping import to_gateway_error
from orchestrator.jsontypes import JsonObject
from orchestrator.router import Preference
from orchestrator.tools import ToolSet
from orchestrator.trace import Event
from orchestrator.types import Answer, Query

if TYPE_CHECKING:
    from orchestrator.agent import RunStore
    from orchestrator.engine.orchestrator import Orchestrator

MAX_STEPS = 20
log = logging.getLogger(__name__)
WORTH = 5.0  # right answers that a run is worth at most, where nobody says otherwise


class AskedOf(Protocol):
    """What a run needs of the completions that it is one of."""

    engine: Orchestrator

    def models_of(self, job: ChatJob, *, only: str | None) -> tuple[AutoConfig, frozenset[str] | None]:
        """What the name of the model stands for, and which models may answer."""

    def query_of(
        self, job: ChatJob, auto: AutoConfig, allowed: frozenset[str] | None, *, has_fallbacks: bool
    ) -> tuple[Query, str | None, Preference | None]:
        """The query of a request, how it is searched for, and what outranks its quality."""

    def runs_for(self, principal: Principal) -> RunStore | None:
        """Where runs with tools of a key are kept."""

    async def paid(
        self,
        job: ChatJob,
        stated: Budget,
        tokens_each: int,
        work: Callable[[Budget, Ledger], Awaitable[Answer]],
        worth: float = 1.0,
    ) -> Answer:
        """What `work` gives within an envelope of money that is held on the accounts first."""


class ToolRuns:
    """Runs with tools; `may_use` are the tools that keys may have called, by a pattern of their ids or names."""

    def __init__(self, completions: AskedOf, may_use: Mapping[str, Sequence[str]]) -> None:
        self._completions = completions
        self._may_use = may_use

    def wanted(self, job: ChatJob) -> bool:
        """Whether a request asks for tools of the configuration."""
        return bool(job.options.tools) or bool(job.options.run)

    def allowed(self, principal: Principal) -> list[str]:
        """The tools that a key may have called, by name."""
        found = [name for keys, names in self._may_use.items() if principal.is_one_of([keys]) for name in names]
        return list(dict.fromkeys(found))

    async def whole(self, job: ChatJob) -> JsonObject:
        """The answer as a completion."""
        return await self._completion(job, None)

    def stream(self, job: ChatJob) -> AsyncIterator[bytes]:
        """The answer in pieces, after what is done for it. Raises `GatewayError` before anything is sent."""
        self._named(job)
        return told_as_events(job, lambda on_event: self._completion(job, on_event))

    def _named(self, job: ChatJob) -> list[str]:
        """The tools that a request names. Raises `GatewayError` on those that its key may not use."""
        allowed, stated = self.allowed(job.tab.principal), job.options.tools
        names = allowed if stated is True or not stated else list(stated)
        refused = [name for name in names if name not in allowed]
        if refused or not names:
            told = f"this key may not use the tool {refused[0]!r}" if refused else "this key may use no tools here"
            hint = f"; it may use: {', '.join(allowed)}" if allowed else ""
            raise GatewayError(403, told + hint, code="tool_not_allowed", should_retry=False)
        if job.asked.body.get("tools"):
            raise GatewayError(
                400,
                "tools of the client and tools of this gateway cannot be mixed in one request",
                code="tools_mixed",
                param="tools",
            )
        if beyond := job.asked.beyond_search():
            raise GatewayError(
                400, f"tools of this gateway cannot be used with this request: {beyond}", code="tools_not_possible"
            )
        return names

    async def _completion(self, job: ChatJob, on_event: Callable[[Event], None] | None) -> JsonObject:
        acting = _Acting(on_event)
        prepared = await self._prepared(job, acting.take)

        async def run(budget: Budget, ledger: Ledger) -> Answer:
            asked = replace(prepared, budget=budget)
            return await self._completions.engine.answer_prepared(asked, within=ledger)

        each = job.asked.worst_prompt_tokens() + (job.asked.max_tokens or 0)
        try:
            found = await self._completions.paid(job, job.budget, each, run, WORTH)
        except Exception as error:
            if not acting.begun and not job.options.run:
                raise
            raise _after_acting(error, job) from error
        facts = job.facts
        facts.steps = found.steps
        facts.called = [call.call.name for step in found.steps for call in step.called if call.was_called]
        facts.reason = f"a run with tools: {len(facts.called)} calls"
        facts.waiting = [{"id": c.id, "tool": c.name, "arguments": c.arguments} for c in found.calls]
        refusal = "no answer is believed enough" if found.abstained else None
        told = _waiting(found) if found.calls else found.text
        return completion(job, told, found.usage, refusal=refusal, is_cut=found.is_cut and not found.calls)

    async def _connected(self, names: Sequence[str]) -> ToolSet:
        """The tools of some names. What is wrong with one stays with the operator."""
        try:
            return await ToolSet(names, self._completions.engine.catalog).connected()
        except ConfigError as error:
            log.error("a tool of the configuration cannot be used: %s", error)
            told = f"a tool of this gateway cannot be used at the moment, of: {', '.join(names)}"
            raise GatewayError(502, told, code="tool_unavailable") from None

    async def _prepared(self, job: ChatJob, on_event: Callable[[Event], None] | None) -> PreparedQuery:
        completions, model, options = self._completions, job.asked.body["model"], job.options
        tools = await self._connected(self._named(job))
        only = model if model in completions.engine.backends else None
        auto, allowed = completions.models_of(job, only=only)
        query, strategy, preference = completions.query_of(job, auto, allowed, has_fallbacks=only is None)
        query = replace(query, tools=(), tool_choice=job.asked.body.get("tool_choice"))
        runs = completions.runs_for(job.tab.principal)
        about: JsonObject = {"query": query.text, "history": [[m.role, m.content] for m in query.history]}
        if options.run and (runs is None or not await runs.has(options.run)):
            raise GatewayError(404, f"there is no run {options.run!r}", code="run_not_found", param="run")
        id = options.run or _run_of_key(job) or new_run_id()
        record = UnkeptRun(id) if runs is None else await runs.open(id, about)
        job.facts.run = record.id
        return PreparedQuery(
            query,
            job.budget,
            strategy if only is None else options.strategy or "single",
            on_event,
            tools=tools,
            decided=options.approve,
            limits=RunLimits(max_steps=MAX_STEPS),
            record=record,
            preference=preference,
        )


class _Acting:
    """Listens for tools that are called."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self.begun = False
        self._on_event = on_event

    def take(self, event: Event) -> None:
        """One event of the run."""
        self.begun |= event.kind == "calling"
        if self._on_event is not None:
            self._on_event(event)


def _run_of_key(job: ChatJob) -> str:
    """The run that a request with an `Idempotency-Key` is always about; "" without one.

    (draft-ietf-httpapi-idempotency-key-header.)
    """
    key = job.tab.call.header(b"idempotency-key")
    return f"run_{hashlib.sha256(f'{job.tab.principal.key} {key}'.encode()).hexdigest()[:40]}" if key else ""


def _after_acting(error: Exception, job: ChatJob) -> Exception:
    """An error of a run that has called tools: the same request sent anew would call them again."""
    problem = to_gateway_error(error)
    if problem is None:
        log.error("a run with tools failed", exc_info=error, extra={"request": job.tab.id})
        problem = GatewayError(500, "an error of the gateway", code="internal")
    run = job.facts.run
    problem.should_retry, problem.retry_after_s = False, None
    problem.message += f' (tools were called by then: send it again with orchestrator: {{"run": "{run}"}}, not anew)'
    problem.extra_headers += ((b"x-orchestrator-run", run.encode()),)
    return problem


def _waiting(found: Answer) -> str:
    """What is to be approved, in words: who reads only the text must see it."""
    calls = ", ".join(f"{call.name}({call.written or call.arguments})" for call in found.calls)
    return f"{found.text}\n\n{NOTICE}{calls}".strip()
