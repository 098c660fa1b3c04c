"""Shadow audits.

Under a promise, a small share of the queries that were answered without the reference is asked of it afterwards.

What was lost feeds the guard (`orchestrator.router.guarantee.monitor`), which tightens or withdraws the certificate by
itself. The audits of a certificate are kept in the decision log, so a restart forgets none.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from orchestrator.backends.base import Backend, Request
from orchestrator.config.models import OnlineConfig
from orchestrator.errors import BackendError
from orchestrator.learning.audit_money import DAY_S as DAY_S
from orchestrator.learning.audit_money import AuditMoney
from orchestrator.router import Route
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.search.state import group_key
from orchestrator.storage.decision_log import DecisionLog, LoggedAudit
from orchestrator.types import Answer, Completion
from orchestrator.verifiers import Verifier

Grader = Callable[[str, str, str], Awaitable[tuple[float, float]] | tuple[float, float]]
"""(query, answer, answer of the reference) -> the score of each in [0, 1]; a plain function or a coroutine."""
log = logging.getLogger(__name__)


class ShadowAudits:
    """The guard of one fleet and the audits that feed it.

    At most `audit_usd_per_day` is spent on them, over all processes that share the log.
    """

    def __init__(
        self,
        guard: Guard,
        decisions: DecisionLog,
        backends: Mapping[str, Backend],
        settings: OnlineConfig,
        *,
        grader: Grader | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.guard = guard
        self._log = decisions
        self._settings = settings
        self._money = AuditMoney(backends, settings.audit_usd_per_day, decisions.audit_usd_since)
        self._grader = grader
        self._rng = rng or random.Random()
        self._running: set[asyncio.Task[None]] = set()
        self._gains: list[float] = []
        for audit in decisions.audits(guard.certificate.id):
            self._observe(audit)

    def consider(self, answer: Answer, request: Request, checks: Sequence[Verifier]) -> None:
        """Begins an audit of this answer in the background, if it is one of those to be audited."""
        route = answer.route
        if route is None or not self._is_covered(answer, route):
            return
        if self._rng.random() < self._settings.audit:
            task = asyncio.ensure_future(self._audit(answer, route, request, checks))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _is_covered(self, answer: Answer, route: Route) -> bool:
        """Whether the promise speaks of this answer.

        Given without the reference, which was at hand, by a model that does not judge itself.
        """
        reference = self.guard.certificate.promise.vs
        judges_itself = any(c.model == answer.model and c.completion.confidence is not None for c in answer.candidates)
        at_hand = any(option.model == reference and not option.excluded for option in route.options)
        return at_hand and not judges_itself and all(c.model != reference for c in answer.candidates)

    async def aclose(self) -> None:
        """Waits for the audits that are running."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _audit(self, answer: Answer, route: Route, request: Request, checks: Sequence[Verifier]) -> None:
        try:
            found = await self._compared(answer, route, request, checks)
            if found is not None:
                await asyncio.to_thread(self._log.audit, answer.id, self.guard.certificate.id, found)
                self._money.logged(found.cost_usd)
                self._observe(found)
        except BackendError as error:
            log.info("an audit could not be made", extra={"answer": answer.id, "reason": error.message})
        except Exception:
            log.exception("an audit failed", extra={"answer": answer.id})

    async def _compared(
        self, answer: Answer, route: Route, request: Request, checks: Sequence[Verifier]
    ) -> LoggedAudit | None:
        """What was lost against the reference; `None` if that cannot be told, or if the day's money is spent."""
        if self._grader is None and group_key(answer.text, request.question) is None:
            return None  # free text, and nobody to compare it
        reference = self.guard.certificate.promise.vs
        asked = await self._money.ask(reference, request)
        if asked is None:
            return None
        loss, usd = await self._loss(answer, route, request, checks, asked[0])
        if self.guard.certificate.promise.kind == "gross":
            loss = float(loss > 0)
        return LoggedAudit(loss, self.guard.certificate.gain(route, answer.model, answer.confidence), asked[1] + usd)

    async def _loss(
        self, answer: Answer, route: Route, request: Request, checks: Sequence[Verifier], other: Completion
    ) -> tuple[float, float]:
        """Score of the reference - score of the answer, in [-1, 1], and what finding out cost beyond asking the
        reference.

        Equal answers lose nothing. Different ones are settled by decisive checks, else by the grader, else by a third
        model's vote; without a third model the reference is taken to be right, which can alarm too early and never too
        late.
        """
        question, text = request.question, other.text or ""
        mine, theirs = group_key(answer.text, question), group_key(text, question)
        if mine is not None and mine == theirs:
            return 0.0, 0.0
        failed = [await _is_ruled_out(checks, question, candidate) for candidate in (answer.text, text)]
        if any(failed):
            return float(failed[0]) - float(failed[1]), 0.0
        if self._grader is not None:
            graded = self._grader(question, answer.text, text)
            score, reference_score = await graded if inspect.isawaitable(graded) else graded
            return min(max(reference_score - score, -1.0), 1.0), 0.0
        judges = [
            o for o in route.usable if o.model not in (answer.model, other.model) and o.p_success > 0 and o.cost_usd
        ]
        if not judges:
            return 1.0, 0.0
        try:
            third = await self._money.ask(max(judges, key=lambda o: o.p_success).model, request)
        except BackendError:
            third = None  # the reference has been paid for: its audit counts, with nobody to vote
        if third is None:
            return 1.0, 0.0
        vote = group_key(third[0].text or "", question)
        return float(vote == theirs) - float(vote == mine), third[1]

    def _observe(self, audit: LoggedAudit) -> None:
        self._gains.append(audit.gain)
        before = self.guard.state
        self.guard = self.guard.observe([audit.loss], self._gains)
        if self.guard.state != before:
            log.warning(
                "the promised quality is not kept: the certificate is %s",
                self.guard.state,
                extra={"audits": len(self._gains), "threshold": self.guard.threshold},
            )


async def _is_ruled_out(checks: Sequence[Verifier], question: str, text: str) -> bool:
    verdicts = [await check.verify(question, text) for check in checks]
    return any(verdict.decisive and verdict.passed is False for verdict in verdicts)
