"""Search: which drafts, checks and revisions to buy, and when to stop. Strategies are pure; one loop does the I/O."""

from orchestrator.search.actions import Action, Combine, Compare, Critique, Draft, Revise, Stop
from orchestrator.search.belief import Belief, believe
from orchestrator.search.calibration.calibrate import calibrate, compare_policies
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Mixture, strategy_of
from orchestrator.search.calibration.vote_fitting import fit_repeat
from orchestrator.search.controller import Search, SearchResult
from orchestrator.search.recording import Diverged, Recording, replayed
from orchestrator.search.revisions import Revised, RevisionOdds, fit_revisions
from orchestrator.search.state import Choice, SearchState, Strategy, revisions_in
from orchestrator.search.strategies.registry import STRATEGIES
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import GradedQuestion

__all__ = [
    "STRATEGIES",
    "Action",
    "Belief",
    "ByValue",
    "Calibration",
    "Choice",
    "Combine",
    "Compare",
    "Critique",
    "Diverged",
    "Draft",
    "FixedOrder",
    "GradedQuestion",
    "Mixture",
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
    "calibrate",
    "compare_policies",
    "fit_repeat",
    "fit_revisions",
    "replayed",
    "revisions_in",
    "strategy_of",
]
