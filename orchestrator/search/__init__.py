"""Search: which drafts, checks and revisions to buy, and when to stop. Strategies are pure; one loop does the I/O."""

from orchestrator.search.actions import Action, Combine, Critique, Draft, Revise, Stop
from orchestrator.search.belief import Belief, VoteModel, believe
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.recording import Diverged, Recording, replayed
from orchestrator.search.revising import Revised, RevisionOdds, fit_revisions
from orchestrator.search.state import Choice, SearchState, Strategy, revisions_in
from orchestrator.search.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "Action",
    "Belief",
    "Choice",
    "Combine",
    "Critique",
    "Diverged",
    "Draft",
    "Recording",
    "Revise",
    "Revised",
    "RevisionOdds",
    "Search",
    "SearchResult",
    "SearchState",
    "Stop",
    "Strategy",
    "VoteModel",
    "believe",
    "fit_revisions",
    "replayed",
    "revisions_in",
]
