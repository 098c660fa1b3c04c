"""The strategy `draft_critique_revise`: a draft, what is wrong with it, and a better one, each only while it pays."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Action, Critique, Stop
from orchestrator.search.revisions import CRITIQUE
from orchestrator.search.state import SearchState
from orchestrator.search.strategies.moves import first_draft, paying_revision


def draft_critique_revise(state: SearchState) -> Sequence[Action]:
    """A draft and at most two revisions.

    Where checks have no fault to tell, another model looks for one, if a revision by a critique could pay.

    It ends when a critique finds nothing (new), or a revision is as likely to break the answer as to mend it.
    """
    if state.running:
        return []
    if not state.candidates:
        return [first_draft(state)]
    revision = paying_revision(state)
    if revision is not None:
        return [revision]
    critique = _critique(state)
    if critique is not None:
        return [critique]
    return [Stop("nothing to revise" if state.leader is not None else "no draft passes its checks")]


def _critique(state: SearchState) -> Critique | None:
    """Of the best candidate, if nobody has found a fault in it yet, and only if its revision would pay."""
    best = state.leader
    if best is None or state.confidence >= state.quality:
        return None
    candidate = state.candidates[best]
    if any(
        verdict.verifier == CRITIQUE or (verdict.passed is False and verdict.feedback) for verdict in candidate.verdicts
    ):
        return None
    if state.p_right(best) >= state.odds(candidate).pays_below:
        return None
    others = [choice for choice in state.fleet or state.choices if choice.model != candidate.model]
    # Another model sees what the writer does not; of those the one that is right most often.
    critic = max(others, key=lambda choice: choice.p_success).model if others else candidate.model
    action = Critique(best, critic)
    return None if action in state.begun or critic not in state.priors else action
