"""Steps that several strategies take: a first draft, a revision that pays, a stop at the target."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.actions import Draft, Revise, Stop
from orchestrator.search.state import SearchState, faults
from orchestrator.types import Candidate

MAX_REVISIONS = 2


def first_draft(state: SearchState) -> Draft | Stop:
    """The first draft, of the model that the route chose."""
    return Stop("no model is left to ask") if state.first_model is None else Draft(state.first_model)


def draws(state: SearchState, model: str, upto: int) -> list[Draft]:
    """Drafts of `model` up to `upto` in all, each with a number of its own; in one call where it can give several."""
    have = state.drawn(model)
    if upto > have and state.choice(model).gives_several:
        return [Draft(model, have, upto - have)]
    return [Draft(model, sample) for sample in range(have, upto)]


def reached(state: SearchState) -> str:
    """Says that the target is reached."""
    return f"P(correct) {state.confidence:.3f} reaches the target {state.quality:.3f}"


def paying_revision(state: SearchState, *, trusted: bool = False) -> Revise | None:
    """A revision of the latest candidate that it pays to revise (p < f / (f + h)), by the model that wrote it.

    After two revisions none.

    With `trusted`, by the feedback of decisive verifiers only.
    """
    if sum(candidate.revises is not None for candidate in state.candidates) >= MAX_REVISIONS:
        return None
    revised = {candidate.revises for candidate in state.candidates}
    for index, candidate in reversed(list(enumerate(state.candidates))):
        action = Revise(index, candidate.model)
        pays = state.p_right(index) < state.odds(candidate).pays_below and state.confidence < state.quality
        if (
            pays
            and index not in revised
            and action not in state.begun
            and candidate.model in state.priors
            and _is_news(index, state.candidates, trusted)
        ):
            return action
    return None


def _is_news(index: int, candidates: Sequence[Candidate], trusted: bool) -> bool:
    """Whether the verdicts on a candidate say something to act on that its own draft was not told already.

    Else a revision would go in a circle.

    A text that was there before, and a revision that is faulted for the same as what it revises, have had their chance.
    """
    candidate = candidates[index]
    told = faults(candidate, trusted=trusted)
    if not told or any(earlier.text == candidate.text for earlier in candidates[:index]):
        return False
    return candidate.revises is None or faults(candidates[candidate.revises], trusted=trusted) != told
