"""Several drafts of one model: all at once, or until an answer is settled.

And verifiers that misbehave cost nothing but their opinion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from orchestrator import Answer, Budget, Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.router import ModelProfile
from orchestrator.search.strategies.sampling import best_of, consistent, p_stays_ahead
from orchestrator.types import Completion, Usage
from orchestrator.verifiers import Verdict


class Scripted(LocalBackend):
    """Says one text after the other; keeps what it was asked, and how many calls ran at once."""

    def __init__(self, texts: Sequence[str], *, wait_s: float = 0.0) -> None:
        super().__init__(ModelProfile("m", 1.0, 1.0, skill=0.6))
        self._texts: Iterator[str] = iter(texts)
        self._wait_s = wait_s
        self.asked: list[Request] = []
        self.running = self.most = 0

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        text = next(self._texts)
        try:
            await asyncio.sleep(self._wait_s)
        finally:
            self.running -= 1
        return Completion("m", text, Usage(10, 10), 0.0, 0.0)


class Judge:
    name = "judge"

    def __init__(self, opinion: Any) -> None:
        self._opinion = opinion

    async def verify(self, query: str, candidate: str) -> Verdict:
        found: Verdict = self._opinion(candidate)
        return await found if asyncio.iscoroutine(found) else found


def answer(
    backend: Scripted, strategy: Any, *, quality: float = 0.999, verifiers: Sequence[Any] = (), **settings: Any
) -> Answer:
    async def run() -> Answer:
        async with Orchestrator({"m": backend}, verifiers=verifiers) as orchestrator:
            return await orchestrator.answer("How many lamps are lit?", strategy=strategy, quality=quality, **settings)

    return asyncio.run(run())


def test_the_best_of_n_are_drawn_at_once_and_chosen_by_agreement() -> None:
    backend = Scripted(["5", "7", "7", "4", "7", "7"], wait_s=0.02)
    found = answer(backend, best_of(6))
    assert (found.text, backend.most, len(backend.asked)) == ("7", 6, 6)
    assert backend.asked[0].seed is None
    assert [request.seed for request in backend.asked[1:]] == [1, 2, 3, 4, 5]
    assert all(request.temperature for request in backend.asked[1:])


def test_the_best_of_n_are_chosen_by_what_verifiers_say() -> None:
    judge = Judge(lambda text: Verdict("judge", float(text == "4"), text == "4", decisive=True))
    assert answer(Scripted(["5", "5", "5", "4"]), best_of(4), verifiers=[judge]).text == "4"


def test_self_consistency_stops_when_the_leader_is_settled() -> None:
    backend = Scripted(["7", "7", "5", *["7"] * 20])
    found = answer(backend, consistent(16))
    assert found.text == "7"
    assert len(backend.asked) == 7  # 6 to 1: P(ahead) 0.965
    split = Scripted(["7", "5"] * 10)
    answer(split, consistent(10))
    assert len(split.asked) == 10


def test_free_text_cannot_be_counted() -> None:
    words = "The lamps are lit by hand every evening by whoever happens to be the last one in the workshop, number"
    backend = Scripted([f"{words} {number}." for number in "abcdefgh"])
    answer(backend, "self_consistency")
    assert len(backend.asked) == 3


@pytest.mark.parametrize(
    ("leader", "second", "expected"),
    [(0, 0, 0.5), (1, 0, 0.75), (3, 0, 0.9375), (4, 0, 0.96875), (6, 1, 0.96484375), (5, 5, 0.5)],
)
def test_how_sure_a_lead_is(leader: int, second: int, expected: float) -> None:
    assert p_stays_ahead(leader, second) == pytest.approx(expected)


def test_a_budget_ends_the_drawing() -> None:
    backend = Scripted(["7", "5"] * 10)
    answer(backend, consistent(16), budget=Budget(calls=4))
    assert len(backend.asked) == 4


async def hang(_: str) -> Verdict:
    await asyncio.sleep(30)
    raise AssertionError


def boom(_: str) -> Verdict:
    raise RuntimeError("no opinion today")


@pytest.mark.parametrize(
    ("opinion", "reason"),
    [
        (boom, "it failed: RuntimeError: no opinion today"),
        (hang, "it took too long"),
        (lambda _: Verdict("judge", float("nan"), True), "outside [0, 1]"),
        (lambda _: "yes", "it gave no verdict but str"),
        (lambda _: None, "it gave no verdict but NoneType"),
    ],
)
def test_a_verifier_that_misbehaves_abstains(opinion: Any, reason: str) -> None:
    found = answer(Scripted(["7"]), "single", verifiers=[Judge(opinion)], budget=Budget(seconds=1.0))
    assert found.text == "7"
    (verdict,) = (v for v in found.candidates[0].verdicts if v.verifier == "judge")
    assert verdict.abstained
    assert reason in verdict.feedback
