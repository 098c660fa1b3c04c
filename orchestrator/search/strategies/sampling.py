"""Strategies that draw one model several times.

All at once and the best by its checks, or one after another until the answer is settled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from orchestrator.search.actions import Action, Stop
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.moves import draws, reached

N_BEST, N_CONSISTENT, FIRST = 8, 16, 3
SETTLED = 0.95


def best_of(n: int = N_BEST) -> Strategy:
    """`n` drafts of the routed model at once; the best by its checks and by agreement.

    Ends early at one that reaches the target.
    """

    def best_of_n(state: SearchState) -> Sequence[Action]:
        if state.candidates and state.confidence >= state.quality:
            return [Stop(reached(state))]
        return _more(state, n) or [Stop(f"{n} drafts")] if not state.running or _drawn(state) < n else []

    return best_of_n


def consistent(n: int = N_CONSISTENT, *, settled: float = SETTLED) -> Strategy:
    """Drafts of the routed model until one answer leads for good, at most `n` (self-consistency: Wang et al. 2023).

    It stops when P(the leader's share exceeds the runner-up's) >= `settled`, by Beta(a + 1, b + 1) of their votes a and
    b (adaptive consistency: Aggarwal et al. 2023). Free text, which cannot be counted, ends after the first drafts.
    """

    def self_consistency(state: SearchState) -> Sequence[Action]:
        if state.running:
            return []
        counts = [count for _, count in Counter(key for key, _ in state.votes).most_common(2)]
        if counts and (
            not state.comparable or p_stays_ahead(counts[0], counts[1] if len(counts) > 1 else 0) >= settled
        ):
            return [Stop(f"{counts[0]} of {len(state.votes)} drafts agree")]
        return _more(state, min(n, _drawn(state) + (FIRST if not state.drafts else 1))) or [Stop(f"{n} drafts")]

    return self_consistency


def p_stays_ahead(leader: int, second: int) -> float:
    """P(x > 1/2), x ~ Beta(leader + 1, second + 1): the chance that the leader is the more frequent answer.

    A binomial tail, exactly.
    """
    total = leader + second + 1
    return sum(math.comb(total, k) for k in range(leader + 1)) / 2.0**total


def _more(state: SearchState, wanted: int) -> list[Action]:
    """Drafts up to `wanted` in all, each with a number of its own; none if the model could not be drawn at all."""
    model = state.drafts[0].model if state.drafts else state.first_model
    return [Stop("no model is left to ask")] if model is None else [*draws(state, model, wanted)]


def _drawn(state: SearchState) -> int:
    return sum(draft.several for draft in state.drafts)
