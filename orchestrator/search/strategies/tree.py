"""The strategy `tree`.

A beam of the best candidates by the value that verifiers give them, each developed in several ways.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Action, Revise, Stop
from orchestrator.search.revisions import CRITIQUE
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.moves import draws, reached

WIDTH, BEAM, BRANCHES, DEPTH = 4, 2, 2, 2


def tree(width: int = WIDTH, *, beam: int = BEAM, branches: int = BRANCHES, depth: int = DEPTH) -> Strategy:
    """`width` drafts of the routed model.

    Then, `depth` times, `branches` further versions of each of the best `beam` candidates.

    The value of a candidate is the belief in it, which its verdicts move. It ends at the target, when a whole level
    brought nothing better, or after the drafts where no verifier has an opinion: without one there is nothing to climb
    by.
    """

    def beam_search(state: SearchState) -> Sequence[Action]:
        if state.candidates and state.confidence >= state.quality:
            return [Stop(reached(state))]
        if not state.drafts:
            model = state.first_model
            return [Stop("no model is left to ask")] if model is None else [*draws(state, model, width)]
        if state.running:
            return []
        levels = _levels(state)
        if not levels:
            return [Stop("no model answered")]
        if not any(
            v.score is not None and v.verifier != CRITIQUE for candidate in state.candidates for v in candidate.verdicts
        ):
            return [Stop("no verifier has an opinion to search by")]
        deepest = max(levels.values())
        if deepest >= depth:
            return [Stop(f"{depth} levels")]
        best = sorted(range(len(state.candidates)), key=lambda i: (*_value(state, i), -i), reverse=True)[:beam]
        if deepest > 0 and not any(levels[i] == deepest for i in best):
            return [Stop("the last level brought nothing better")]
        further: list[Action] = [
            Revise(i, state.candidates[i].model, sample=sample) for i in best for sample in range(branches)
        ]
        return [action for action in further if action not in state.begun] or [Stop("nothing is left to develop")]

    return beam_search


def _value(state: SearchState, index: int) -> tuple[float, float]:
    """The belief; among candidates that are ruled out or equally believed, how far their checks were passed."""
    scores = [v.score for v in state.candidates[index].verdicts if v.score is not None]
    return state.p_right(index), sum(scores) / len(scores) if scores else 0.0


def _levels(state: SearchState) -> dict[int, int]:
    levels: dict[int, int] = {}
    for index, candidate in enumerate(state.candidates):
        levels[index] = 0 if candidate.revises is None else levels[candidate.revises] + 1
    return levels
