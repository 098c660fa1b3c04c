"""The main job through the public face: answers, refusals, budgets, deadlines."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    Answer,
    Budget,
    BudgetExceeded,
    ConfigError,
    InvalidBudget,
    InvalidQuery,
    NoAdequateModel,
    Orchestrator,
    UnknownModel,
)
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.backends.local.extractive import ExtractiveBackend
from orchestrator.backends.testing.simulated import SimulatedBackend, SimulatedModel, SimulatedProblem
from orchestrator.config.models import STRATEGY_NAMES, parse_config
from orchestrator.memory import Memory
from orchestrator.router import ModelProfile
from orchestrator.search.strategies.registry import STRATEGIES
from orchestrator.testing import ScriptedBackend
from orchestrator.trace import Event
from orchestrator.types import Completion
from orchestrator.verifiers import Verdict

PROBLEM = SimulatedProblem("A crate holds 12 lamps. How many lamps do 3 crates hold?", "36", -3.0)


def simulated(name: str, skill: float, price: float, **fields: object) -> SimulatedBackend:
    profile = ModelProfile(name, price, price, skill=skill, ttft_s=0.0, tokens_per_s=1e6, simulated=True, **fields)
    return SimulatedBackend(SimulatedModel(profile, {PROBLEM.question: PROBLEM}))


@pytest.fixture
def offline() -> Orchestrator:
    memory = Memory()
    memory.remember("The workshop is at 3 Tar Lane.", time=datetime(2019, 4, 2))
    memory.remember("We moved the workshop to 14 Harbour Street.", time=datetime(2024, 5, 18))
    return Orchestrator({"calculator": CalculatorBackend(), "extractive": ExtractiveBackend()}, memory=memory)


def test_a_backend_is_called_what_the_fleet_calls_it() -> None:
    with pytest.raises(ConfigError, match="same name"):
        Orchestrator({"calc": CalculatorBackend()})
    assert Orchestrator({"calc": CalculatorBackend("calc")}).answer_sync("2 + 2").model == "calc"


def test_arithmetic_goes_to_the_calculator(offline: Orchestrator) -> None:
    answer = offline.answer_sync("What is 17 * 23?")
    assert (answer.text, answer.model, answer.cost_usd) == ("391", "calculator", 0.0)
    assert answer.confidence > 0.99


def test_a_fact_that_changed_is_answered_with_the_newer_record_and_its_citation(offline: Orchestrator) -> None:
    answer = offline.answer_sync("Where is the workshop?")
    assert "14 Harbour Street" in answer.text
    assert answer.citations == ("m:2",)
    assert any(v.verifier == "grounding" and v.passed is None for v in answer.candidates[0].verdicts)


def test_what_a_model_cites_of_what_was_recalled_is_in_the_answer() -> None:
    memory = Memory()
    memory.remember("The workshop is at 3 Tar Lane.")
    said = "It is at 3 Tar Lane [m:1, m:77]. Write to m:1x or see [m:1]."
    with Orchestrator(ScriptedBackend("small", said), memory=memory) as fleet:
        assert fleet.answer_sync("Where is the workshop?").citations == ("m:1",)


def test_what_nothing_can_answer_ends_in_no_adequate_model_that_says_what_to_add(offline: Orchestrator) -> None:
    with pytest.raises(NoAdequateModel, match="OPENAI_API_KEY") as caught:
        offline.answer_sync("Who wrote the Epic of Gilgamesh?")
    assert set(caught.value.tried) == {"calculator", "extractive"}


@pytest.mark.parametrize("query", ["", "   \n", b"\xff\xfe\x00", "\x00\x01\x02", "x" * 10_000_000, "\ud800 lone", 17])
def test_unusable_queries_are_refused_with_a_clear_error(offline: Orchestrator, query: object) -> None:
    with pytest.raises(InvalidQuery):
        offline.answer_sync(query)  # type: ignore[arg-type]


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf"), "free"])
def test_unusable_budgets_are_refused(usd: object) -> None:
    with pytest.raises(InvalidBudget):
        Budget(usd=usd)  # type: ignore[arg-type]


def test_a_zero_budget_allows_only_what_is_free(offline: Orchestrator) -> None:
    paid = Orchestrator({"paid": simulated("paid", 0.9, 5.0)})
    with pytest.raises(BudgetExceeded, match="left"):
        paid.answer_sync(PROBLEM.question, budget=Budget(usd=0))
    assert offline.answer_sync("2 + 2", budget=Budget(usd=0)).text == "4"


def test_an_unaffordable_model_is_passed_over_for_one_that_fits() -> None:
    fleet = Orchestrator(
        {"dear": simulated("dear", 0.99, 900.0), "cheap": simulated("cheap", 0.9, 0.01)}, max_tokens=100
    )
    answer = fleet.answer_sync(PROBLEM.question, budget=Budget(usd=0.001), quality=0.99)
    assert answer.model == "cheap"
    assert answer.cost_usd is not None
    assert 0 < answer.cost_usd <= 0.001


def test_unknown_models_are_named_with_the_known_ones(offline: Orchestrator) -> None:
    with pytest.raises(UnknownModel, match="calculator, extractive"):
        offline.answer_sync("hello", models=["gpt-9"])


def test_a_deadline_returns_the_best_answer_so_far_marked_partial() -> None:
    slow_profile = ModelProfile(
        "slow", 1.0, 1.0, skill=0.99, ttft_s=0.01, tokens_per_s=1e6
    )  # nobody knows yet how slow it is
    slow = SimulatedBackend(
        SimulatedModel(slow_profile, {PROBLEM.question: PROBLEM}), sleep=lambda _: asyncio.sleep(30)
    )
    fleet = Orchestrator({"quick": simulated("quick", 0.6, 0.0), "slow": slow}, strategy="cascade", quality=0.999)
    answer = fleet.answer_sync(PROBLEM.question, budget=Budget(seconds=0.3))
    assert answer.partial
    assert answer.model == "quick"
    assert answer.stopped == "the deadline passed"


def test_a_deadline_before_any_answer_is_a_budget_error() -> None:
    slow = SimulatedBackend(
        SimulatedModel(ModelProfile("slow", 1.0, 1.0, skill=0.9, ttft_s=30.0), {PROBLEM.question: PROBLEM})
    )
    with pytest.raises(BudgetExceeded, match="deadline"):
        Orchestrator({"slow": slow}).answer_sync(PROBLEM.question, budget=Budget(seconds=0.05))


def test_simulated_answers_say_that_they_are() -> None:
    answer = Orchestrator({"sim": simulated("sim", 0.9, 1.0)}).answer_sync(PROBLEM.question)
    assert answer.simulated
    assert "[simulated]" in answer.text


def test_search_stops_at_the_target_and_asks_fewer_models_than_there_are() -> None:
    backends = {f"m{i}": simulated(f"m{i}", 0.95, 0.1 * (i + 1)) for i in range(4)}
    answer = Orchestrator(backends).answer_sync(PROBLEM.question, quality=0.9)
    assert answer.confidence >= 0.9
    assert 1 <= len(answer.candidates) < 4


def test_the_trace_accounts_for_the_whole_cost() -> None:
    answer = Orchestrator({"a": simulated("a", 0.6, 1.0), "b": simulated("b", 0.7, 2.0)}).answer_sync(
        PROBLEM.question, strategy="cascade", quality=1.0
    )
    assert answer.trace is not None
    drafts = [span for span in answer.trace.root.children if span.name == "draft"]
    assert len(drafts) == 2
    assert sum(span.attributes["cost_usd"] for span in drafts) == pytest.approx(answer.cost_usd)


def test_the_receipt_counts_every_attempt_and_shows_negative_savings() -> None:
    fleet = Orchestrator(
        {"a": simulated("a", 0.6, 1.0), "b": simulated("b", 0.7, 1.1)}, strategy="cascade", quality=1.0
    )
    receipt = fleet.answer_sync(PROBLEM.question).receipt
    assert receipt is not None
    assert (receipt.reference, receipt.calls) == ("b", 2)
    assert receipt.saved_usd is not None
    assert receipt.saved_usd < 0  # two drafts cost more than one call of the better model
    cheap = (
        Orchestrator({"a": simulated("a", 0.97, 0.1), "b": simulated("b", 0.98, 50.0)})
        .answer_sync(PROBLEM.question)
        .receipt
    )
    assert cheap is not None
    assert cheap.saved_usd is not None
    assert cheap.saved_usd > 0


def test_sync_methods_refuse_to_block_a_running_loop(offline: Orchestrator) -> None:
    async def inside() -> None:
        offline.answer_sync("2 + 2")

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(inside())


def test_a_stream_yields_events_as_they_happen_and_the_answer_last() -> None:
    async def run() -> list[Event | Answer]:
        async with Orchestrator({"calculator": CalculatorBackend()}) as fleet:
            return [event async for event in fleet.stream("What is 17 * 23?")]

    *events, answer = asyncio.run(run())
    assert isinstance(answer, Answer)
    assert answer.text == "391"
    kinds = [event.kind for event in events if isinstance(event, Event)]
    assert kinds[0] == "routed"
    assert kinds[-1] == "answered"
    assert "drafting" in kinds


def test_a_stream_raises_what_answering_raises_and_closing_it_cancels_the_search() -> None:
    class Endless(LocalBackend):
        cancelled = False

        async def complete(self, request: Request) -> Completion:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                Endless.cancelled = True
                raise
            raise AssertionError

    async def run() -> None:
        async with Orchestrator({"endless": Endless(ModelProfile("endless", 0.0, 0.0))}) as fleet:
            with pytest.raises(InvalidQuery):
                [event async for event in fleet.stream("")]
            stream = fleet.stream("What is the meaning of it?")
            async for event in stream:
                if isinstance(event, Event) and event.kind == "drafting":
                    await asyncio.sleep(0)
                    break
            await stream.aclose()
            assert Endless.cancelled

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("from orchestrator.search.strategies.registry import cascade as mine", None),
        ("mine = 7", "is neither a class nor a function"),
        ("yours = 7", "cannot be loaded: .*mine"),
    ],
)
def test_strategies_of_other_packages_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str | None
) -> None:
    (tmp_path / "other_package.py").write_text(code)
    (tmp_path / "other_package-1.0.dist-info").mkdir()
    (tmp_path / "other_package-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n"
    )
    (tmp_path / "other_package-1.0.dist-info" / "entry_points.txt").write_text(
        "[orchestrator.strategies]\nmine = other_package:mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_package", raising=False)
    config = parse_config("models: {c: {provider: calculator}}\nmemory: null\nstrategy: mine\n", "x.yaml")
    if told is None:
        assert Orchestrator.from_config(config).answer_sync("2 + 2").text == "4"
        with pytest.raises(ConfigError, match=r"Known: .*adaptive, mine"):
            Orchestrator({"c": CalculatorBackend("c")}, strategy="others")
    else:
        with pytest.raises(ConfigError, match=told):
            Orchestrator.from_config(config)


def test_the_configuration_knows_every_strategy_of_this_package() -> None:
    assert set(STRATEGY_NAMES) == set(STRATEGIES)


class Broken:
    name = "broken"

    async def verify(self, query: str, candidate: str) -> Verdict:
        raise ValueError("boom")


class NoCoroutine:
    name = "hasty"

    def verify(self, query: str, candidate: str) -> Verdict:
        return Verdict(self.name, 1.0, True)


def test_a_check_that_fails_costs_no_answer_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    checks: list[Any] = [Broken(), NoCoroutine()]  # the second is no verifier
    with Orchestrator(ScriptedBackend("small", "It is 42."), verifiers=checks) as fleet:
        answer = fleet.answer_sync("What is 6 * 7?")
    assert answer.text == "It is 42."
    assert "the check broken says nothing: it failed: ValueError: boom" in answer.explain()
    assert "the check hasty says nothing: verify is no coroutine" in answer.explain()
    assert "the check broken says nothing" in caplog.text


def test_where_no_draft_is_worth_its_price_the_cheapest_is_made() -> None:
    models = [ScriptedBackend("dear", "It is 42.", price=50.0, skill=0.95), ScriptedBackend("cheap", "42", price=0.1)]
    with Orchestrator(*models, value_usd=1e-7, quality=0.99) as fleet:
        assert fleet.answer_sync("What is 6 * 7?").model == "cheap"
