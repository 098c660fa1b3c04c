"""Learning from one's own traffic.

Decisions are logged, now and then another model is asked first, and what comes of it moves the router.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.config.models import OnlineConfig
from orchestrator.errors import InvalidQuery, UnknownAnswer
from orchestrator.learning.certificates import policy_hash
from orchestrator.providers.prices import billed_usd
from orchestrator.router import ModelProfile, Outcome, Route, Router
from orchestrator.router.learning.explore import explore
from orchestrator.router.outcome import reliability_weight
from orchestrator.search.actions import Draft
from orchestrator.search.state import SearchState, Strategy, group_key
from orchestrator.search.strategies.registry import starting_with
from orchestrator.storage import DecisionLog, LoggedDecision, LoggedDraft
from orchestrator.storage.decision_log import Grade
from orchestrator.types import Answer, Candidate

MAX_OUTCOMES = 3_000  # read from the log when a fleet starts
BELIEF_RELIABILITY = 0.75  # of what search believes after a decisive check; feedback outranks it


class OnlineLearner:
    """What one fleet remembers of its decisions.

    `is_frozen` (under a promise) keeps the router as it is and explores nothing.
    """

    def __init__(
        self,
        log: DecisionLog,
        router: Router,
        *,
        settings: OnlineConfig | None = None,
        is_frozen: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        self.log = log
        self.settings = settings or OnlineConfig()
        self.is_frozen = is_frozen
        self._router = router
        self._base = router.success
        self._rng = rng or random.Random()
        self._learning = threading.Lock()
        self._profiles: Mapping[str, ModelProfile] = {}

    def start(self, profiles: Mapping[str, ModelProfile]) -> None:
        """Learns what the log holds already."""
        self._profiles = profiles
        self._relearn()

    def first_ask(self, route: Route, state: SearchState, strategy: Strategy) -> tuple[Strategy, str, float]:
        """The strategy to use, the model that it asks first, and the probability with which it does."""
        planned = next((action.model for action in strategy(state) if isinstance(action, Draft)), None)
        if planned is None or self.is_frozen or self.settings.explore == 0.0:
            return strategy, planned or "", 1.0
        explored = explore(
            replace(route, chosen=planned),
            self._rng,
            rate=self.settings.explore,
            most_extra_usd=self.settings.explore_extra_usd,
        )
        if explored.model == planned:
            return strategy, planned, explored.propensity
        return starting_with(explored.model, strategy), explored.model, explored.propensity

    def record(self, decision: LoggedDecision, state: SearchState) -> None:
        """Logs one answer, with what search itself found out about its drafts."""
        grades = _grades_from_checks(state)
        with self._learning:
            self.log.record(
                replace(decision, policy=policy_hash(self._router, self._profiles)), grades, source="checks"
            )
            self._learn(decision, grades)

    def feedback(
        self, decision_id: str, score: float | None, *, expected: str | None, reliability: float, source: str
    ) -> list[Grade]:
        """Logs what became known of an answer and of the other drafts beside it.

        The router has learned it when this returns.

        Raises `UnknownAnswer`, or `InvalidQuery` on a score outside [0, 1] or a reliability outside (0.5, 1].
        """
        if (score is None) == (expected is None):
            raise InvalidQuery("feedback needs either a score or the expected answer", remedy="Give one of them")
        if score is not None and not 0.0 <= score <= 1.0:
            raise InvalidQuery(f"a score lies in [0, 1], not {score!r}", remedy="1 is right, 0 is wrong")
        if not 0.5 < reliability <= 1.0:
            message = f"reliability lies in (0.5, 1], not {reliability!r}"
            raise InvalidQuery(message, remedy="0.5 is a coin's; 1 is certain")
        decision = self.log.find(decision_id)
        if decision is None:
            message = f"no answer {decision_id!r} in {self.log.path}"
            raise UnknownAnswer(message, remedy="Use the id that the answer carried")
        grades = (
            _grades_from_score(decision, score, reliability)
            if score is not None
            else _grades_from_key(decision, expected or "", reliability)
        )
        with self._learning:  # logged and learned as one, so that nothing is learned twice
            if self.log.grade(decision_id, grades, source=source):
                self._relearn()  # an earlier grade was replaced, so it must be unlearned
            else:
                self._learn(decision, grades)
        return grades

    def _learn(self, decision: LoggedDecision, grades: Sequence[Grade]) -> None:
        if self.settings.learn and not self.is_frozen and grades:
            outcomes = [Outcome(decision.query, g.model, g.score, reliability_weight(g.reliability)) for g in grades]
            self._router.learn(outcomes, self._profiles)

    def _relearn(self) -> None:
        if self.settings.learn and not self.is_frozen:
            self._router.relearn(self._base, self.log.outcomes(MAX_OUTCOMES), self._profiles)


def as_logged(
    answer: Answer,
    state: SearchState,
    *,
    query: str,
    scope: str,
    asked: str,
    propensity: float,
    profiles: Mapping[str, ModelProfile],
) -> LoggedDecision:
    """An answer as the log keeps it."""
    assert answer.route is not None
    assert answer.receipt is not None
    given = state.leader if state.leader is not None else len(state.candidates) - 1
    return LoggedDecision(
        answer.id,
        time.time(),
        scope,
        query,
        asked or answer.candidates[0].model,
        propensity,
        given,
        answer.confidence,
        answer.cost_usd,
        "",
        answer.receipt.reference,
        answer.receipt.reference_cost_usd,
        tuple((o.model, round(o.p_success, 4), o.cost_usd) for o in answer.route.usable),
        tuple(
            _draft(candidate, key, profiles[candidate.model])
            for candidate, key in zip(answer.candidates, state.keys, strict=True)
        ),
    )


def _draft(candidate: Candidate, key: str, profile: ModelProfile) -> LoggedDraft:
    done, usage = candidate.completion, candidate.completion.usage
    cost = billed_usd(profile, usage)
    return LoggedDraft(
        done.model,
        key,
        cost,
        usage.output_tokens,
        done.latency_s,
        done.ttft_s,
        candidate.revises is not None or bool(candidate.made_of),
    )


def _grades_from_checks(state: SearchState) -> list[Grade]:
    """What search believes of each draft, if a decisive check has spoken.

    A belief moves up as often as down as long as it is calibrated, so learning from it does not push the router either
    way; learning from failures alone would.
    """
    if not any(v.decisive and v.passed is not None for c in state.candidates for v in c.verdicts):
        return []
    return [
        Grade(c.model, 0.0 if c.ruled_out else min(state.belief.groups.get(key, 0.0), 1.0), BELIEF_RELIABILITY)
        for c, key in zip(state.candidates, state.keys, strict=True)
        if c.revises is None and not c.made_of
    ]


def _grades_from_score(decision: LoggedDecision, score: float, reliability: float) -> list[Grade]:
    """The score of the answer holds for every draft that says the same.

    If the answer is right, those that say something else are wrong.
    """
    given = decision.drafts[decision.answer]
    grades = []
    for index, draft in enumerate(decision.drafts):
        if index == decision.answer or (draft.key == given.key and draft.is_comparable):
            grades.append(Grade(draft.model, score, reliability))
        elif score == 1.0 and draft.is_comparable and given.is_comparable and not draft.is_revision:
            grades.append(Grade(draft.model, 0.0, reliability))
    return grades


def _grades_from_key(decision: LoggedDecision, expected: str, reliability: float) -> list[Grade]:
    key = group_key(expected, decision.query)
    found = [
        Grade(d.model, float(_says(d.key, key)), reliability)
        for d in decision.drafts
        if d.is_comparable and not d.is_revision
    ]
    if not found:
        raise InvalidQuery(
            "these answers are free text, which cannot be compared with an expected one", remedy="Give a score instead"
        )
    return found


def _says(key: str, expected: str | None) -> bool:
    """Whether an answer is the expected one; a short sentence is if it holds it as whole words."""
    if expected is None or key == expected:
        return expected is not None
    return key.startswith("text:") and expected.startswith("text:") and f" {expected[5:]} " in f" {key[5:]} "
