"""Carries out a plan.

Searches, concludes, and hands the answer to those who observe answers (decision log, learning, audits).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping

from orchestrator.backends.base import Backend
from orchestrator.budget import Ledger
from orchestrator.engine.answer import build_answer, explain_no_answer
from orchestrator.engine.plan import Plan, is_shown_live, text_to_judge
from orchestrator.errors import StorageError
from orchestrator.learning.online import OnlineLearner, as_logged
from orchestrator.learning.shadow_audits import ShadowAudits
from orchestrator.learning.student_watch import StudentWatch
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.speed import Speeds
from orchestrator.search.actions import Draft
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.live_text import LiveText
from orchestrator.search.recording import Change, Recording
from orchestrator.search.state import SearchState
from orchestrator.trace import Trace
from orchestrator.types import Answer, Candidate, Completion, Usage

log = logging.getLogger(__name__)


class Executor:
    """Carries out plans over one fleet.

    `online` keeps and learns from every decision, `audits` watch over a promise, `students` over models that learned
    from others; all are optional.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        speeds: Speeds,
        online: OnlineLearner | None,
        audits: ShadowAudits | None,
        promised: Guard | None,
        students: StudentWatch | None = None,
    ) -> None:
        self.online = online
        self.audits = audits
        self.students = students
        self._promised = promised
        self._backends = backends
        self._speeds = speeds

    @property
    def guarantee(self) -> Guard | None:
        """The promise under which this fleet routes, as its audits left it; `None` without one."""
        return self.audits.guard if self.audits else self._promised

    @property
    def is_bound(self) -> bool:
        """Whether the fleet was set up under a promise, which speaks of stated prices and lengths."""
        return self._promised is not None

    async def execute(
        self, plan: Plan, trace: Trace, ledger: Ledger | None = None, live: LiveText | None = None
    ) -> Answer:
        """Searches as planned, on `ledger`, which is the caller's to look at when it fails.

        `live` shows text as it is written. Raises as `Orchestrator.answer` does.
        """
        ledger = ledger or Ledger(plan.budget)
        if live is not None:
            live.is_on = is_shown_live(plan, keeps=live.keeps)
        search = Search(self._backends, plan.checks, ledger, trace, seconds=plan.budget.seconds, live=live)
        result = await search.run(plan.state, plan.strategy, plan.request)
        self._observe_speeds(result.state)
        if not any(map(result.state.is_of_use, range(len(result.state.candidates)))):
            trace.finish(error="no answer")
            error = await explain_no_answer(self._backends, plan.request, plan.route, result, trace)
            raise error from next((each for each in reversed(result.errors) if each is not error), error.__cause__)
        return await self._conclude(plan, result, search.usage, search.record, ledger, trace)

    async def record_draft(self, plan: Plan, completion: Completion, cost_usd: float | None, trace: Trace) -> Answer:
        """Notes that the plan's only draft (`Plan.single_draft_model`) was obtained by somebody else, who passed it on
        as it was written.

        It is logged, learned from and audited like any other answer.
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
        return await self._conclude(
            plan, SearchResult(state, "one draft", False, {}, ()), completion.usage, None, ledger, trace
        )

    async def aclose(self) -> None:
        """Closes the decision log, and what is kept of students."""
        if self.students is not None:
            await self.students.aclose()
        if self.online is not None:
            self.online.log.close()

    async def _conclude(
        self, plan: Plan, result: SearchResult, usage: Usage, record: Recording | None, ledger: Ledger, trace: Trace
    ) -> Answer:
        promised = self.guarantee.certificate.promise.vs if self.guarantee else None
        answer = build_answer(plan.recall, plan.route, result, usage, record, ledger, trace, reference=promised)
        if self.online is not None:
            await self._log(self.online, plan, answer, result.state)
        if self.audits is not None and not answer.abstained and plan.is_promised:
            self.audits.consider(answer, plan.request, plan.checks)
        if self.students is not None:
            self.students.consider(answer, plan.request, plan.query.scope)
        return answer

    def _observe_speeds(self, state: SearchState) -> None:
        for candidate in state.candidates:
            done = candidate.completion
            used = done.usage
            fresh, written = used.prefill_tokens - used.cached_tokens, used.output_tokens
            self._speeds.observe(
                done.model, latency_s=done.latency_s, ttft_s=done.ttft_s, output_tokens=written, fresh_tokens=fresh
            )

    async def _log(self, online: OnlineLearner, plan: Plan, answer: Answer, state: SearchState) -> None:
        """Keeps the decision. An answer is never lost because its log could not be written."""
        decision = as_logged(
            answer,
            state,
            query=text_to_judge(plan.query),
            scope=plan.query.scope,
            asked=plan.asked_first,
            propensity=plan.propensity,
            profiles={name: backend.profile for name, backend in self._backends.items()},
        )
        try:
            await asyncio.to_thread(online.record, decision, state)
        except (sqlite3.Error, StorageError) as error:
            log.error("a decision was not logged", extra={"answer": answer.id, "reason": str(error)})
