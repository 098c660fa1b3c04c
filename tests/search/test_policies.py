"""Policies as strategies, what they would have done with graded answers, and how calibration chooses among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Completion, Orchestrator
from orchestrator.search.actions import Draft, Stop
from orchestrator.search.calibration.calibrate import calibrate, compare_policies
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Mixture, strategy_of
from orchestrator.search.calibration.policy_choice import best_within, estimate, repeatable_share, upper_hull
from orchestrator.search.calibration.policy_replay import (
    KnownFleet,
    Replayed,
    replay_by_value,
    replay_order,
    replay_policy,
)
from orchestrator.search.lengths import fit_sharing, length_factor
from orchestrator.search.state import Choice, SearchState
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import GradedQuestion, VoteTable
from orchestrator.testing import ScriptedBackend as Scripted
from orchestrator.types import Candidate, Usage
from orchestrator.verifiers import Verdict

MODELS = ("a", "b", "c", "d")
USD = {"a": 0.0001, "b": 0.0002, "c": 0.001, "d": 0.01}
P = {"a": 0.6, "b": 0.65, "c": 0.75, "d": 0.9}


def simulated(n: int, *, seed: int = 0, spread: float = 1.5) -> list[GradedQuestion]:
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        ease = rng.normal(0, spread)
        right = {
            name: bool(rng.random() < 1 / (1 + np.exp(-(np.log(p / (1 - p)) * 1.3 + ease)))) for name, p in P.items()
        }
        keys = {name: "number:100" if ok else f"number:{101 + int(rng.integers(12))}" for name, ok in right.items()}
        found.append(GradedQuestion(keys, right, dict(USD)))
    return found


def state_of(model: VoteModel, value_usd: float = 0.05) -> SearchState:
    choices = tuple(Choice(name, P[name], USD[name], 1.0) for name in MODELS)
    return SearchState("How many?", choices, dict(P), quality=1.0, value_usd=value_usd, vote_model=model)


def answered(state: SearchState, model: str, key: str | None, *verdicts: Verdict) -> SearchState:
    left = tuple(choice for choice in state.choices if choice.model != model)
    text = "I do not know." if key is None else f"The answer is {key.partition(':')[2]}."
    candidates = (*state.candidates, Candidate(Completion(model, text), verdicts))
    return replace(
        state,
        choices=left,
        fleet=state.fleet or state.choices,
        candidates=candidates,
        begun=(*state.begun, Draft(model)),
    )


# ---- fixed orders ----


def test_a_cascade_asks_the_third_only_where_the_first_two_differ() -> None:
    follow = strategy_of(FixedOrder(("a", "b", "d"), 2))
    state = state_of(VoteModel())
    assert follow(state) == [Draft("a")]
    state = answered(state, "a", "number:1")
    assert follow(state) == [Draft("b")]
    assert follow(answered(state, "b", "number:1")) == [Stop("2 of 2 models agree")]
    differ = answered(state, "b", "number:2")
    assert follow(differ) == [Draft("d")]
    assert follow(answered(differ, "d", "number:3")) == [Stop("nobody else of the policy is left to ask")]


def test_a_majority_stops_as_soon_as_it_is_decided() -> None:
    follow = strategy_of(FixedOrder(("a", "b", "c"), 2))
    state = answered(answered(state_of(VoteModel()), "a", "number:1"), "b", "number:1")
    assert isinstance(follow(state)[0], Stop)


def test_a_single_model_that_says_nothing_of_use_is_replaced() -> None:
    follow = strategy_of(FixedOrder(("a",)))
    silent = answered(state_of(VoteModel()), "a", None)
    silent = replace(silent, candidates=(Candidate(Completion("a", "")),))
    assert isinstance(follow(silent)[0], Draft)
    assert follow(answered(state_of(VoteModel()), "a", "number:1")) == [Stop("one draft")]


def test_models_that_are_not_here_are_passed_over() -> None:
    follow = strategy_of(FixedOrder(("gone", "b", "d"), 2))
    assert follow(state_of(VoteModel())) == [Draft("b")]
    assert isinstance(strategy_of(FixedOrder(("gone",)))(state_of(VoteModel()))[0], Draft)


def test_free_text_and_failed_checks_are_searched_as_without_a_policy() -> None:
    follow = strategy_of(FixedOrder(("a", "b", "d"), 2))
    prose = "Storms form where warm air rises through cold air, which is why they are more frequent in summer. " * 3
    state = replace(state_of(VoteModel(), value_usd=1e-6), candidates=(Candidate(Completion("a", prose)),))
    assert isinstance(follow(state)[0], Stop)  # another essay cannot agree with it
    failed = answered(
        state_of(VoteModel()), "a", "number:1", Verdict("json_schema", 0.0, False, feedback="no", decisive=True)
    )
    assert not isinstance(follow(failed)[0], Stop)


@pytest.mark.parametrize("wrong", [((), 1), (("a", "a"), 1), (("a", "b"), 3), (("a",), 0)])
def test_an_order_that_cannot_be_is_refused(wrong: tuple[tuple[str, ...], int]) -> None:
    with pytest.raises(ValueError, match="a fixed order names different models"):
        FixedOrder(*wrong)


def test_a_mixture_gives_a_question_always_the_same_and_keeps_to_its_share() -> None:
    mixed = Mixture(FixedOrder(("a",)), FixedOrder(("d",)), 0.3)
    questions = [f"question {i}" for i in range(4_000)]
    chosen = [mixed.policy_for(question) == mixed.second for question in questions]
    assert np.mean(chosen) == pytest.approx(0.3, abs=0.03)
    assert chosen == [mixed.policy_for(question) == mixed.second for question in questions]
    assert [Mixture(mixed.first, mixed.second, share).policy_for("x") for share in (0.0, 1.0)] == [
        mixed.first,
        mixed.second,
    ]
    assert mixed.policy_for("\ud800") in (mixed.first, mixed.second)
    with pytest.raises(ValueError, match="share"):
        Mixture(mixed.first, mixed.second, 1.2)


def test_a_query_that_says_what_an_answer_is_worth_is_searched_by_that() -> None:
    follow = strategy_of(FixedOrder(("a",)), usual_usd=0.05)
    done = answered(state_of(VoteModel()), "a", "number:1")
    assert follow(done) == [Stop("one draft")]
    assert follow(replace(done, value_usd=5.0))[0] != Stop("one draft")


def test_the_engine_follows_a_policy() -> None:
    cheap, other, dear = Scripted("a", "42"), Scripted("b", "42"), Scripted("d", "43")
    policy = FixedOrder(("a", "b", "d"), 2)
    with Orchestrator({"a": cheap, "b": other, "d": dear}, strategy=strategy_of(policy), quality=1.0) as orchestrator:
        answer = orchestrator.answer_sync("What is 6 * 7?")
    assert (answer.text, answer.stopped) == ("42", "2 of 2 models agree")
    assert dear.asked == []


# ---- replays ----

policies = st.one_of(
    st.builds(ByValue, st.floats(0.0005, 0.3)),
    st.permutations(MODELS).flatmap(
        lambda order: st.integers(1, 4).flatmap(
            lambda n: st.builds(FixedOrder, st.just(tuple(order[:n])), st.integers(1, n))
        )
    ),
)
keys = st.one_of(st.none(), st.sampled_from(["number:540", "number:541", "number:7"]))
rows = st.lists(st.tuples(*[keys] * 4), min_size=1, max_size=3)


@given(policies, rows, st.floats(0, 3), st.floats(0.5, 8))
@settings(max_examples=60, deadline=None)
def test_a_replay_does_what_the_strategy_does(
    policy: ByValue | FixedOrder, said: list[tuple[str | None, ...]], spread: float, c: float
) -> None:
    model = VoteModel(spread, c, pulls=(("a", 0.6), ("d", 1.7)), copying=(("a", "b", 0.2),), easier=0.2)
    questions = []
    for row in said:
        named = dict(zip(MODELS, row, strict=True))
        questions.append(GradedQuestion(named, {name: key == "number:540" for name, key in named.items()}, USD))
    table = VoteTable.of(questions)
    usd = np.array([USD[name] for name in MODELS])
    fleet = KnownFleet(np.array([P[name] for name in MODELS]), usd, usd, model)
    replayed = replay_policy(table, fleet, policy, [""] * len(table))
    for index, question in enumerate(questions):
        state = state_of(model)
        spent = 0.0
        while isinstance(action := strategy_of(policy)(state)[0], Draft):
            state = answered(state, action.model, question.keys[action.model])
            spent += USD[action.model]
            if isinstance(policy, FixedOrder) and len(state.candidates) == len(policy.models):
                break  # what follows where nobody answered is the search's
        assert replayed.usd[index] == pytest.approx(spent)
        if state.votes and any(key is not None for key, _ in state.votes):
            assert replayed.believed[index] == pytest.approx(max(state.belief.groups.values()))
            assert state.leader is not None
            if sorted(state.belief.groups.values())[-2:-1] != [max(state.belief.groups.values())]:
                assert bool(replayed.right[index]) == question.right[state.candidates[state.leader].model]


def asked_in_order(table: VoteTable, columns: tuple[int, ...], agree: int) -> tuple[np.ndarray, np.ndarray]:
    """Plainly, without a belief: is the answer right that `agree` models give first, or else the last one's; and the
    price. Shape (questions,).
    """
    said = np.where(table.groups[:, columns] == -1, -1 - np.arange(len(columns)), table.groups[:, columns])
    votes = (said[:, :, None] == said[:, None, :]) & np.tri(
        len(columns), dtype=bool
    )  # of each model, who said the same before it
    enough = votes.sum(axis=2) >= agree
    stop = np.where(enough.any(axis=1), enough.argmax(axis=1), len(columns) - 1)
    rows = np.arange(len(table))
    return table.right[:, columns][rows, stop], table.usd[:, columns].cumsum(axis=1)[rows, stop]


def test_plain_and_believed_cascades_differ_only_where_the_belief_knows_better() -> None:
    table = VoteTable.of(simulated(300))
    fleet = KnownFleet.of(table, VoteModel())
    believed = replay_order(table, fleet, FixedOrder(("a", "b", "d"), 2))
    right, usd = asked_in_order(table, (0, 1, 3), 2)
    assert believed.usd == pytest.approx(usd)
    assert believed.right.mean() == pytest.approx(right.mean(), abs=0.01)


def test_graded_questions_that_do_not_fit_together_are_refused() -> None:
    one = simulated(1)[0]
    other = GradedQuestion({"a": "1"}, {"a": True}, {"a": 0.1})
    with pytest.raises(ValueError, match="must name the same models"):
        calibrate([one, other], max_usd_per_query=1.0)
    with pytest.raises(ValueError, match="at least one"):
        calibrate([], max_usd_per_query=1.0)
    with pytest.raises(ValueError, match="at least one model"):
        calibrate([GradedQuestion({}, {}, {})], max_usd_per_query=1.0)
    for usd in (float("nan"), float("inf"), -1.0, None):
        with pytest.raises(ValueError, match="what an answer costs"):
            calibrate([replace(one, cost_usd={**USD, "c": usd})] * 40, max_usd_per_query=1.0)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="keys of answers"):
        calibrate([replace(one, keys=dict.fromkeys(MODELS, 4))], max_usd_per_query=1.0)  # type: ignore[arg-type]
    for limit in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="max_usd_per_query"):
            calibrate([one], max_usd_per_query=limit)
    assert calibrate([one], max_usd_per_query=1.0).expected_accuracy <= 1.0


def test_money_buys_nothing_where_nobody_is_ever_right() -> None:
    wrong = [replace(q, right=dict.fromkeys(MODELS, False)) for q in simulated(60)]
    assert calibrate(wrong, max_usd_per_query=0.005).expected_usd == pytest.approx(USD["a"])


def test_who_is_right_without_an_answer_is_not() -> None:
    silent = [replace(q, keys={**q.keys, "d": None}) for q in simulated(60)]
    assert calibrate(silent, max_usd_per_query=1.0).p_success["d"] < 0.05


def test_a_refusal_does_not_end_a_fixed_order() -> None:
    follow = strategy_of(FixedOrder(("a",)))
    refused = answered(state_of(VoteModel()), "a", None)
    assert isinstance(follow(refused)[0], Draft)


# ---- the choice ----


def test_calibration_keeps_to_the_price_and_spends_it_where_that_helps() -> None:
    comparison = compare_policies(simulated(400), max_usd_per_query=0.01)
    test = VoteTable.of(simulated(4_000, seed=1))
    texts = [f"question {i}" for i in range(len(test))]
    last = 0.0
    for limit in (0.0002, 0.001, 0.003, 0.006, 0.01):
        fitted = comparison.choose(limit)
        accuracy, usd = replay_policy(test, comparison.fleet, fitted.policy, texts).summary
        assert fitted.expected_usd <= limit + 1e-12
        assert usd <= limit * 1.15
        assert usd >= min(limit, 0.003) * 0.85  # dearer points are hardly better
        assert accuracy == pytest.approx(fitted.expected_accuracy, abs=0.03)
        assert accuracy > last - 0.005
        last = accuracy


def test_calibration_is_not_worse_than_the_best_simple_policy_at_any_price() -> None:
    train, test = VoteTable.of(simulated(400)), VoteTable.of(simulated(6_000, seed=2))
    comparison = compare_policies(simulated(400), max_usd_per_query=0.01)
    texts = [f"question {i}" for i in range(len(test))]
    orders = [((column,), 1) for column in range(4)] + [
        ((i, j, k), 2) for i in range(4) for j in range(i) for k in range(4) if k not in (i, j)
    ]
    for limit in (0.0005, 0.002, 0.004, 0.008):
        known = [(asked_in_order(train, order, agree), order, agree) for order, agree in orders]
        _, order, agree = max(
            (right.mean(), order, agree) for (right, usd), order, agree in known if usd.mean() <= limit
        )
        simple = asked_in_order(test, order, agree)[0].mean()
        assert replay_policy(test, comparison.fleet, comparison.choose(limit).policy, texts).summary[0] >= simple - 0.01


def test_without_money_the_cheapest_model_answers() -> None:
    fitted = calibrate(simulated(60), max_usd_per_query=0.0)
    assert fitted.strategy(state_of(VoteModel(), fitted.value_usd)) == [Draft("a")]
    assert isinstance(fitted.strategy(answered(state_of(VoteModel(), fitted.value_usd), "a", "number:1"))[0], Stop)
    assert fitted.expected_usd == pytest.approx(USD["a"])


def test_a_fleet_of_one_is_that_model() -> None:
    questions = [GradedQuestion({"a": "number:1"}, {"a": bool(i % 3)}, {"a": 0.001}) for i in range(30)]
    fitted = calibrate(questions, max_usd_per_query=1.0)
    assert fitted.policy == FixedOrder(("a",))
    assert fitted.expected_accuracy == pytest.approx(2 / 3, abs=0.05)


def test_luck_that_does_not_repeat_itself_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.4, (60, 300))
    assert repeatable_share(noise) < 0.35
    assert repeatable_share(noise + rng.normal(0, 0.1, (60, 1))) > 0.8
    assert repeatable_share(np.zeros((3, 10))) == 0.0


def test_the_lucky_one_of_many_equals_is_expected_to_be_as_good_as_the_others() -> None:
    rng = np.random.default_rng(0)
    believed = np.full(200, 0.8)
    replays = [
        Replayed(rng.random(200) < 0.8, believed, np.full(200, 1.0 + i), np.ones(200, dtype=int)) for i in range(80)
    ]
    tried = estimate([FixedOrder((f"m{i}",)) for i in range(80)], replays, [believed] * 80)
    luckiest = max(found.right.mean() for found in replays)
    assert luckiest > 0.86
    assert max(t.accuracy for t in tried) - 0.8 < 0.7 * (luckiest - 0.8)


def test_the_hull_is_mixed_between_the_points_beside_the_limit() -> None:
    replays = [
        Replayed(np.ones(4, dtype=bool), np.ones(4), np.full(4, usd), np.ones(4, dtype=int)) for usd in (1.0, 2.0, 3.0)
    ]
    accuracies = [np.full(4, p) for p in (0.5, 0.55, 0.9)]
    tried = [
        replace(t, accuracy=float(p.mean()))
        for t, p in zip(estimate([FixedOrder((name,)) for name in "abc"], replays, accuracies), accuracies, strict=True)
    ]
    assert [t.policy.models for t in upper_hull(tried) if isinstance(t.policy, FixedOrder)] == [("a",), ("c",)]
    policy, parts = best_within(tried, 2.0)
    assert policy == Mixture(FixedOrder(("a",)), FixedOrder(("c",)), 0.5)
    assert sum(share for _, share in parts) == pytest.approx(1.0)
    assert best_within(tried, 9.0)[0] == FixedOrder(("c",))
    assert best_within(tried, 0.1)[0] == FixedOrder(("a",))


def test_long_drafts_make_the_next_model_dearer() -> None:
    assert length_factor([], 0.5) == length_factor([1.0], 0.0) == 1.0
    assert 0.2 < length_factor([-9.0] * 5, 0.6) < 1.0 < length_factor([0.8], 0.5) < length_factor([0.8] * 4, 0.5) <= 5.0
    rng = np.random.default_rng(0)
    question, own = rng.normal(0, 0.5, (300, 1)), rng.normal(0, 0.5, (300, 4))
    table = VoteTable.of(simulated(300))
    assert fit_sharing(replace(table, usd=table.usd * np.exp(question + own))) == pytest.approx(0.5, abs=0.1)
    assert fit_sharing(replace(table, usd=table.usd * np.exp(own))) == pytest.approx(0.0, abs=0.05)
    assert fit_sharing(table) == fit_sharing(replace(table, usd=table.usd * 0)) == 0.0
    choice = Choice("d", 0.9, 0.01, 1.0, prompt_usd=0.002, output_tokens=100.0)
    other = Choice("a", 0.6, 0.001, 1.0, output_tokens=100.0)
    state = SearchState("q", (other, choice), {"a": 0.6, "d": 0.9}, vote_model=VoteModel(length_sharing=0.5))
    long = replace(state, candidates=(Candidate(Completion("a", "7", Usage(10, 400))),))
    assert state.price_usd("d") == 0.01
    assert long.price_usd("d") == pytest.approx(0.002 + 0.008 * length_factor([np.log(4.0)], 0.5))


def test_decisions_are_made_on_what_is_expected_and_accounts_on_what_it_cost() -> None:
    questions = simulated(200)
    dear = [replace(q, expected_usd={name: 3 * usd for name, usd in USD.items()}) for q in questions]
    plain, doubtful = (VoteTable.of(each) for each in (questions, dear))
    found = [
        replay_by_value(table, KnownFleet.of(table, VoteModel()), value)
        for table, value in ((plain, 0.02), (doubtful, 0.06))
    ]
    assert found[0].usd == pytest.approx(found[1].usd)
    assert found[0].right.tolist() == found[1].right.tolist()
    assert replay_by_value(doubtful, KnownFleet.of(doubtful, VoteModel()), 0.006).summary[1] < found[0].summary[1]


def test_a_search_by_value_asks_more_the_more_an_answer_is_worth() -> None:
    table = VoteTable.of(simulated(150))
    fleet = KnownFleet.of(table, VoteModel())
    costs = [replay_by_value(table, fleet, value).summary[1] for value in (0.0005, 0.005, 0.05, 0.5)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]
