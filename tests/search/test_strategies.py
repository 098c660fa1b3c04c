"""The strategies in which candidates are revised, combined or developed, and what is believed of the result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator import Completion
from orchestrator.search import (
    Combine,
    Critique,
    Draft,
    Revise,
    Revised,
    RevisionOdds,
    SearchState,
    Stop,
    fit_revisions,
)
from orchestrator.search.actions import Action
from orchestrator.search.belief import believe, replay, to_belief
from orchestrator.search.calibration.vote_fitting import fit_repeat
from orchestrator.search.revisions import CRITERIA, CRITIQUE, FORM, OPINION, TRUSTED, read_critique
from orchestrator.search.state import Choice, Strategy
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.critique import draft_critique_revise
from orchestrator.search.strategies.panel import debate, mixture, two_ways
from orchestrator.search.strategies.sampling import best_of, consistent
from orchestrator.search.strategies.tree import tree
from orchestrator.search.vote_model import VoteModel
from orchestrator.types import Candidate
from orchestrator.verifiers import Verdict

FLEET = (Choice("small", 0.4, 0.0001, 1.0), Choice("middle", 0.6, 0.001, 1.0), Choice("large", 0.8, 0.01, 2.0))
START = SearchState(
    "How many lamps are there?", FLEET, {c.model: c.p_success for c in FLEET}, chosen="small", fleet=FLEET, quality=0.99
)
ESSAY = replace(START, question="Describe the harbour to somebody who has never seen it.")
LONG = "The harbour lies in the shelter of two long moles, and its water is always calm and grey in the morning"
WRONG = Verdict("unit_tests", 0.0, False, "f(2) gives 3, not 4", decisive=True)


def begun(state: SearchState, *actions: Action) -> SearchState:
    for action in actions:
        assert not isinstance(action, Stop)
        state = state.after_beginning(action)
    return state


def said(state: SearchState, action: Draft | Revise | Combine, text: str, *verdicts: Verdict) -> SearchState:
    revises = action.candidate if isinstance(action, Revise) else None
    made_of = action.of if isinstance(action, Combine) else action.beside if isinstance(action, Revise) else ()
    return begun(state, action).with_candidates(Candidate(Completion(action.model, text), verdicts, revises, made_of))


def only(strategy: Strategy, state: SearchState) -> Action:
    (action,) = strategy(state)
    return action


# ---- critique ----


def test_a_weak_draft_is_criticised_by_the_best_other_model_and_a_strong_one_is_not() -> None:
    assert only(draft_critique_revise, said(ESSAY, Draft("small"), LONG)) == Critique(0, "large")
    assert isinstance(
        only(draft_critique_revise, said(ESSAY, Draft("middle"), LONG)), Stop
    )  # 0.6 > f / (f + h) of an opinion
    stated = replace(ESSAY, criteria=("It names a colour.",))
    assert only(draft_critique_revise, said(stated, Draft("middle"), LONG)) == Critique(
        0, "large"
    )  # by stated criteria it pays up to 0.8


def test_a_critique_without_a_fault_ends_it_and_one_with_a_fault_is_acted_on_once() -> None:
    drafted = begun(said(ESSAY, Draft("small"), LONG), Critique(0, "large"))
    assert isinstance(only(draft_critique_revise, drafted.with_verdict(0, Verdict(CRITIQUE, 1.0, True))), Stop)
    faulted = drafted.with_verdict(0, Verdict(CRITIQUE, 0.5, False, "It names no boat"))
    assert only(draft_critique_revise, faulted) == Revise(0, "small")
    mended = said(faulted, Revise(0, "small"), LONG + ", with two boats in it.")
    assert isinstance(
        only(draft_critique_revise, mended), Stop
    )  # the critic's fault is mended, nobody has found another


def test_a_revision_by_an_opinion_leads_only_if_independent_checks_prefer_it() -> None:
    draft = said(ESSAY, Draft("small"), LONG, Verdict(CRITIQUE, 0.2, False, "too short"), Verdict("judge", 0.5, False))
    worse = said(
        draft, Revise(0, "small"), LONG + " and more", Verdict(CRITIQUE, 1.0, True), Verdict("judge", 0.4, False)
    )
    better = said(draft, Revise(0, "small"), LONG + " and more", Verdict("judge", 0.9, True))
    assert worse.leader == 0
    assert better.leader == 1
    assert better.confidence > draft.confidence


def test_a_revision_that_passes_the_check_its_draft_failed_is_believed_as_far_as_such_revisions_are() -> None:
    failed = said(START, Draft("small"), "41", WRONG)
    assert failed.leader is None
    mended = said(failed, Revise(0, "small"), "42", Verdict("unit_tests", 1.0, True, decisive=True))
    odds = TRUSTED.fixes / (1 - TRUSTED.fixes) * 6.0
    assert mended.leader == 1
    assert mended.confidence == pytest.approx(odds / (1 + odds), abs=0.02)


def test_the_odds_of_revisions_are_learned_for_each_kind_of_feedback() -> None:
    harmful = [Revised("tests of its own", True, False)] * 29 + [Revised("tests of its own", False, True)] * 17
    harmful += [Revised("tests of its own", True, True)] * 289 + [Revised("tests of its own", False, False)] * 62
    learned = fit_revisions([*harmful, Revised("json_schema", False, True, trusted=True)])
    assert learned["tests of its own"].fixes == pytest.approx((17 + 4) / (79 + 20), abs=0.01)
    assert 0.5 < learned["tests of its own"].pays_below < 0.75
    assert learned["json_schema"].fixes > FORM.fixes
    state = replace(
        said(ESSAY, Draft("small"), LONG, Verdict("judge", 0.2, False, "dull")),
        revisions={"judge": RevisionOdds(0.0, 0.1)},
    )
    assert isinstance(only(draft_critique_revise, state), Stop)  # it was learned that such revisions never help
    assert OPINION.pays_below < CRITERIA.pays_below < TRUSTED.pays_below


def test_probabilities_of_revisions_are_checked() -> None:
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        RevisionOdds(1.2, 0.0)


@pytest.mark.parametrize(
    ("reply", "passed", "feedback"),
    [
        ('{"own_answer": "4", "faults": []}', True, ""),
        ('```json\n{"faults": ["The sum is 5", "No unit"]}\n```', False, "The sum is 5; No unit"),
        ("It looks fine to me.", None, "the critic's reply was not in the form it was asked for"),
        ('{"faults": "none"}', None, "the critic's reply names no list of faults"),
        ("[1, 2]", None, "the critic's reply was not in the form it was asked for"),
    ],
)
def test_a_critics_reply_is_read_or_nothing_is_made_of_it(reply: str, passed: bool | None, feedback: str) -> None:
    verdict = read_critique(reply, 0.01)
    assert (verdict.passed, verdict.feedback, verdict.cost_usd, verdict.decisive) == (passed, feedback, 0.01, False)


# ---- several models on one answer ----


def test_a_mixture_combines_the_best_models_unless_they_agree() -> None:
    assert list(mixture(START)) == [Draft("large"), Draft("middle"), Draft("small")]
    apart = said(said(START, Draft("large"), "7"), Draft("middle"), "8")
    assert only(mixture, apart) == Combine((0, 1), "large")
    assert isinstance(only(mixture, said(apart, Combine((0, 1), "large"), "8")), Stop)
    together = replace(said(said(START, Draft("large"), "7"), Draft("middle"), "7"), quality=0.8)
    assert "target" in str(only(mixture, together))
    assert isinstance(only(mixture, said(START, Draft("large"), "7")), Stop)


def test_of_free_text_the_combined_answer_leads_and_is_believed_at_least_as_much_as_what_it_is_made_of() -> None:
    proposed = said(said(ESSAY, Draft("large"), LONG), Draft("middle"), LONG + " there")
    combined = said(proposed, Combine((0, 1), "middle"), LONG + " everywhere")
    assert combined.leader == 2
    assert combined.confidence >= proposed.confidence


def test_a_debate_goes_on_while_models_disagree_and_persuaded_voices_do_not_count() -> None:
    apart = said(said(START, Draft("large"), "7"), Draft("middle"), "8")
    first = debate(apart)
    assert list(first) == [Revise(0, "large", (1,)), Revise(1, "middle", (0,))]
    won_over = said(said(apart, Revise(0, "large", (1,)), "7"), Revise(1, "middle", (0,)), "7")
    assert only(debate, won_over) == Stop("all agree")
    assert won_over.belief.leader == "number:7"
    independent = said(said(START, Draft("large"), "7"), Draft("middle"), "7")
    assert apart.confidence < won_over.confidence < independent.confidence
    stubborn = said(said(apart, Revise(0, "large", (1,)), "7"), Revise(1, "middle", (0,)), "8")
    second: Sequence[Action] = debate(stubborn)
    assert list(second) == [Revise(2, "large", (3,)), Revise(3, "middle", (2,))]
    still = said(said(stubborn, Revise(2, "large", (3,)), "7"), Revise(3, "middle", (2,)), "8")
    assert only(debate, still) == Stop("2 rounds")


def test_swapped_minds_leave_each_group_one_voice() -> None:
    apart = said(said(START, Draft("large"), "7"), Draft("middle"), "8")
    swapped = said(said(apart, Revise(0, "large", (1,)), "8"), Revise(1, "middle", (0,)), "7")
    assert sorted(key for key, _ in swapped.votes) == ["number:7", "number:8"]
    assert swapped.confidence > 0


# ---- tree ----


def test_a_tree_develops_the_best_candidates_by_what_verifiers_think_of_them() -> None:
    grow = tree(3, beam=2, branches=2, depth=1)
    assert list(grow(ESSAY)) == [Draft("small", 0), Draft("small", 1), Draft("small", 2)]
    state = ESSAY
    for sample, score in enumerate((0.1, 0.9, 0.5)):
        state = said(state, Draft("small", sample), f"{LONG} {sample}", Verdict("judge", score, score > 0.5))
    assert list(grow(state)) == [Revise(1, "small", sample=s) for s in range(2)] + [
        Revise(2, "small", sample=s) for s in range(2)
    ]
    for action, score in zip(grow(state), (0.2, 0.95, 0.3, 0.4), strict=True):
        assert isinstance(action, Revise)
        state = said(state, action, f"{LONG} {action}", Verdict("judge", score, score > 0.5))
    assert isinstance(only(grow, state), Stop)
    assert state.leader == 4


def test_a_tree_without_a_verifier_is_not_climbed_and_a_level_that_brings_nothing_ends_it() -> None:
    grow = tree(2, beam=1, branches=1, depth=5)
    plain = said(said(ESSAY, Draft("small"), LONG), Draft("small", 1), LONG + " too")
    assert only(grow, plain) == Stop("no verifier has an opinion to search by")
    valued = said(ESSAY, Draft("small"), LONG, Verdict("judge", 0.8, True))
    worse = said(valued, Revise(0, "small"), LONG + " and", Verdict("judge", 0.2, False))
    assert only(grow, worse) == Stop("the last level brought nothing better")


# ---- adaptive ----


def test_where_a_check_rules_out_all_there_is_the_cheapest_solve_is_bought_next() -> None:
    """Revise for 0.0001 at 25 %, draw again at the same price and 20 % (0.4 halved by one failure), or 0.01 at 80 %.

    In this order.
    """
    failed = said(START, Draft("small"), "41", WRONG)
    assert only(adaptive, failed) == Revise(0, "small")
    again = said(failed, Revise(0, "small"), "43", WRONG)
    assert only(adaptive, again) == Draft("small", 1)
    third = said(again, Draft("small", 1), "44", WRONG)
    assert only(adaptive, third) == Revise(2, "small")  # a new draft has a chance of its own to be mended
    third = said(third, Revise(2, "small"), "45", WRONG)
    assert only(adaptive, third) == Draft("small", 2)
    assert only(adaptive, replace(third, value_usd=0.0001)) == Stop(
        "no draft passes its checks, and no other is worth its price"
    )


def test_a_model_that_says_the_same_again_is_not_drawn_a_third_time() -> None:
    failed = said(said(START, Draft("small"), "41", WRONG), Draft("small", 1), "41", WRONG)
    silenced = replace(failed, revisions={"unit_tests": RevisionOdds(0.0, 0.0)})
    assert only(adaptive, silenced) == Draft("middle")


def test_time_that_is_worth_money_makes_slow_models_dearer() -> None:
    slow = (Choice("slow", 0.9, 0.0, 30.0), Choice("fast", 0.8, 0.001, 1.0))
    state = SearchState("How many?", slow, {"slow": 0.9, "fast": 0.8}, value_usd=0.05, fleet=slow)
    assert only(adaptive, replace(state, quality=0.95)) == Draft("slow")
    assert only(adaptive, replace(state, quality=0.95, usd_per_second=0.001)) == Draft("fast")


def test_it_abstains_when_it_may_and_nothing_more_is_worth_its_price() -> None:
    doubtful = said(replace(START, value_usd=0.0001, may_abstain=True), Draft("small"), "7")
    assert only(adaptive, doubtful) == Stop("no further draft is worth its price", abstain=True)


# ---- several answers from one call ----

SEVERAL = tuple(
    replace(choice, prompt_usd=choice.cost_usd * 0.8, gives_several=True) for choice in FLEET if choice.cost_usd
)


def test_drafts_of_one_model_share_a_call_where_it_gives_several() -> None:
    together = replace(START, choices=SEVERAL, fleet=SEVERAL)
    assert list(best_of(8)(together)) == [Draft("small", 0, 8)]
    assert list(best_of(8)(START)) == [Draft("small", sample) for sample in range(8)]
    assert list(tree(4)(together)) == [Draft("small", 0, 4)]
    assert list(consistent(16)(together)) == [Draft("small", 0, 3)]
    drawn = begun(together, Draft("small", 0, 8)).with_candidates(
        *[Candidate(Completion("small", str(n))) for n in range(8)]
    )
    assert only(best_of(8), drawn) == Stop("8 drafts")


def test_after_a_failure_a_dear_prompt_is_shared_by_more_draws() -> None:
    """Reading costs four times what an answer costs: drawing one at a time would pay it each time."""
    silent = {"unit_tests": RevisionOdds(0.0, 0.0)}
    failed = said(replace(START, choices=SEVERAL, fleet=SEVERAL, revisions=silent), Draft("small"), "41", WRONG)
    bought = only(adaptive, failed)
    assert isinstance(bought, Draft)
    assert (bought.model, bought.sample) == ("small", 1)
    assert bought.several > 1
    alone = said(replace(START, revisions=silent), Draft("small"), "41", WRONG)
    assert only(adaptive, alone) == Draft("small", 1)


def test_a_prompt_that_the_cache_holds_makes_another_draw_cheaper() -> None:
    silent = {"unit_tests": RevisionOdds(0.0, 0.0)}
    pair = (Choice("a", 0.5, 0.010, 1.0, prompt_usd=0.009), Choice("b", 0.5, 0.006, 1.0))
    state = SearchState("How many?", pair, {"a": 0.5, "b": 0.5}, fleet=pair, value_usd=10.0, revisions=silent)
    failed = said(state, Draft("a"), "41", WRONG)
    assert only(adaptive, failed) == Draft("b")
    cached = (replace(pair[0], reread_usd=0.0009), pair[1])
    assert only(adaptive, replace(failed, fleet=cached)) == Draft("a", 1)


# ---- one model, several times and in two ways ----


def test_what_one_model_says_again_counts_less_than_what_another_says_and_more_in_another_way() -> None:
    once = said(START, Draft("middle"), "7")
    again = said(once, Draft("middle", 1), "7")
    otherwise = begun(once, Draft("middle", way="program")).with_candidates(
        Candidate(Completion("middle", "7"), way="program")
    )
    other_model = said(once, Draft("large"), "7")
    assert once.confidence < again.confidence < otherwise.confidence < other_model.confidence
    many = once
    for sample in range(1, 16):
        many = said(many, Draft("middle", sample), "7")
    assert many.confidence < 0.999  # sixteen times the same voice is not sixteen voices


def test_a_vote_that_does_not_count_changes_nothing() -> None:
    silent = VoteModel(repeat=0.0)
    assert believe([("a", 0.7)], silent).groups == pytest.approx(
        to_belief(replay([("a", 0.7), ("a", 0.7)], silent, [1.0, 0.0])).groups
    )
    assert (
        to_belief(replay([("a", 0.7), ("b", 0.6)], silent, [1.0, 1.0])).groups
        == believe([("a", 0.7), ("b", 0.6)], silent).groups
    )


@pytest.mark.parametrize("echo", [0.0, 0.9])
def test_how_much_repeats_count_is_learned(echo: float) -> None:
    """Draws that copy the first one with probability `echo` are worth the less, the more they copy."""
    rng = random.Random(0)
    drawn: list[tuple[list[str], str | None]] = []
    for _ in range(400):
        keys = ["right" if rng.random() < 0.6 else f"wrong{rng.randrange(3)}"]
        keys += [
            keys[0] if rng.random() < echo else "right" if rng.random() < 0.6 else f"wrong{rng.randrange(3)}"
            for _ in range(4)
        ]
        drawn.append((keys, "right" if "right" in keys else None))
    learned = fit_repeat(drawn, 0.6, VoteModel(spread=0.0)).repeat
    assert learned > 0.6 if echo == 0.0 else learned < 0.4
    assert fit_repeat([], 0.6, VoteModel()) == VoteModel()


def test_two_ways_that_agree_end_it_and_two_that_do_not_ask_the_best_model() -> None:
    assert list(two_ways(START)) == [Draft("small"), Draft("small", way="program")]

    def answered(words: str, program: str) -> SearchState:
        state = said(START, Draft("small"), words)
        return begun(state, Draft("small", way="program")).with_candidates(
            Candidate(Completion("small", program), way="program")
        )

    assert only(two_ways, answered("7", "7")) == Stop("words and program agree")
    assert only(two_ways, answered("7", "8")) == Draft("large")
    assert only(two_ways, said(answered("7", "8"), Draft("large"), "8")) == Stop("the best model was asked")
    assert only(two_ways, begun(said(START, Draft("small"), "7"), Draft("small", way="program"))) == Draft(
        "large"
    )  # the program gave nothing


def test_free_text_that_is_said_again_word_for_word_is_the_same_answer() -> None:
    twice = said(said(ESSAY, Draft("large"), LONG), Draft("middle"), f" {LONG}\n")
    assert twice.keys[0] == twice.keys[1]
    assert not twice.comparable
    assert only(debate, twice) == Stop("all agree")
    assert twice.leader == 0
    assert said(said(ESSAY, Draft("large"), LONG), Draft("middle"), LONG + " too").keys[1] == "text#1"
