"""The strategy `judged_pairs`.

For answers that cannot be voted on, a judge says which of two is better, cheap models first.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Action, Compare, Draft, Stop
from orchestrator.search.graded_evidence import COMPARISON
from orchestrator.search.state import Choice, SearchState
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.moves import reached
from orchestrator.verifiers.ensemble import Evidence

FIRST, MAX_DRAFTS = 2, 3  # drafts before a comparison, and in all


def judged_pairs(state: SearchState) -> Sequence[Action]:
    """Drafts by the two cheapest models.

    A model that wrote neither compares them in both orders; a third draft where that may pay.

    A judge's preferences are evidence as good as the ensemble has learned (`fit_ensemble`), never a decision; one that
    turns with the order cancels out. Answers that are short enough to agree are searched as by `adaptive`.
    """
    if state.running:
        return []
    if state.candidates and (state.comparable or state.leader is None):
        return adaptive(state)
    if state.candidates and state.confidence >= state.quality:
        return [Stop(reached(state))]
    if len(state.candidates) < FIRST and state.choices:
        return [Draft(_by_price(state, state.choices)[0].model)]
    if not state.candidates:
        return [Stop("no model is left to ask")]
    pair = _uncompared(state)
    if pair is not None and (judge := _judge(state, pair)) is not None:
        first, second = pair
        return [Compare(first, second, judge), Compare(second, first, judge)]
    return [_third_draft(state)]


def _by_price(state: SearchState, choices: Sequence[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda choice: state.price_usd(choice.model))


def _uncompared(state: SearchState) -> tuple[int, int] | None:
    """The best answer and another, one of which no judge has looked at yet; the earlier first."""
    best = state.leader
    others = [
        i for i, c in enumerate(state.candidates) if i != best and not c.ruled_out and state.non_answer(i) is None
    ]
    if best is None or state.non_answer(best) is not None:
        return None
    different = [i for i in others if state.keys[i] != state.keys[best]]
    fresh = [i for i in different if not (_is_judged(state, i) and _is_judged(state, best))]
    return (min(best, fresh[0]), max(best, fresh[0])) if fresh else None


def _is_judged(state: SearchState, index: int) -> bool:
    asked = {i for action in state.begun if isinstance(action, Compare) for i in (action.first, action.second)}
    return index in asked or any(verdict.verifier == COMPARISON for verdict in state.candidates[index].verdicts)


def _judge(state: SearchState, pair: tuple[int, int]) -> str | None:
    """The cheapest model that wrote neither, else the best one.

    `None` where a comparison costs more than it can bring.
    """
    writers = {state.candidates[i].model for i in pair}
    fleet = state.fleet or state.choices
    strangers = _by_price(state, [choice for choice in fleet if choice.model not in writers])
    judge = strangers[0].model if strangers else state.best_model
    if judge is None:
        return None
    return judge if state.value_usd * _gain(state, *pair) > 2 * state.price_usd(judge) else None


def _gain(state: SearchState, one: int, other: int) -> float:
    """By how much two replies of a judge, one in each order, are expected to raise P(the chosen answer is right)."""
    p, q = sorted((state.p_right(one), state.p_right(other)), reverse=True)
    evidence = state.ensemble.evidence.get(COMPARISON, Evidence())
    odds = evidence.passed / evidence.failed
    names_better = odds / (1.0 + odds)  # in one order; both agree with its square
    only_other, only_one = q * (1.0 - p), p * (1.0 - q)
    agree, mislead = names_better**2, (1.0 - names_better) ** 2
    return max(only_other * agree - only_one * mislead, 0.0)


def _third_draft(state: SearchState) -> Action:
    """By the model that is most often right, if a draft and a comparison are worth their price."""
    drafted = [candidate for candidate in state.candidates if candidate.revises is None]
    best = max(state.choices, key=lambda choice: choice.p_success, default=None)
    if best is None or len(drafted) >= MAX_DRAFTS:
        return Stop("all drafts are compared", abstain=state.may_abstain)
    if state.value_usd * best.p_success * (1.0 - state.confidence) <= state.price_usd(best.model):
        return Stop("no further draft is worth its price", abstain=state.may_abstain)
    return Draft(best.model)
