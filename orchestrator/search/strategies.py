"""Strategies: pure functions from the search state to the next actions. No clock, no network, no randomness.

An empty answer means: wait for what is running. What still runs when a strategy stops is cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.search.belief import success_given_ease
from orchestrator.search.sampling import best_of, consistent
from orchestrator.search.state import Action, Choice, Draft, Revise, SearchState, Stop, Strategy
from orchestrator.search.value import best_purchase
from orchestrator.types import Candidate

MAX_REVISIONS = 2
# With outside evidence a revision fixes far more than it breaks; without, it breaks more (published logs of Reflexion, Shinn et al. 2023, and of
# LDB, Zhong et al. 2024). P(fix | wrong) and P(break | right) with trusted feedback:
P_FIX, P_BREAK = 0.25, 0.01


def single(state: SearchState) -> Sequence[Action]:
    """One draft by the routed model; if it fails or abstains, the next cheapest."""
    if state.candidates:
        return [Stop("one draft")]
    return [_first_draft(state)]


def cascade(state: SearchState) -> Sequence[Action]:
    """Cheapest first; the next model is asked while the belief in the best answer is below the target (FrugalGPT, Chen et al. 2023)."""
    if state.candidates and state.confidence >= state.quality:
        return [Stop(_reached(state))]
    if not state.choices:
        return [Stop("all models were asked")]
    return [Draft(state.choices[0].model)]


def draft_critique_revise(state: SearchState) -> Sequence[Action]:
    """A draft, then at most two revisions, each only on a verdict's feedback and only while it pays: p < f / (f + h)."""
    if not state.candidates:
        return [_first_draft(state)]
    return _revision(state) or [Stop("nothing to revise" if state.leader is not None else "no draft passes its checks")]


def adaptive(state: SearchState) -> Sequence[Action]:
    """Buys the draft or revision with the best expected gain per price; stops at the target or when nothing is worth its price.

    When the deadline leaves no time for a second draft after the first, both are begun at once.
    """
    if state.candidates and state.confidence >= state.quality:
        return [Stop(_reached(state))]
    if state.running:
        return []
    revision = _revision(state)
    if revision:
        return revision
    if not state.choices:
        return [Stop("all models were asked")]
    if not state.candidates:
        # A free model that is sure enough comes first (a calculator): nothing can beat it.
        sure = [choice for choice in state.choices if choice.cost_usd == 0 and choice.p_success >= state.quality]
        if sure:
            return [Draft(sure[0].model)]
    state = _in_time(state)
    first = _worthwhile_draft(state)
    return [first] if isinstance(first, Stop) else [first, *_beside(first, state)]


def starting_with(model: str, strategy: Strategy) -> Strategy:
    """`strategy`, but `model` is asked first: for exploring."""

    def started(state: SearchState) -> Sequence[Action]:
        if not state.candidates and not state.running and any(choice.model == model for choice in state.choices):
            return [Draft(model)]
        return strategy(state)

    return started


STRATEGIES: dict[str, Strategy] = {
    "single": single,
    "best_of_n": best_of(),
    "self_consistency": consistent(),
    "cascade": cascade,
    "draft_critique_revise": draft_critique_revise,
    "adaptive": adaptive,
}


def _first_draft(state: SearchState) -> Draft | Stop:
    return Stop("no model is left to ask") if state.first_model is None else Draft(state.first_model)


def _worthwhile_draft(state: SearchState) -> Draft | Stop:
    prices = [_price(choice) for choice in state.choices]
    p_success = np.array([choice.p_success for choice in state.choices])
    if state.candidates and not state.comparable:
        # Free text cannot be voted on: a further draft helps only if its model is more often right than the best so far is believed to be.
        gains = [state.value_usd * (p - state.confidence) - price for p, price in zip(p_success, prices, strict=True)]
        best = int(np.argmax(gains))
        return Draft(state.choices[best].model) if gains[best] > 0 else Stop("no other model is worth its price")
    right = success_given_ease(p_success, state.vote_model)
    purchase = best_purchase(state.vote_state, right, prices, state.vote_model, value_usd=state.value_usd)
    if purchase.model is not None:
        return Draft(state.choices[purchase.model].model)
    if not state.candidates:
        return _first_draft(state)  # the caller wants an answer: the first one is not weighed against silence
    return Stop("no further draft is worth its price")


def _in_time(state: SearchState) -> SearchState:
    """Without the models that are expected to miss the deadline, unless all are."""
    if state.seconds_left is None:
        return state
    quick = tuple(choice for choice in state.choices if choice.latency_s <= state.seconds_left)
    return replace(state, choices=quick) if quick else state


def _beside(first: Draft, state: SearchState) -> list[Draft]:
    """A second draft to begin together with `first`, if the target needs one and there is no time for one after the other."""
    chosen = next(choice for choice in state.choices if choice.model == first.model)
    others = tuple(choice for choice in state.choices if choice.model != first.model)
    if state.seconds_left is None or not others or chosen.p_success >= state.quality:
        return []
    if chosen.latency_s + min(choice.latency_s for choice in others) <= state.seconds_left:
        return []
    second = _worthwhile_draft(replace(state, choices=others))
    return [second] if isinstance(second, Draft) else []


def _revision(state: SearchState) -> Sequence[Action]:
    """A revision of the candidate whose failed verdict gives the most hope, if its expected gain is positive."""
    revisions = sum(candidate.revises is not None for candidate in state.candidates)
    if revisions >= MAX_REVISIONS:
        return []
    revised = {candidate.revises for candidate in state.candidates}
    for index, candidate in reversed(list(enumerate(state.candidates))):
        p = 0.0 if candidate.ruled_out else state.confidence
        pays = p < P_FIX / (P_FIX + P_BREAK) and p < state.quality
        if index not in revised and _is_news(index, state.candidates) and candidate.model in state.priors and pays:
            return [Revise(index, candidate.model)]
    return []


def _is_news(index: int, candidates: Sequence[Candidate]) -> bool:
    """Whether the verdicts on a candidate say something to act on that its own draft was not told already: else a revision would go in a circle.

    A text that was there before, and a revision that is faulted for the same as what it revises, have had their chance.
    """
    candidate = candidates[index]
    told = _feedback(candidate)
    if not told or any(earlier.text == candidate.text for earlier in candidates[:index]):
        return False
    return candidate.revises is None or _feedback(candidates[candidate.revises]) != told


def _feedback(candidate: Candidate) -> str:
    """What decisive verifiers found wrong: only outside evidence justifies a revision."""
    return "; ".join(v.feedback for v in candidate.verdicts if v.decisive and v.passed is False and v.feedback)


def _price(choice: Choice) -> float:
    """An unknown price is taken as high: 1 cent."""
    return 0.01 if choice.cost_usd is None else choice.cost_usd


def _reached(state: SearchState) -> str:
    return f"P(right) {state.confidence:.3f} reaches the target {state.quality:.3f}"
