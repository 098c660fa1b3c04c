"""Belief, value of information, strategies and the loop that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Budget, Completion, Message, Orchestrator
from orchestrator.backends.base import Request
from orchestrator.budget import Ledger
from orchestrator.search.actions import Draft, Revise, Stop
from orchestrator.search.belief import VoteState, believe, replay, start, success_given_ease, vote
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.state import Choice, SearchState, Strategy
from orchestrator.search.strategies.registry import adaptive, cascade, draft_critique_revise, single
from orchestrator.search.value import best_purchase
from orchestrator.search.vote_model import VoteModel
from orchestrator.testing import ScriptedBackend as Scripted
from orchestrator.trace import Trace
from orchestrator.types import Candidate
from orchestrator.verifiers import JsonSchemaVerifier, Verdict

probabilities = st.floats(0.02, 0.98)
votes = st.lists(st.tuples(st.sampled_from("abcd"), probabilities), max_size=7)
vote_models = st.builds(VoteModel, st.floats(0, 4), st.floats(0.5, 16))
dependent_models = st.builds(
    VoteModel,
    st.floats(0, 4),
    st.floats(0.5, 16),
    hopeless=st.floats(0, 0.2),
    pulls=st.tuples(*(st.tuples(st.just(name), st.floats(0.2, 3)) for name in "abcxyz")),
    copying=st.tuples(
        *(st.tuples(st.just(one), st.just(other), st.floats(0, 0.9)) for one in "abc" for other in "xyz")
    ),
)


# ---- belief ----


@given(votes, vote_models)
def test_beliefs_sum_to_one(cast: list[tuple[str, float]], model: VoteModel) -> None:
    belief = believe(cast, model)
    assert sum(belief.groups.values()) + belief.none == pytest.approx(1.0)
    assert set(belief.groups) == {key for key, _ in cast}


@given(probabilities, vote_models)
def test_one_vote_is_believed_as_much_as_the_model_that_cast_it(p: float, model: VoteModel) -> None:
    assert believe([("a", p)], model).confidence == pytest.approx(p, abs=0.01)


@given(st.lists(probabilities, min_size=2, max_size=5), vote_models)
def test_the_order_of_votes_does_not_matter(ps: list[float], model: VoteModel) -> None:
    cast = [("a" if index % 2 else "b", p) for index, p in enumerate(ps)]
    forward, backward = believe(cast, model), believe(cast[::-1], model)
    assert forward.groups == pytest.approx(backward.groups, abs=1e-6)


@given(st.floats(0.1, 0.95), vote_models, st.integers(1, 5))
def test_what_is_no_answer_speaks_for_nobody_and_lowers_the_belief(p: float, model: VoteModel, refusals: int) -> None:
    alone = believe([("a", p)], model)
    beside = believe([(None, p)] * refusals + [("a", p)], model)
    assert set(beside.groups) == {"a"}
    assert beside.groups["a"] <= alone.groups["a"] + 1e-9
    assert believe([(None, p)] * refusals, model).none == pytest.approx(1.0)


def test_an_answer_that_may_be_the_same_neither_merges_nor_splits() -> None:
    def state(*texts: str) -> SearchState:
        said = tuple(Candidate(Completion(f"m{i}", text)) for i, text in enumerate(texts))
        return SearchState("What is the distance?", (), {f"m{i}": 0.75 for i in range(len(texts))}, said)

    alone, doubtful, agreeing, apart = state("5 km"), state("5 km", "5"), state("5 km", "5000 m"), state("5 km", "7 km")
    assert doubtful.keys[0] != doubtful.keys[1]
    assert doubtful.confidence == pytest.approx(alone.confidence)
    assert apart.confidence < alone.confidence < agreeing.confidence
    outvoted = state("5", "5 km", "5000 m")
    assert outvoted.set_aside == {outvoted.keys[0]}
    assert outvoted.leader == 1
    assert outvoted.confidence == pytest.approx(agreeing.confidence)


@given(st.floats(0.5, 0.95), vote_models)
def test_agreement_strengthens_and_disagreement_weakens(p: float, model: VoteModel) -> None:
    alone = believe([("a", p)], model).confidence
    assert believe([("a", p), ("a", p)], model).groups["a"] >= alone - 1e-9
    assert believe([("a", p), ("b", p)], model).groups["a"] <= alone + 1e-9


def test_votes_of_models_that_err_together_count_less() -> None:
    cast = [("a", 0.7)] * 3
    independent, dependent = (believe(cast, VoteModel(spread=spread)).confidence for spread in (0.0, 3.0))
    assert dependent < independent


def test_a_decisive_failure_rules_a_group_out() -> None:
    belief = believe([("a", 0.9), ("b", 0.6)], likelihood_ratio={"a": 0.0})
    assert belief.groups["a"] == 0.0
    assert belief.leader == "b"
    everything = believe([("a", 0.9)], likelihood_ratio={"a": 0.0})
    assert everything.none == pytest.approx(1.0)


@given(st.lists(probabilities, min_size=1, max_size=5), st.floats(0, 4))
def test_success_given_ease_keeps_its_mean(ps: list[float], spread: float) -> None:
    right = success_given_ease(np.array(ps), VoteModel(spread=spread))
    assert right @ start(VoteModel(spread=spread)).weights[0] == pytest.approx(ps, abs=0.01)


def test_the_posterior_is_calibrated_on_votes_drawn_from_its_own_model() -> None:
    rng, model, ps = np.random.default_rng(0), VoteModel(spread=1.5, concentration=4.0), [0.6, 0.7, 0.8]
    right = success_given_ease(np.array(ps), model)
    weights = start(model).weights[0]
    confidence, hits = [], []
    for _ in range(4_000):
        node = rng.choice(len(weights), p=weights)
        cast: list[tuple[str, float]] = []
        crowds: list[int] = []  # Chinese restaurant of the wrong answers
        for row, p in zip(right, ps, strict=True):
            if rng.random() < row[node]:
                cast.append(("right", p))
                continue
            seats = np.array([*crowds, model.concentration])
            table = int(rng.choice(len(seats), p=seats / seats.sum()))
            crowds = [*crowds, 1] if table == len(crowds) else [n + (i == table) for i, n in enumerate(crowds)]
            cast.append((f"wrong{table}", p))
        belief = believe(cast, model)
        confidence.append(belief.confidence)
        hits.append(belief.leader == "right")
    confidence_of, hit = np.array(confidence), np.array(hits, dtype=float)
    for low, high in ((0.0, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        inside = (confidence_of >= low) & (confidence_of < high)
        if inside.sum() > 100:
            assert hit[inside].mean() == pytest.approx(confidence_of[inside].mean(), abs=0.05)


def test_a_thousand_votes_are_believed_like_any_others() -> None:
    belief = believe([("a", 0.7), ("b", 0.6)] * 600)
    assert sum(belief.groups.values()) + belief.none == pytest.approx(1.0)


# ---- value of information ----


def test_nothing_is_bought_that_costs_more_than_it_can_bring() -> None:
    model = VoteModel()
    right = success_given_ease(np.array([0.7, 0.9]), model)
    assert best_purchase(start(model), right, [2.0, 3.0], model, value_usd=1.0).model is None
    bought = best_purchase(start(model), right, [0.001, 0.5], model, value_usd=1.0)
    assert bought.model == 0
    assert bought.gain_usd > 0


def by_hand(
    state: VoteState,
    right: np.ndarray,
    prices: Sequence[float],
    names: Sequence[str],
    model: VoteModel,
    value_usd: float,
    depth: int,
) -> float:
    """The value of a state by the definition: every model, every outcome, one after the other."""
    best = value_usd * state.best if state.keys else 0.0
    if depth == 0:
        return best
    for index in range(len(right)):
        expected = -prices[index]
        for key in (*state.keys, f"new{len(state.keys)}"):
            after = vote(state, key, right[index], model, voter=names[index])
            others = [i for i in range(len(right)) if i != index]
            then = by_hand(
                after,
                right[others],
                [prices[i] for i in others],
                [names[i] for i in others],
                model,
                value_usd,
                depth - 1,
            )
            expected += after.total / state.total * then
        best = max(best, expected)
    return best


@given(
    votes, dependent_models, st.lists(probabilities, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 10_000)
)
@settings(max_examples=60, deadline=None)
def test_the_best_purchase_is_that_of_the_definition(
    cast: list[tuple[str, float]], model: VoteModel, ps: list[float], depth: int, seed: int
) -> None:
    prices = np.random.default_rng(seed).uniform(0, 0.05, len(ps)).tolist()
    state, right = replay(cast[:3], model, voters=["x", "y", "z"][: len(cast)]), success_given_ease(np.array(ps), model)
    names = ["a", "b", "c"][: len(ps)]
    found = best_purchase(state, right, prices, model, value_usd=0.2, names=names, depth=depth)
    stop = 0.2 * state.best if state.keys else 0.0
    assert max(found.gain_usd, 0.0) == pytest.approx(
        by_hand(state, right, prices, names, model, 0.2, depth) - stop, abs=1e-9
    )


def test_two_cheap_opinions_may_spare_a_dear_one() -> None:
    """Looked two votes ahead, the dear model seems to be worth asking at once.

    Three votes ahead, only where two cheap ones differ.
    """
    model, ps, prices = VoteModel(2.5, 4.0), np.array([0.74, 0.64, 0.86]), [0.00018, 0.00006, 0.0025]
    right = success_given_ease(ps, model)
    two, three = (best_purchase(start(model), right, prices, model, value_usd=0.03, depth=depth) for depth in (2, 3))
    assert two.model == 2
    assert three.model in (0, 1)
    assert three.gain_usd > two.gain_usd


@given(st.lists(probabilities, min_size=1, max_size=3), st.floats(0.001, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_free_look_is_never_a_loss_and_dearer_looks_gain_less(ps: list[float], price: float) -> None:
    model = VoteModel()
    right = success_given_ease(np.array(ps), model)
    free = best_purchase(start(model), right, [0.0] * len(ps), model, value_usd=1.0)
    paid = best_purchase(start(model), right, [price] * len(ps), model, value_usd=1.0)
    assert free.gain_usd >= max(ps) - 0.02
    assert paid.gain_usd <= free.gain_usd


# ---- strategies ----

CHEAP, DEAR = Choice("cheap", 0.7, 0.0001, 1.0), Choice("dear", 0.95, 0.01, 2.0)
EMPTY = SearchState("What is 6 * 7?", (CHEAP, DEAR), {"cheap": 0.7, "dear": 0.95}, chosen="cheap")
FAILED = Verdict("json_schema", 0.0, False, feedback="$.total is missing", decisive=True)


def answered(state: SearchState, model: str, text: str, *verdicts: Verdict) -> SearchState:
    left = tuple(choice for choice in state.choices if choice.model != model)
    return replace(state, choices=left, candidates=(*state.candidates, Candidate(Completion(model, text), verdicts)))


def test_single_asks_the_routed_model_once() -> None:
    assert single(EMPTY) == [Draft("cheap")]
    assert isinstance(single(answered(EMPTY, "cheap", "42"))[0], Stop)
    assert isinstance(single(replace(EMPTY, choices=()))[0], Stop)


def test_cascade_escalates_until_the_target() -> None:
    assert cascade(EMPTY) == [Draft("cheap")]
    doubtful = answered(EMPTY, "cheap", "42")
    assert cascade(doubtful) == [Draft("dear")]
    assert isinstance(cascade(replace(doubtful, quality=0.5))[0], Stop)
    assert isinstance(cascade(answered(doubtful, "dear", "41"))[0], Stop)


def test_a_revision_needs_a_decisive_verdict_with_feedback_and_happens_at_most_twice() -> None:
    fine = answered(EMPTY, "cheap", "42")
    assert isinstance(draft_critique_revise(fine)[0], Stop)
    opinion = answered(EMPTY, "cheap", "42", Verdict("judge", 0.1, False, feedback="not nice"))
    assert isinstance(draft_critique_revise(opinion)[0], Stop)
    broken = answered(EMPTY, "cheap", "{}", FAILED)
    assert draft_critique_revise(broken) == [Revise(0, "cheap")]
    other = replace(FAILED, feedback="total is no number")
    second = replace(
        broken, candidates=(*broken.candidates, Candidate(Completion("cheap", '{"total": ""}'), (other,), revises=0))
    )
    assert draft_critique_revise(second) == [Revise(1, "cheap")]
    third = replace(
        second, candidates=(*second.candidates, Candidate(Completion("cheap", '{"total": []}'), (FAILED,), revises=1))
    )
    assert isinstance(draft_critique_revise(third)[0], Stop)


@pytest.mark.parametrize(("text", "feedback"), [("{}", "something else"), ('{"sum": 1}', FAILED.feedback)])
def test_a_revision_that_goes_in_a_circle_is_the_last(text: str, feedback: str) -> None:
    """The same text again, or a critique that finds nothing new."""
    broken = answered(EMPTY, "cheap", "{}", FAILED)
    again = Candidate(Completion("cheap", text), (replace(FAILED, feedback=feedback),), revises=0)
    assert isinstance(draft_critique_revise(replace(broken, candidates=(*broken.candidates, again)))[0], Stop)


def test_adaptive_buys_a_second_opinion_only_when_it_is_worth_its_price() -> None:
    doubtful = answered(EMPTY, "cheap", "The answer is 42")
    assert adaptive(replace(doubtful, value_usd=1.0)) == [Draft("dear")]
    assert isinstance(adaptive(replace(doubtful, value_usd=0.001))[0], Stop)
    assert isinstance(adaptive(replace(doubtful, quality=0.6, value_usd=1.0))[0], Stop)


def test_adaptive_waits_for_what_runs() -> None:
    assert list(adaptive(replace(EMPTY, running=(Draft("cheap"),)))) == []


def test_adaptive_begins_two_drafts_at_once_when_there_is_no_time_for_one_after_the_other() -> None:
    state = replace(EMPTY, quality=0.99, value_usd=1.0)
    assert len(adaptive(replace(state, seconds_left=10.0))) == 1
    assert {action.model for action in adaptive(replace(state, seconds_left=2.5)) if isinstance(action, Draft)} == {
        "cheap",
        "dear",
    }
    assert list(adaptive(replace(state, seconds_left=1.5))) == [Draft("cheap")]  # the dear one would be late
    assert list(adaptive(replace(state, choices=(), seconds_left=1.0))) == [Stop("all models were asked")]


def test_the_leader_is_never_an_answer_that_is_ruled_out() -> None:
    state = answered(answered(EMPTY, "dear", "41", FAILED), "cheap", "42")
    assert state.leader == 1
    assert answered(EMPTY, "dear", "41", FAILED).leader is None
    assert answered(EMPTY, "dear", "41", FAILED).confidence == 0.0


def test_free_text_is_not_voted_on() -> None:
    first = answered(
        EMPTY,
        "cheap",
        "Rain in spring feeds the young grass, and the river rises slowly over the old stones of the mill.",
    )
    assert first.confidence == pytest.approx(0.7)
    second = answered(
        first,
        "dear",
        "Snow in winter covers the fields, the wind is cold and long, and everybody stays at home by the fire.",
    )
    assert second.confidence == pytest.approx(0.95)
    assert second.leader == 1


# ---- the loop ----


def run(
    strategy: Strategy, *backends: Scripted, ledger: Ledger | None = None, seconds: float | None = None, **fields: float
) -> tuple[SearchResult, Trace]:
    async def search() -> tuple[SearchResult, Trace]:
        trace = Trace()
        named = {backend.profile.name: backend for backend in backends}
        choices = tuple(
            Choice(b.profile.name, b.profile.skill or 0.5, b.profile.cost_usd(20, 20), b.profile.latency_s(0))
            for b in backends
        )
        state = SearchState("What is 6 * 7?", choices, {c.model: c.p_success for c in choices}, **fields)
        request = Request((Message("user", state.question),), state.question, max_tokens=50)
        return await Search(named, (), ledger or Ledger(), trace, seconds=seconds).run(state, strategy, request), trace

    return asyncio.run(search())


def both_at_once(state: SearchState) -> Sequence[Draft | Stop]:
    if state.candidates:
        return [Stop("the first is enough")]
    return [] if state.running else [Draft(choice.model) for choice in state.choices]


def test_losers_are_cancelled_and_settled_at_their_worst_case() -> None:
    quick, slow, ledger = Scripted("quick", "42"), Scripted("slow", "41", seconds=30), Ledger(Budget(usd=1.0))
    result, trace = run(both_at_once, quick, slow, ledger=ledger)
    assert [c.model for c in result.state.candidates] == ["quick"]
    assert slow.cancelled
    assert (ledger.calls, ledger.reserved_nano) == (2, 0)
    loser = next(span for span in trace.root.children if span.attributes["model"] == "slow")
    assert loser.attributes["worst_case"] is True
    assert sum(span.attributes["cost_usd"] for span in trace.root.children) == pytest.approx(ledger.spent_usd)


def test_a_failing_model_does_not_stop_the_others() -> None:
    result, _ = run(cascade, Scripted("broken"), Scripted("fine", "42"))
    assert [c.model for c in result.state.candidates] == ["fine"]
    assert result.tried == {"broken": "out of order"}


def test_the_deadline_cancels_and_keeps_the_best_so_far() -> None:
    quick, slow = Scripted("quick", "42"), Scripted("slow", "42", seconds=30)
    result, _ = run(cascade, quick, slow, seconds=0.2, quality=1.0)
    assert result.partial
    assert result.state.leader == 0
    assert slow.cancelled


def test_a_search_cut_short_by_the_budget_is_partial() -> None:
    result, _ = run(cascade, Scripted("a", "42"), Scripted("b", "42"), ledger=Ledger(Budget(calls=1)), quality=1.0)
    assert len(result.state.candidates) == 1
    assert result.partial


def test_a_strategy_that_asks_twice_for_the_same_gets_it_once() -> None:
    slow, quick = Scripted("slow", "42", seconds=0.1), Scripted("quick", "1")

    def stubborn(state: SearchState) -> Sequence[Draft | Stop]:
        return (
            [Stop("enough")]
            if len(state.candidates) == 2
            else [Draft("slow"), Draft("quick")][: 2 - len(state.candidates)]
        )

    run(stubborn, slow, quick)
    assert (len(slow.asked), len(quick.asked)) == (1, 1)


def test_an_answer_that_breaks_the_schema_is_revised_with_the_feedback_and_the_better_one_wins() -> None:
    schema = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}
    model = Scripted("m", '{"sum": 42}', '{"total": 42}')
    with Orchestrator({"m": model}) as orchestrator:
        answer = orchestrator.answer_sync(
            "What is 6 * 7? Reply in JSON.", schema=schema, strategy="draft_critique_revise"
        )
    assert answer.text == '{"total": 42}'
    assert [c.revises for c in answer.candidates] == [None, 0]
    assert "total" in model.asked[1].messages[-1].content
    assert answer.candidates[0].ruled_out
    assert answer.usage.output_tokens == 20
    diff = next(span.attributes["diff"] for span in answer.trace.root.children if span.name == "revise")
    assert diff.splitlines()[-2:] == ['-{"sum": 42}', '+{"total": 42}']


def test_an_answer_that_never_fits_the_schema_is_returned_without_any_confidence() -> None:
    with Orchestrator({"m": Scripted("m", "no json at all")}) as orchestrator:
        answer = orchestrator.answer_sync("What is 6 * 7?", schema={"type": "object"})
    assert answer.confidence == 0.0
    assert answer.candidates[0].ruled_out


def test_own_verifiers_join_the_search() -> None:
    async def check() -> Verdict:
        return await JsonSchemaVerifier({"type": "integer"}).verify("q", "42")

    assert asyncio.run(check()).passed
    with Orchestrator(
        {"m": Scripted("m", "forty-two", "42")}, verifiers=[JsonSchemaVerifier({"type": "integer"})]
    ) as orchestrator:
        assert orchestrator.answer_sync("What is 6 * 7?").text == "42"
