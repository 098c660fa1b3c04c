"""A question of no known kind: the default search compares drafts instead of trusting a prior."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator import Orchestrator, Query
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.router import ModelProfile, Outcome, Router
from orchestrator.router.learning.train import train
from orchestrator.text.static_encoder import static_encoder
from orchestrator.trace import Trace
from orchestrator.types import Completion

KNOWN = [f"What is {a} plus {a + 5}? Add the two numbers." for a in range(120)]
FAMILIAR, STRANGE = "What is 44 plus 49? Add the two numbers.", "In which year was the oldest bridge of Tartu blown up?"


@pytest.fixture(scope="module")
def router() -> Router:
    """It has seen sums only, of which both models get five in six right."""
    outcomes = [Outcome(text, name, float(i % 6 > 0)) for i, text in enumerate(KNOWN) for name in ("small", "large")]
    return Router(train(outcomes, encoder=static_encoder(), buckets=1 << 10))


def fleet_of(router: Router, *replies: str) -> Orchestrator:
    backends = {name: ScriptedBackend(name, reply) for name, reply in zip(("small", "large"), replies, strict=True)}
    return Orchestrator(backends, router=router)


def test_a_familiar_question_is_answered_by_one_draft_and_an_unfamiliar_one_is_compared(router: Router) -> None:
    with fleet_of(router, "93", "93") as fleet:
        assert not fleet.route(FAMILIAR).unfamiliar
        assert len(fleet.answer_sync(Query(FAMILIAR, quality=0.6)).candidates) == 1
    with fleet_of(router, "1944", "1944") as fleet:
        route = fleet.route(STRANGE, quality=0.6)
        assert route.unfamiliar
        assert route.adequate  # the prior alone would have been enough
        assert len(fleet.answer_sync(Query(STRANGE, quality=0.6)).candidates) == 2


class Sure(LocalBackend):
    """A model that knows of itself how likely it is right, as students do."""

    def estimate(self, request: Request) -> float | None:
        return 0.65

    async def complete(self, request: Request) -> Completion:
        return Completion(self.profile.name, "1944", confidence=0.65)


def test_what_a_model_knows_of_itself_is_no_guess(router: Router) -> None:
    sure = Sure(ModelProfile("sure", 0.0, 0.0))
    with Orchestrator({"sure": sure, "large": ScriptedBackend("large", "1944")}, router=router) as fleet:
        answer = fleet.answer_sync(Query(STRANGE, quality=0.6))
        assert ([c.model for c in answer.candidates], round(answer.confidence, 2)) == (["sure"], 0.65)
        assert len(fleet.answer_sync(Query(STRANGE, quality=0.7)).candidates) == 2


def test_an_unfamiliar_question_is_not_shown_before_it_was_compared(router: Router) -> None:
    async def models_shown_at_once() -> list[str | None]:
        async with fleet_of(router, "1944", "1944") as fleet:
            plans = [await fleet.plan(Query(text, quality=0.6), Trace()) for text in (STRANGE, FAMILIAR)]
            return [plan.single_draft_model() for plan in plans]

    strange, familiar = asyncio.run(models_shown_at_once())
    assert strange is None
    assert familiar == "small"


def test_a_fleet_of_one_model_has_nothing_to_compare_with(router: Router) -> None:
    with Orchestrator({"small": ScriptedBackend("small", "1944")}, router=router) as fleet:
        assert len(fleet.answer_sync(Query(STRANGE, quality=0.6)).candidates) == 1
