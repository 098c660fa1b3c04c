"""Evidence on answers that cannot be voted on: a judge's preferences in both orders, and how certain a model was."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import Completion, Orchestrator
from orchestrator.backends.base import Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.router import ModelProfile
from orchestrator.search import Recording, replayed
from orchestrator.search.actions import Compare, Draft, Stop
from orchestrator.search.graded_evidence import CERTAINTY, COMPARISON, certainty_verdict, read_comparison
from orchestrator.search.state import Choice, SearchState
from orchestrator.search.strategies.judged_pairs import judged_pairs
from orchestrator.search.strategies.registry import STRATEGIES
from orchestrator.testing import ScriptedBackend as Scripted
from orchestrator.types import Candidate, Message
from orchestrator.verifiers import Ensemble, Verdict
from orchestrator.verifiers.ensemble import CAUTIOUS, Evidence
from orchestrator.verifiers.learning import fit_ensemble
from tests.support.gateway import read_body, reply, served

GOOD = (
    "Storms form where warm, moist air rises into cold air; the water condenses, which frees heat and lifts the air "
    "further. " * 2
)
POOR = (
    "Storms are made by the trees when they shake their leaves, which pushes the air about until it becomes windy and "
    "wet. " * 2
)
FLEET = (
    Choice("small", 0.5, 0.0001, 1.0),
    Choice("middle", 0.6, 0.0002, 1.0),
    Choice("judge", 0.7, 0.001, 1.0),
    Choice("large", 0.9, 0.02, 2.0),
)


def state_of(*texts: tuple[str, str], value_usd: float = 0.1) -> SearchState:
    drafted = tuple(Draft(model) for model, _ in texts)
    left = tuple(choice for choice in FLEET if choice.model not in dict(texts))
    return SearchState(
        "Why are there storms?",
        left,
        {choice.model: choice.p_success for choice in FLEET},
        tuple(Candidate(Completion(model, text)) for model, text in texts),
        quality=0.95,
        value_usd=value_usd,
        fleet=FLEET,
        begun=drafted,
    )


def after(state: SearchState, compare: Compare, winner: str) -> SearchState:
    state = state.after_beginning(compare)
    for index, verdict in zip(
        (compare.first, compare.second), read_comparison(json.dumps({"better": winner}), 0.001), strict=True
    ):
        state = state.with_verdict(index, verdict)
    return state


def test_two_cheap_drafts_are_compared_in_both_orders_by_who_wrote_neither() -> None:
    assert judged_pairs(state_of()) == [Draft("small")]
    assert judged_pairs(state_of(("small", POOR))) == [Draft("middle")]
    assert judged_pairs(replace(state_of(("small", POOR)), quality=0.4)) == [
        Stop("P(correct) 0.500 reaches the target 0.400")
    ]
    state = state_of(("small", POOR), ("middle", GOOD))
    assert judged_pairs(state) == [Compare(0, 1, "judge"), Compare(1, 0, "judge")]


def test_a_preference_in_both_orders_is_evidence_and_one_that_turns_is_none() -> None:
    state = state_of(("small", POOR), ("middle", GOOD))
    before = [state.p_right(i) for i in range(2)]
    agreed = after(after(state, Compare(0, 1, "judge"), "2"), Compare(1, 0, "judge"), "1")
    assert agreed.leader == 1
    assert agreed.p_right(1) > before[1] + 0.1
    assert agreed.p_right(0) < before[0] - 0.1
    turned = after(after(state, Compare(0, 1, "judge"), "1"), Compare(1, 0, "judge"), "1")
    assert [turned.p_right(i) for i in range(2)] == pytest.approx(before, abs=0.01)
    tied = after(after(state, Compare(0, 1, "judge"), "tie"), Compare(1, 0, "judge"), "tie")
    assert [tied.p_right(i) for i in range(2)] == pytest.approx(before, abs=0.01)


def test_nothing_is_compared_that_is_not_worth_it_and_short_answers_are_voted_on() -> None:
    poor = state_of(("small", POOR), ("middle", GOOD), value_usd=0.001)
    assert isinstance(judged_pairs(poor)[0], Stop)
    short = state_of(("small", "The answer is 42."), ("middle", "The answer is 42."))
    assert judged_pairs(short) == STRATEGIES["adaptive"](short)
    useless = replace(state_of(("small", POOR), ("middle", GOOD)), ensemble=Ensemble({COMPARISON: Evidence(1.0, 1.0)}))
    assert not any(isinstance(action, Compare) for action in judged_pairs(useless))


def test_a_third_draft_comes_of_the_best_model_while_it_may_pay() -> None:
    state = state_of(("small", POOR), ("middle", GOOD))
    agreed = after(after(state, Compare(0, 1, "judge"), "2"), Compare(1, 0, "judge"), "1")
    assert judged_pairs(agreed) == [Draft("large")]
    assert isinstance(judged_pairs(replace(agreed, value_usd=0.01))[0], Stop)
    assert isinstance(judged_pairs(replace(agreed, quality=0.6))[0], Stop)


class Judge(Scripted):
    """Prefers the text that holds a word, wherever it is shown."""

    async def complete(self, request: Request) -> Completion:
        prompt = request.messages[-1].content
        if "answer-1" not in prompt:
            return await super().complete(request)
        self.asked.append(request)
        first = prompt.index("<answer-1>") < prompt.index("moist") < prompt.index("<answer-2>")
        return Completion(
            self.profile.name, json.dumps({"own_answer": "warm air", "why": "physics", "better": "1" if first else "2"})
        )


def test_the_engine_follows_the_judge_and_plays_it_again() -> None:
    fleet = {
        "small": Scripted("small", POOR, price=0.0),
        "middle": Scripted("middle", GOOD, price=0.0),
        "judge": Judge("judge", GOOD, price=0.1),
    }
    with Orchestrator(fleet, strategy="judged_pairs", quality=0.999, value_usd=10.0) as orchestrator:
        answer = orchestrator.answer_sync("Why are there storms?", budget=None)
    assert answer.text == GOOD
    compared = [v.score for c in answer.candidates[:2] for v in c.verdicts if v.verifier == COMPARISON]
    assert compared == [0.0, 0.0, 1.0, 1.0]
    recording = Recording.from_dict(json.loads(json.dumps(answer.trace.as_dict(with_search=True)["search"])))
    state, _ = replayed(recording, judged_pairs)
    assert state.candidates[state.leader or 0].text == answer.text


def test_models_that_fail_are_followed_by_others() -> None:
    fleet = {
        "a": Scripted("a", price=0.1),
        "b": Scripted("b", price=0.2),
        "c": Scripted("c", GOOD, price=300, skill=0.9),
    }
    with Orchestrator(fleet, strategy=judged_pairs, quality=1.0) as orchestrator:
        assert orchestrator.answer_sync("Why are there storms?").text == GOOD


def test_a_reply_that_keeps_to_no_form_speaks_for_nobody() -> None:
    first, second = read_comparison("They are both fine, really.", 0.002)
    assert first.abstained
    assert second.abstained
    assert (first.cost_usd, second.cost_usd) == (0.002, 0.0)


# ---- certainty ----


def test_certainty_counts_for_nothing_until_it_was_learned() -> None:
    assert CERTAINTY not in CAUTIOUS
    scores = [score for x in (-9.0, -1.0, -0.1, -0.001, 0.0) if (score := certainty_verdict(x).score) is not None]
    assert len(scores) == 5
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores == sorted(scores)
    graded = [([certainty_verdict(-0.01)], True), ([certainty_verdict(-0.9)], False)] * 60 + [
        ([certainty_verdict(-0.01)], False)
    ] * 10
    learned = fit_ensemble(graded)
    assert learned.ratio([certainty_verdict(-0.01)]) > 1.2
    assert learned.ratio([certainty_verdict(-0.9)]) < 0.4


class Told:
    """A server that gives log-probabilities when it is asked for them."""

    def __init__(self, told: object) -> None:
        self.told, self.bodies = told, list[dict[str, Any]]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(json.loads(await read_body(receive)))
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": GOOD},
            "finish_reason": "stop",
            "logprobs": self.told,
        }
        await reply(send, 200, {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 9}})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"content": [{"token": "a", "logprob": -0.2}, {"token": "b", "logprob": -0.4}]}, -0.3),
        ({"content": [{"token": "a", "logprob": -0.2}, {"token": "b", "logprob": None}, "?"]}, -0.2),
        ({"content": []}, None),
        ({"content": None}, None),
        (None, None),
        ({"tokens": ["a"], "token_logprobs": [-0.1]}, None),
        ({"content": [{"logprob": float("nan")}]}, None),
        ({"content": [{"logprob": 0.5}]}, 0.0),
    ],
)
def test_log_probabilities_are_asked_for_and_read(told: object, expected: float | None) -> None:
    server = Told(told)
    with served(server) as url:
        backend = RemoteBackend(ModelProfile("m"), base_url=f"{url}/v1", model="m")

        async def ask() -> tuple[Completion, Completion]:
            request = Request((Message("user", "Why?"),), "Why?")
            found = await backend.complete(replace(request, certainty=True)), await backend.complete(request)
            await backend.aclose()
            return found

        asked, plain = asyncio.run(ask())
    assert asked.certainty == (None if expected is None else pytest.approx(expected))
    assert plain.certainty is None
    assert [body.get("logprobs") for body in server.bodies] == [True, None]


def test_the_search_asks_for_certainty_where_the_ensemble_knows_of_it() -> None:
    model = Scripted("m", GOOD)
    silent = Ensemble({**CAUTIOUS, CERTAINTY: Evidence(1.0, 1.0)})
    with Orchestrator({"m": model}, ensemble=silent) as orchestrator:
        orchestrator.answer_sync("Why are there storms?")
    with Orchestrator({"m": model}) as orchestrator:
        orchestrator.answer_sync("Why are there storms?")
    assert [request.certainty for request in model.asked] == [True, False]


def test_what_was_certain_is_believed_more() -> None:
    learned = Ensemble({**CAUTIOUS, CERTAINTY: Evidence(8.0, 0.1)})

    def believed(certainty: float) -> float:
        verdict = certainty_verdict(certainty)
        state = replace(state_of(("small", GOOD)), ensemble=learned)
        return state.with_verdict(0, verdict).p_right(0)

    assert believed(-0.001) > 0.7 > 0.5 > believed(-2.0)
    assert math.isclose(Ensemble().ratio([Verdict("unit_tests", None, None)]), 1.0)
