"""The loop with every kind of action, what it records, and the recorded search played again.

And all that can go wrong on the way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import Budget, Completion, Orchestrator
from orchestrator.backends.base import Request
from orchestrator.errors import ConfigError, InvalidQuery, NoAdequateModel
from orchestrator.search import (
    STRATEGIES,
    Combine,
    Critique,
    Diverged,
    Draft,
    Recording,
    Revise,
    Revised,
    SearchState,
    Stop,
    fit_revisions,
    replayed,
    revisions_in,
)
from orchestrator.search.actions import Action
from orchestrator.search.state import Strategy
from orchestrator.testing import ScriptedBackend as Scripted
from orchestrator.trace import Trace
from orchestrator.types import Answer, Usage
from orchestrator.verifiers import LengthVerifier, Verdict, all_of, price_of
from orchestrator.verifiers.sandbox import level_at_hand

CRITIQUE = '{"own_answer": "a port", "faults": ["It names no boat"]}'
IN_ONE = "It is calm and grey by day and by night, and lies in the shelter of two moles"
LONG = "The harbour lies in the shelter of two long moles, and its water is always calm and grey"


class Judge:
    """Thinks the more of an answer the longer it is, for money."""

    name = "judge"

    def __init__(self, usd: float = 0.002, bills_usd: float | None = None) -> None:
        self.calls, self._usd, self._bills_usd = 0, usd, usd if bills_usd is None else bills_usd

    def price_usd(self, query: str, candidate: str) -> float:
        return self._usd

    async def verify(self, query: str, candidate: str) -> Verdict:
        self.calls += 1
        score = min(len(candidate) / 250, 1.0)
        return Verdict(self.name, score, score > 0.5, "" if score > 0.5 else "too short", cost_usd=self._bills_usd)


def ask(
    *models: Scripted, strategy: str | Strategy, question: str = "Describe the harbour.", **settings: Any
) -> Answer:
    fleet_settings = {name: settings.pop(name) for name in ("verifiers",) if name in settings}
    with Orchestrator({m.profile.name: m for m in models}, **fleet_settings) as orchestrator:
        return orchestrator.answer_sync(question, strategy=strategy, **settings)


def played_again(answer: Answer, strategy: Strategy) -> tuple[SearchState, str | None]:
    """Through JSON, as another process would read it."""
    assert answer.trace is not None
    stored = json.loads(json.dumps(answer.trace.as_dict(with_search=True)))
    return replayed(Recording.from_dict(stored["search"]), strategy)


def names(answer: Answer) -> list[str]:
    assert answer.trace is not None
    return [span.name for span in answer.trace.root.children if span.name in ("draft", "critique", "revise", "combine")]


# ---- every kind of action, recorded and replayed ----


def criticised() -> tuple[Answer, str]:
    writer, critic = (
        Scripted("writer", LONG, LONG + ", with two boats.", skill=0.4),
        Scripted("critic", CRITIQUE, skill=0.4, price=50),
    )
    answer = ask(
        writer,
        critic,
        strategy="draft_critique_revise",
        criteria=["It names what floats there."],
        models=["writer", "critic"],
    )
    assert names(answer) == ["draft", "critique", "revise"]
    assert "It names what floats there." in critic.asked[0].messages[-1].content
    assert "It names no boat" in writer.asked[1].messages[-1].content
    return answer, "draft_critique_revise"


def combined() -> tuple[Answer, str]:
    models = [Scripted("a", LONG, IN_ONE, skill=0.9), Scripted("b", LONG + " at night", skill=0.6)]
    answer = ask(*models, strategy="mixture", quality=0.99)
    assert names(answer) == ["draft", "draft", "combine"]
    assert answer.text == IN_ONE
    assert LONG in models[0].asked[1].messages[-1].content
    return answer, "mixture"


def debated() -> tuple[Answer, str]:
    models = [
        Scripted("a", "The answer is 7", "The answer is 7", skill=0.9),
        Scripted("b", "The answer is 8", "The answer is 7", skill=0.6),
    ]
    answer = ask(*models, strategy="debate", question="How many lamps are there?", quality=0.99)
    assert answer.text == "The answer is 7"
    assert [candidate.made_of for candidate in answer.candidates] == [(), (), (1,), (0,)]
    return answer, "debate"


def grown() -> tuple[Answer, str]:
    texts = [f"{LONG} {'and so on ' * n}" for n in range(7)] + [LONG * 3]
    answer = ask(Scripted("a", *texts, skill=0.02), strategy="tree", quality=0.999, verifiers=[Judge()])
    assert names(answer)[:5] == ["draft"] * 4 + ["revise"]
    assert answer.text == LONG * 3
    return answer, "tree"


def voted() -> tuple[Answer, str]:
    answer = ask(
        Scripted("a", *["The answer is 7"] * 16), strategy="self_consistency", question="How many lamps are there?"
    )
    return answer, "self_consistency"


def bought() -> tuple[Answer, str]:
    models = [Scripted(name, f"The answer is {n}", skill=0.7) for n, name in enumerate("abc")]
    return ask(*models, strategy="adaptive", question="How many lamps are there?", value_usd=100.0), "adaptive"


class Several(Scripted):
    """Gives several answers to one call, for the price of one prompt."""

    def __init__(self, name: str, *texts: str) -> None:
        super().__init__(name, *texts)
        self._texts = texts
        self._profile = replace(self._profile, capabilities=frozenset({"n"}))

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        texts = self._texts[: request.several]
        return Completion(self.profile.name, texts[0], Usage(10, 10 * len(texts)), others=texts[1:])


def drawn_together() -> tuple[Answer, str]:
    model = Several("a", *["The answer is 7"] * 5, *["The answer is 8"] * 3)
    answer = ask(model, strategy="best_of_n", question="How many lamps are there?", quality=1.0)
    assert [request.several for request in model.asked] == [8]
    assert [candidate.text for candidate in answer.candidates].count("The answer is 7") == 5
    assert (answer.usage, answer.text) == (Usage(10, 80), "The answer is 7")
    assert answer.cost_usd == pytest.approx(90e-6)
    return answer, "best_of_n"


def in_two_ways() -> tuple[Answer, str]:
    program = "```python\nimport math\nprint(math.comb(7, 3))\n```"
    model = Scripted("a", "The answer is 35", program, skill=0.6)
    answer = ask(model, strategy="two_ways", question="In how many ways can 3 of 7 lamps be lit?", quality=0.999)
    assert "Python program" in model.asked[1].messages[-1].content
    if level_at_hand()[0] != "none":
        assert [candidate.way for candidate in answer.candidates] == ["words", "program"]
        assert answer.candidates[1].text.endswith("The answer is 35")
        assert answer.stopped == "words and program agree"
    return answer, "two_ways"


def unaffordable() -> tuple[Answer, str]:
    models = [
        Scripted("dear", "The answer is 1", price=1e6, skill=0.99),
        Scripted("cheap", "The answer is 1", skill=0.6),
    ]
    return ask(
        *models, strategy="adaptive", question="How many lamps are there?", value_usd=1e6, budget=Budget(usd=0.1)
    ), "adaptive"


@pytest.mark.parametrize(
    "search", [criticised, combined, debated, grown, voted, bought, drawn_together, in_two_ways, unaffordable]
)
def test_a_recorded_search_is_played_again_to_the_same_end(search: Callable[[], tuple[Answer, str]]) -> None:
    answer, strategy = search()
    state, reason = played_again(answer, STRATEGIES[strategy])
    assert state.candidates == answer.candidates
    assert reason == answer.stopped
    assert state.confidence == answer.confidence


def test_another_strategy_diverges_and_is_told_where() -> None:
    answer, _ = debated()
    with pytest.raises(Diverged, match="step 1"):
        played_again(answer, STRATEGIES["single"])


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="not a recorded search"):
        Recording.from_dict({"question": "?"})
    with pytest.raises(ValueError, match="nothing was recorded"):
        replayed(Recording(), STRATEGIES["single"])


# ---- verifiers that cost ----


def test_what_verifiers_cost_is_reserved_and_booked() -> None:
    judge = Judge(usd=0.002, bills_usd=0.001)
    answer = ask(Scripted("a", LONG, price=0.0), strategy="single", verifiers=[judge])
    assert answer.cost_usd == pytest.approx(0.001)
    assert judge.calls == 1


def test_a_verifier_that_is_not_affordable_abstains_and_the_answer_stands() -> None:
    judge = Judge(usd=0.5)
    answer = ask(Scripted("a", LONG, price=0.0), strategy="single", verifiers=[judge], budget=Budget(usd=0.1))
    assert (judge.calls, answer.text) == (0, LONG)
    assert "not affordable" in answer.candidates[0].verdicts[0].feedback


def test_a_verifier_that_fails_is_booked_at_its_worst_case() -> None:
    class Breaks(Judge):
        async def verify(self, query: str, candidate: str) -> Verdict:
            raise RuntimeError("no connection")

    assert ask(
        Scripted("a", LONG, price=0.0), strategy="single", verifiers=[Breaks(usd=0.25)]
    ).cost_usd == pytest.approx(0.25)


def test_a_price_that_is_not_known_is_refused_under_a_money_limit_and_said_otherwise() -> None:
    class Unpriced(Judge):
        def price_usd(self, query: str, candidate: str) -> None:  # type: ignore[override]
            return None

    judge = Unpriced()
    answer = ask(Scripted("a", LONG), strategy="single", verifiers=[judge], budget=Budget(usd=1))
    assert judge.calls == 0
    assert "price of this model is unknown" in answer.candidates[0].verdicts[0].feedback
    assert ask(Scripted("a", LONG), strategy="single", verifiers=[judge]).cost_usd is None


def test_a_composition_costs_what_its_parts_cost_and_what_was_called_free_is_booked_all_the_same() -> None:
    composed = all_of(LengthVerifier(max_words=100), Judge(usd=0.002, bills_usd=0.001))
    assert price_of(composed, "", "") == 0.002
    assert ask(Scripted("a", LONG, price=0.0), strategy="single", verifiers=[composed]).cost_usd == pytest.approx(0.001)
    assert ask(
        Scripted("a", LONG, price=0.0), strategy="single", verifiers=[Judge(usd=0.0, bills_usd=0.003)]
    ).cost_usd == pytest.approx(0.003)


def test_nothing_is_paid_for_a_candidate_that_a_free_check_ruled_out() -> None:
    judge = Judge()
    ask(Scripted("a", "no json"), strategy="single", verifiers=[judge], schema={"type": "object"})
    assert judge.calls == 0


# ---- what can go wrong ----


def test_it_abstains_when_it_may() -> None:
    answer = ask(
        Scripted("a", "The answer is 7", skill=0.3),
        strategy="adaptive",
        question="How many lamps are there?",
        quality=0.99,
        may_abstain=True,
    )
    assert (answer.abstained, answer.text) == (True, "")
    assert answer.candidates[0].text == "The answer is 7"
    assert not ask(
        Scripted("a", "The answer is 7", skill=0.3),
        strategy="adaptive",
        question="How many lamps are there?",
        quality=0.99,
    ).abstained


@pytest.mark.parametrize("text", [b"bytes", 42, ["a list"]])
def test_an_answer_that_is_no_text_is_a_failure_of_its_model(text: Any) -> None:
    class Odd(Scripted):
        async def complete(self, request: Request) -> Completion:
            return Completion(self.profile.name, text)

    answer = ask(Odd("odd", skill=0.9), Scripted("fine", LONG), strategy="cascade")
    assert [candidate.model for candidate in answer.candidates] == ["fine"]


def test_an_enormous_answer_is_refused_and_an_empty_one_is_none() -> None:
    answer = ask(Scripted("huge", "x" * 1_000_001), Scripted("fine", LONG), strategy="cascade", quality=1.0)
    assert [candidate.model for candidate in answer.candidates] == ["fine"]
    with pytest.raises(NoAdequateModel, match="silent: it said nothing"):
        ask(Scripted("silent", ""), strategy="single")


def test_all_models_failing_is_one_error_that_names_each() -> None:
    with pytest.raises(NoAdequateModel, match=r"a: out of order.*b: out of order"):
        ask(Scripted("a"), Scripted("b"), strategy="adaptive")


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_no_strategy_asks_for_ever(name: str) -> None:
    """Models that always fail, or always fail their checks, end every search."""

    class Never:
        name = "never"

        async def verify(self, query: str, candidate: str) -> Verdict:
            return Verdict(self.name, 0.0, False, f"wrong: {candidate[:20]}", decisive=True)

    models = [
        Scripted("a", *[f"The answer is {n}" for n in range(200)]),
        Scripted("b", *[f"The answer is {n + 300}" for n in range(200)]),
    ]
    answer = ask(*models, strategy=name, verifiers=[Never()], value_usd=1e9)
    assert answer.confidence == 0.0
    assert len(answer.candidates) <= 40
    with pytest.raises(NoAdequateModel):
        ask(Scripted("a"), Scripted("b"), strategy=name, value_usd=1e9)


def test_a_strategy_that_repeats_itself_for_ever_ends() -> None:
    def stubborn(state: SearchState) -> Sequence[Action]:
        return [Draft("a")]

    answer = ask(Scripted("a", LONG), strategy=stubborn)
    assert answer.stopped == "nothing is left to do"


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Draft("nobody"), "a model that is not here"),
        (Revise(3, "a"), "a candidate that is not there"),
        (Revise(-1, "a"), "a candidate that is not there"),
        (Combine((0, 1), "a"), "a candidate that is not there"),
        (Critique(0, "a"), "a candidate that is not there"),
    ],
)
def test_a_strategy_that_asks_for_what_is_not_there_is_told_so(action: Action, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ask(Scripted("a", LONG), strategy=lambda state: [action])


def test_a_backend_with_a_bug_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(Scripted):
        async def complete(self, request: Request) -> Completion:
            raise KeyError("choices")

    answer = ask(Buggy("buggy", skill=0.9), Scripted("fine", LONG), strategy="cascade")
    assert [candidate.model for candidate in answer.candidates] == ["fine"]
    assert "the backend of buggy is broken" in caplog.text
    with pytest.raises(NoAdequateModel, match="buggy: KeyError: 'choices'"):
        ask(Buggy("buggy"), strategy="single")


def test_a_strategy_that_raises_tells_so_and_leaves_nothing_reserved() -> None:
    def broken(state: SearchState) -> Sequence[Action]:
        raise ZeroDivisionError("in the strategy")

    with pytest.raises(ZeroDivisionError, match="in the strategy"):
        ask(Scripted("a", LONG), strategy=broken)


def test_a_clock_that_jumps_never_makes_time_go_back() -> None:
    times = iter([0.0, 5.0, 3.0, -100.0, 6.0])
    trace = Trace(clock=lambda: next(times))
    assert [trace.now_s() for _ in range(4)] == [5.0, 5.0, 5.0, 6.0]


@pytest.mark.parametrize(
    "settings", [{"value_usd": -1.0}, {"usd_per_second": float("nan")}, {"value_usd": float("inf")}]
)
def test_worths_that_are_no_money_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidQuery, match="number of dollars"):
        ask(Scripted("a", LONG), strategy="single", **settings)


def test_a_cancelled_search_pays_for_no_verdict_that_it_did_not_get() -> None:
    class Slow(Judge):
        async def verify(self, query: str, candidate: str) -> Verdict:
            await asyncio.sleep(30)
            raise AssertionError("it was cancelled")

    answer = ask(
        Scripted("a", LONG, price=0.0), strategy="single", verifiers=[Slow(usd=0.5)], budget=Budget(usd=1, seconds=3)
    )
    assert answer.cost_usd == pytest.approx(0.5)  # it may have been billed: the worst case is booked
    assert answer.text == LONG


def stops_at_once(state: SearchState) -> Sequence[Action]:
    return [Stop("I would rather not")]


def test_a_search_that_asks_nobody_is_an_error_that_says_why() -> None:
    with pytest.raises(NoAdequateModel):
        ask(Scripted("a", LONG), strategy=stops_at_once)


@pytest.mark.parametrize(
    "text",
    ["I cannot write programs.", "```python\nprint(\n```", "```python\nraise ValueError\n```", "```python\nx = 1\n```"],
)
def test_a_program_that_prints_nothing_is_no_answer_and_costs_none(text: str) -> None:
    answer = ask(Scripted("a", "The answer is 35", text), strategy="two_ways", question="How many?", quality=0.999)
    assert [candidate.text for candidate in answer.candidates] == ["The answer is 35"]


def test_recorded_searches_teach_what_revisions_do() -> None:
    answer, strategy = criticised()
    state, _ = played_again(answer, STRATEGIES[strategy])
    seen = revisions_in(state, lambda text: "boats" in text)
    assert seen == [Revised("critique", False, True)]
    assert fit_revisions(seen * 200)["critique"].fixes > 0.9
    debate, strategy = debated()
    kinds = {
        revised.kind
        for revised in revisions_in(played_again(debate, STRATEGIES[strategy])[0], lambda text: "7" in text)
    }
    assert kinds == {"debate"}
