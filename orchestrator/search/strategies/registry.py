"""Strategies: pure functions from the search state to the next actions. No clock, no network, no randomness.

An empty answer means: wait for what is running. What still runs when a strategy stops is cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Action, Draft, Stop
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.critique import draft_critique_revise
from orchestrator.search.strategies.judged_pairs import judged_pairs
from orchestrator.search.strategies.moves import first_draft, reached
from orchestrator.search.strategies.panel import debate, mixture, two_ways
from orchestrator.search.strategies.sampling import best_of, consistent
from orchestrator.search.strategies.tree import tree


def single(state: SearchState) -> Sequence[Action]:
    """One draft by the routed model; if it fails, abstains or says nothing, the next cheapest."""
    if any(map(state.is_of_use, range(len(state.candidates)))):
        return [Stop("one draft")]
    if state.candidates and not state.choices:
        return [Stop("all models were asked")]
    return [first_draft(state)]


def cascade(state: SearchState) -> Sequence[Action]:
    """Cheapest first.

    The next model is asked while the belief in the best answer is below the target (FrugalGPT, Chen et al. 2023).
    """
    if state.candidates and state.confidence >= state.quality:
        return [Stop(reached(state))]
    if not state.choices:
        return [Stop("all models were asked")]
    return [Draft(state.choices[0].model)]


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
    "tree": tree(),
    "mixture": mixture,
    "debate": debate,
    "two_ways": two_ways,
    "judged_pairs": judged_pairs,
    "adaptive": adaptive,
}
