"""Strategies in which several models work on one answer.

Proposals that one of them makes one answer of, and a debate.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Action, Combine, Draft, Revise, Stop
from orchestrator.search.state import SearchState
from orchestrator.search.strategies.moves import reached

PROPOSERS, ROUNDS = 3, 2


def mixture(state: SearchState) -> Sequence[Action]:
    """The three best models draft at once, the best makes one answer of all (mixture of agents, Wang et al. 2024).

    Where drafts agree so far that the target is reached, nothing is combined: an aggregator cannot make that better.
    """
    proposals = _proposals(state)
    if proposals or state.running:
        return proposals
    usable = tuple(
        i for i, candidate in enumerate(state.candidates) if not candidate.ruled_out and not candidate.made_of
    )
    if state.confidence >= state.quality:
        return [Stop(reached(state))]
    if len(usable) < 2 or state.best_model is None:
        return [Stop("fewer than two proposals can be combined")]
    combine = Combine(usable, state.best_model)
    return [Stop("the proposals are combined")] if combine in state.begun else [combine]


def debate(state: SearchState) -> Sequence[Action]:
    """The three best models draft at once.

    As long as they disagree, each sees the others' answers and answers again, for two rounds.

    After Du et al. 2023. A model that was won over is no further voice for the answer that it took on (see
    `SearchState.votes`).
    """
    proposals = _proposals(state)
    if proposals or state.running:
        return proposals
    if state.candidates and state.confidence >= state.quality:
        return [Stop(reached(state))]
    standing = [index for index, _ in state.standing.values()]
    if len({state.keys[i] for i in standing}) < 2:
        return [Stop("all agree" if standing else "no model answered")]
    answers = [
        Revise(i, state.candidates[i].model, tuple(j for j in standing if j != i))
        for i in standing
        if _rounds(state, i) < ROUNDS and state.candidates[i].model in state.priors
    ]
    answers = [answer for answer in answers if answer not in state.begun]
    return answers or [Stop(f"{ROUNDS} rounds")]


def two_ways(state: SearchState) -> Sequence[Action]:
    """The routed model answers in words and by a program at once.

    Where the two agree that is the answer, else the best model is asked.

    After mixture-of-thought cascades (Yue et al. 2024): two representations that agree are the strongest cheap sign of
    being right, and drawing more of the same where they disagree makes answers worse, not better.
    """
    if state.running:
        return []
    if not state.drafts:
        model = state.first_model
        return [Stop("no model is left to ask")] if model is None else [Draft(model), Draft(model, way="program")]
    if state.candidates and state.confidence >= state.quality:
        return [Stop(reached(state))]
    ways = {candidate.way for candidate in state.candidates}
    if len(ways) == 2 and len(set(state.keys)) == 1 and state.non_answer(0) is None:
        return [Stop("words and program agree")]
    dearer = [choice for choice in state.choices if choice.model == state.best_model]
    if state.best_model is None or not dearer or len({draft.model for draft in state.drafts}) > 1:
        return [Stop("the best model was asked" if state.candidates else "no model answered")]
    return [Draft(state.best_model)]


def _proposals(state: SearchState) -> list[Action]:
    """Drafts of the three models that are right most often, if none was begun."""
    if state.drafts:
        return []
    best = sorted(state.choices, key=lambda choice: -choice.p_success)[:PROPOSERS]
    return [Draft(choice.model) for choice in best] or [Stop("no model is left to ask")]


def _rounds(state: SearchState, index: int) -> int:
    before = state.candidates[index].revises
    return 0 if before is None else 1 + _rounds(state, before)
