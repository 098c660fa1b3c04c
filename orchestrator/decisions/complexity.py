"""The local classifier: what the router thinks of a query, as decisions that cost nothing.

A `choice` among models of the fleet is "which is the cheapest that will do", among other levels (at most five) how hard
the query is; so is a `score`. A `predicate` is whether the model that it names, else the cheapest, answers the query
rightly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from orchestrator.backends.base import Backend, Request
from orchestrator.decisions.question import Decision, Decisions, Question, decision
from orchestrator.errors import InvalidQuery
from orchestrator.router import ModelProfile, Router
from orchestrator.router.features.conversation import judged_text
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Message, Usage

COMPLEXITY = "orchestrator/complexity"
LEVELS = ("trivial", "easy", "medium", "hard", "expert")


class Complexity:
    """Its probabilities are the router's own, which are calibrated by what it was trained on, and by feedback."""

    def __init__(self, router: Router, backends: Mapping[str, Backend]) -> None:
        self._router = router
        self._backends = backends
        self.profile = ModelProfile(COMPLEXITY, 0.0, 0.0)

    def worst_tokens(self, state: str, questions: Mapping[str, Question]) -> tuple[int, int]:
        """The most that a decision reads and writes, in tokens."""
        return estimate_tokens(state), 0

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        """Raises `InvalidQuery` on a choice among other things than models of the fleet or a few levels."""
        profiles = [backend.profile for backend in self._backends.values()]
        request = Request((Message("user", state),), state)
        known = {name: p for name, backend in self._backends.items() if (p := backend.estimate(request)) is not None}
        route = self._router.route(state, profiles, known=known)
        cheapest_first = sorted(
            route.options, key=lambda option: math.inf if option.cost_usd is None else option.cost_usd
        )
        p_right = {option.model: option.p_success for option in cheapest_first}
        ease = self._router.explain(judged_text(state), profiles).ease
        answers = {name: _answer(name, question, p_right, ease) for name, question in questions.items()}
        return Decisions(answers, Usage(self.worst_tokens(state, questions)[0]), COMPLEXITY)


def _answer(name: str, question: Question, p_right: Mapping[str, float], ease: float) -> Decision:
    if question.kind == "predicate":
        p = p_right.get(question.ask, next(iter(p_right.values())))
        return Decision("predicate", {"yes": p, "no": 1.0 - p}, True)
    labels = question.labels
    if question.kind == "score":
        return _believed(question, dict(zip(labels, _levels(ease, len(labels)), strict=True)))
    if set(labels) <= p_right.keys():
        cheapest_adequate, left = {}, 1.0
        for model in p_right:  # cheapest first: it is the cheapest that will do if it will and none before it does
            if model in labels:
                cheapest_adequate[model] = left * p_right[model]
                left *= 1 - p_right[model]
        cheapest_adequate[list(cheapest_adequate)[-1]] += left
        return _believed(question, cheapest_adequate)
    if len(labels) > len(LEVELS):
        raise InvalidQuery(f"{name}: {COMPLEXITY} chooses among models of the fleet or at most five levels")
    return _believed(question, dict(zip(labels, _levels(ease, len(labels)), strict=True)))


def _believed(question: Question, weights: Mapping[str, float]) -> Decision:
    found = decision(question, weights)
    return Decision(found.kind, found.probabilities, True)


def _levels(ease: float, count: int) -> list[float]:
    """P(each level of difficulty), easiest first: a logistic spread around how hard the query is, in log-odds."""
    bounds = [math.inf, *(2.0 - 4.0 * (i + 1) / count for i in range(count - 1)), -math.inf]

    def above(bound: float) -> float:
        return 0.0 if bound == math.inf else 1.0 if bound == -math.inf else 1 / (1 + math.exp(2 * (bound - ease)))

    return [above(bounds[i + 1]) - above(bounds[i]) for i in range(count)]
