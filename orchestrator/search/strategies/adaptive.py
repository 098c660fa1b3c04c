"""The strategy `adaptive`, the default.

The draft or revision with the best expected gain per price, until nothing is worth its price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.search.actions import Action, Draft, Revise, Stop
from orchestrator.search.belief import success_given_ease
from orchestrator.search.pandora import Box, Chance, Opening, best_plan
from orchestrator.search.state import SearchState
from orchestrator.search.strategies.moves import paying_revision, reached
from orchestrator.search.value import best_purchase

MAX_DRAWS = 8  # of one model, where a check rules out what it drafts
# Of the belief that a model's chance is the same on every query; small: a query is either easy for it or hopeless
STRENGTH = 1.0


def adaptive(state: SearchState) -> Sequence[Action]:
    """Buys what promises most for its price.

    Stops at the target or when nothing is worth its price, then abstains if it may.

    A lone draft to an unfamiliar question is compared with a second one (see `_second_opinion`).

    Where decisive checks rule out all there is, the next draw is the one with the least expected price per solve (see
    `pandora`). When the deadline leaves no time for a second draft after the first, both are begun at once.
    """
    if state.candidates and state.confidence >= state.enough:
        return [Stop(reached(state))]
    if state.running:
        return []
    if state.candidates and state.leader is None:
        return [_next_solve(state)]
    if not state.candidates:
        # A free model that is sure enough comes first (a calculator): nothing can beat it.
        sure = [choice for choice in state.choices if choice.cost_usd == 0 and choice.p_success >= state.quality]
        if sure:
            return [Draft(sure[0].model)]
        if len(state.choices) == 1 and not state.begun:
            return [Draft(state.choices[0].model)]  # nothing to choose from: the first draft is made in any case
    quick = _in_time(state)
    draft, gain_usd = _draft_worth_most(quick)
    revision, revision_gain_usd = _revision_worth(state)
    if revision is not None and revision_gain_usd > max(gain_usd, 0.0):
        return [revision]
    if draft is not None and gain_usd > 0.0:
        return [draft, *_beside(draft, quick)]
    compared = _second_opinion(quick)
    if compared is not None:
        return [compared]
    if not state.candidates and quick.choices:
        # The caller wants an answer, and none is worth its price: the cheapest, as calibration replays it.
        return [Draft(min(quick.choices, key=lambda choice: quick.price_usd(choice.model)).model)]
    return [
        Stop(
            "no further draft is worth its price" if quick.choices else "all models were asked",
            abstain=state.may_abstain,
        )
    ]


def _draft_worth_most(state: SearchState) -> tuple[Draft | None, float]:
    """The best draft of a model not yet asked, and what it is expected to gain over stopping now, in USD."""
    if not state.choices:
        return None, 0.0
    prices = [state.price_usd(choice.model) for choice in state.choices]
    p_success = np.array([choice.p_success for choice in state.choices])
    if state.candidates and not state.comparable:
        # Free text cannot be voted on: a further draft helps only if its model is more often right than the best so far
        # is believed to be.
        gains = [state.value_usd * (p - state.confidence) - price for p, price in zip(p_success, prices, strict=True)]
        best = int(np.argmax(gains))
        return Draft(state.choices[best].model), float(gains[best])
    names = [choice.model for choice in state.choices]
    right = success_given_ease(p_success, state.vote_model, names)
    purchase = best_purchase(state.vote_state, right, prices, state.vote_model, value_usd=state.value_usd, names=names)
    return (None, 0.0) if purchase.model is None else (Draft(state.choices[purchase.model].model), purchase.gain_usd)


def _second_opinion(state: SearchState) -> Draft | None:
    """A draft to compare the only one with, where the question is of no known kind and its prior a guess.

    Of the models that cost less than the only draft's being wrong is expected to lose, the one that is worth most. One
    more draft of an equal model changes no answer by itself: it tells what to believe, and whether a third is worth it.
    """
    if not state.is_lone_guess or state.confidence >= state.lone_quality or not state.comparable:
        return None
    worth = {
        choice.model: state.value_usd * choice.p_success - state.price_usd(choice.model)
        for choice in state.choices
        if state.price_usd(choice.model) < state.value_usd * (1.0 - state.confidence)
    }
    return Draft(max(worth, key=worth.__getitem__)) if worth else None


def _revision_worth(state: SearchState) -> tuple[Revise | None, float]:
    """A revision that pays, and its gain: V ((1 - p) f - p h) less its price."""
    revision = paying_revision(state)
    if revision is None:
        return None, 0.0
    p = state.p_right(revision.candidate)
    raised = state.odds(state.candidates[revision.candidate]).after(p) - p
    return revision, state.value_usd * raised - state.price_usd(revision.model)


def _next_solve(state: SearchState) -> Action:
    """The draw or revision with the least expected price per solve, where a check tells right from wrong and all so far
    are wrong.

    A model that gives several answers to one call is drawn as many times as make that price least; one whose prompt was
    read shortly before reads it again at the price of its cache.
    """
    options: list[tuple[float, Action]] = []
    revision = paying_revision(state, trusted=True)
    if revision is not None:
        options.append(
            (state.price_usd(revision.model) / state.odds(state.candidates[revision.candidate]).fixes, revision)
        )
    for choice in _in_time(replace(state, choices=state.fleet or state.choices)).choices:
        texts = [c.text for c in state.candidates if c.model == choice.model and c.revises is None]
        asked = state.drawn(choice.model)
        if asked > len(texts) or asked >= MAX_DRAWS or len(set(texts)) < len(texts):
            continue  # it failed to answer, or gives the same again
        chance = Chance(choice.p_success * STRENGTH, (1 - choice.p_success) * STRENGTH).after(asked)
        price_usd = state.price_usd(choice.model)
        if asked and choice.reread_usd is not None:
            price_usd -= choice.prompt_usd - choice.reread_usd
        plan = Opening(choice.model, 1, price_usd / chance.mean)
        if choice.gives_several:
            plan = best_plan(
                Box(choice.model, chance, choice.prompt_usd, price_usd - choice.prompt_usd, MAX_DRAWS - asked)
            )
        options.append((plan.usd_per_solve, Draft(choice.model, asked, plan.draws)))
    worthwhile = [option for option in options if option[0] < state.value_usd]
    if not worthwhile:
        return Stop("no draft passes its checks, and no other is worth its price", abstain=state.may_abstain)
    return min(worthwhile, key=lambda option: option[0])[1]


def _in_time(state: SearchState) -> SearchState:
    """Without the models that are expected to miss the deadline, unless all are."""
    if state.seconds_left is None:
        return state
    quick = tuple(choice for choice in state.choices if choice.latency_s <= state.seconds_left)
    return replace(state, choices=quick) if quick else state


def _beside(first: Draft, state: SearchState) -> list[Draft]:
    """A second draft to begin together with `first`, if the target needs one and there is no time for one after the
    other.
    """
    chosen = next(choice for choice in state.choices if choice.model == first.model)
    others = tuple(choice for choice in state.choices if choice.model != first.model)
    if state.seconds_left is None or not others or chosen.p_success >= state.quality:
        return []
    if chosen.latency_s + min(choice.latency_s for choice in others) <= state.seconds_left:
        return []
    second, gain_usd = _draft_worth_most(replace(state, choices=others))
    return [second] if second is not None and gain_usd > 0 else []
