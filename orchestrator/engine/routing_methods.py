"""The methods of `Orchestrator` that concern its decisions.

The route of a query, probabilities instead of text, and what is learned of answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from orchestrator.budget import Budget, BudgetLike, Ledger
from orchestrator.decisions import Decisions, Question
from orchestrator.decisions.complexity import COMPLEXITY
from orchestrator.engine.calls import tells_mistakes
from orchestrator.engine.parts import EngineParts
from orchestrator.engine.sync import blocking
from orchestrator.errors import ConfigError, InvalidQuery
from orchestrator.router import Route
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.router import Explanation
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer


class RoutingMethods(EngineParts):
    """Routes and their reasons, typed decisions, feedback."""

    def route(
        self, query: str, *, scope: str = "default", quality: float | None = None, models: Sequence[str] | None = None
    ) -> Route:
        """The decision alone, without asking any model."""
        return self._planner.route(self._query(query, scope, models, quality=quality))

    def explain(self, query: str) -> Explanation:
        """What the router's decision about this query rests on."""
        return self.router.explain(judged_text(query), [self._speeds.profiles[name] for name in self.backends])

    @tells_mistakes()
    async def decide(
        self,
        state: str,
        questions: Mapping[str, Question | str],
        *,
        models: Sequence[str] | None = None,
        budget: BudgetLike | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Decisions:
        """Probabilities instead of text, of the cheapest model that gives them.

        `questions` are typed questions about `state` (a string asks for yes or no). Probabilities are scaled to what
        came of earlier ones (`orchestrator calibrate`); each decision says whether they were.
        `models=["orchestrator/complexity"]` asks the router itself, for nothing.

        Raises `UnknownModel`, `ConfigError` (no model gives probabilities), `BudgetExceeded`, `BackendError`.
        """
        if not isinstance(questions, Mapping):
            raise InvalidQuery(
                f"questions must be a mapping, not {type(questions).__name__}",
                remedy='Pass questions={"urgent": "Is this urgent?"}',
            )
        asked = {name: Question(one) if isinstance(one, str) else one for name, one in questions.items()}
        if not asked:
            raise InvalidQuery("nothing is asked", remedy='Pass questions={"urgent": "Is this urgent?"}')
        self._query(state, models=[model for model in models or () if model != COMPLEXITY] or None)
        limits = self.budget & Budget.parse(budget)
        return await self.deciders.decide(
            state,
            asked,
            ledger=Ledger(limits),
            trace=Trace(on_event=on_event),
            models=models,
            deadline_s=limits.seconds,
        )

    @tells_mistakes()
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

        Logged and, unless a promise freezes the router, learned when this returns. Drafts that said the same get the
        same score; if the answer was right, those that said something else were wrong. Returns the score of each model
        that this graded. `reliability` in (0.5, 1] is the probability that the grader is right. Raises `ConfigError`
        without a decision log, `UnknownAnswer`, `InvalidQuery`.
        """
        if self._executor.online is None:
            raise ConfigError(
                "feedback needs a decision log", remedy="Pass online=PATH, or write online: {} in the configuration"
            )
        found = answer if isinstance(answer, str) else answer.id
        grades = await asyncio.to_thread(
            self._executor.online.feedback, found, score, expected=expected, reliability=reliability, source=source
        )
        scores = {grade.model: grade.score for grade in grades}
        if self._executor.students is not None:
            await asyncio.to_thread(self._executor.students.feedback, found, scores)
        return scores

    decide_sync = blocking(decide)
    feedback_sync = blocking(feedback)
