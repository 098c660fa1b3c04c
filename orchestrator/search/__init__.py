"""Search: which drafts, checks and revisions to buy, and when to stop. Strategies are pure; one loop does the I/O."""

from orchestrator.search.belief import Belief, VoteModel, believe
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.state import Action, Draft, Revise, SearchState, Stop, Strategy
from orchestrator.search.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "Action",
    "Belief",
    "Draft",
    "Revise",
    "Search",
    "SearchResult",
    "SearchState",
    "Stop",
    "Strategy",
    "VoteModel",
    "believe",
]
