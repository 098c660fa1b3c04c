"""One decision under a budget.

Of the cheapest model that gives probabilities, or of the next one if it cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.backends.base import Backend, is_available
from orchestrator.backends.metering import Bill, metered
from orchestrator.budget import Ledger
from orchestrator.decisions.base import DecisionBackend, can_decide, decider_for
from orchestrator.decisions.calibration import ProbabilityCalibration, calibrated
from orchestrator.decisions.complexity import COMPLEXITY, Complexity
from orchestrator.decisions.question import Decisions, Question
from orchestrator.errors import BackendError, ConfigError
from orchestrator.providers.prices import billed_usd
from orchestrator.router import Router
from orchestrator.trace import Trace


class Deciders:
    """Those models of a fleet that give probabilities, each with what is known of how far its numbers can be believed.

    `as_stated` leaves them as they are, to find that out.
    """

    def __init__(
        self,
        router: Router,
        backends: Mapping[str, Backend],
        calibrations: Mapping[str, ProbabilityCalibration] | None = None,
        *,
        as_stated: bool = False,
    ) -> None:
        self.local = Complexity(router, backends)
        self.calibrations = dict(calibrations or {})
        self._backends = {name: backend for name, backend in backends.items() if can_decide(backend)}
        plain = {name: decider_for(backend) for name, backend in self._backends.items()}
        self._deciders = (
            plain if as_stated else {name: calibrated(one, self.calibrations.get(name)) for name, one in plain.items()}
        )

    @property
    def names(self) -> list[str]:
        """The models that can decide."""
        return list(self._deciders)

    def of(self, model: str) -> DecisionBackend:
        """`orchestrator/complexity` is the local classifier.

        Raises `ConfigError` on a model that gives no probabilities.
        """
        if model == COMPLEXITY:
            return self.local
        if model not in self._deciders:
            told = ", ".join(self._deciders) or "none of this fleet does"
            raise ConfigError(f"{model} gives no probabilities", remedy=f"Models that do: {told}")
        return self._deciders[model]

    def is_calibrated(self, model: str, questions: Iterable[Question]) -> bool:
        """Whether a model's numbers were held against enough known answers of each of these kinds of question."""
        known = self.calibrations.get(model)
        return known is not None and all(known.covers(question.kind) for question in questions)

    async def decide(
        self,
        state: str,
        questions: Mapping[str, Question],
        *,
        ledger: Ledger,
        trace: Trace,
        models: Iterable[str] | None = None,
        deadline_s: float | None = None,
    ) -> Decisions:
        """Raises `ConfigError` where no model can, `BudgetExceeded`, or the last model's `BackendError`."""
        able = [self.of(name) for name in (self._deciders if models is None else models)]
        if not able:
            message = "no model of this fleet gives probabilities"
            raise ConfigError(message, remedy="Add one whose provider gives log-probabilities or decisions")
        asked = [one for one in able if self._is_available(one.profile.name)] or able
        last: BackendError | None = None
        for one in sorted(asked, key=lambda each: _price(each, state, questions)):
            try:
                return await _paid(one, state, questions, ledger, trace, deadline_s)
            except BackendError as error:
                last = error
                trace.emit("failed", model=one.profile.name, reason=error.message)
        assert last is not None
        raise last

    def _is_available(self, model: str) -> bool:
        return model not in self._backends or is_available(self._backends[model])


def _price(decider: DecisionBackend, state: str, questions: Mapping[str, Question]) -> float:
    usd = decider.profile.worst_usd(*decider.worst_tokens(state, questions))
    return float("inf") if usd is None else usd


async def _paid(
    decider: DecisionBackend,
    state: str,
    questions: Mapping[str, Question],
    ledger: Ledger,
    trace: Trace,
    deadline_s: float | None,
) -> Decisions:
    """Asks and settles: whatever happens, the reservation is closed exactly once."""
    profile = decider.profile
    read, written = decider.worst_tokens(state, questions)
    with trace.span("decide", model=profile.name, questions=len(questions)) as span:
        held = ledger.reserve(usd=profile.worst_usd(read, written), tokens=read + written)
        found, bill = await metered(
            ledger,
            held,
            lambda: decider.decide(state, questions, deadline_s=deadline_s),
            lambda done: Bill(billed_usd(profile, done.usage), done.usage),
        )
        span.attributes.update(cost_usd=bill.usd, prefill_tokens=found.usage.prefill_tokens)
        trace.emit("decided", model=profile.name, cost_usd=bill.usd)
        return found
