"""Evidence on answers that cannot be voted on.

Which of two a judge prefers, and how certain a model was of its own words.

Both are verdicts like any other, worth what an `Ensemble` has learned of them
(`orchestrator.verifiers.learning.fit_ensemble`). Until then a preference counts a little, in each order, and certainty
not at all: models are certain of what is wrong, too.
"""

from __future__ import annotations

import math

from orchestrator.verifiers import Verdict
from orchestrator.verifiers.models.judge import read_winner

COMPARISON, CERTAINTY = "comparison", "certainty"
MIN_LOG_ODDS, MAX_LOG_ODDS = (
    -2.0,
    8.0,
)  # of the geometric mean of token probabilities, between which the score of a certainty lies


def read_comparison(reply: str, cost_usd: float) -> tuple[Verdict, Verdict]:
    """What a judge's reply says of the answers shown first and second."""
    winner = read_winner(reply)
    if winner is None:
        unread = Verdict(
            COMPARISON, None, None, "the judge's reply was not in the form it was asked for", cost_usd=cost_usd
        )
        return unread, Verdict(COMPARISON, None, None, unread.feedback)
    score = {"1": 1.0, "2": 0.0, "tie": 0.5}[winner]
    return _preferred(score, cost_usd), _preferred(1.0 - score, 0.0)


def _preferred(score: float, cost_usd: float) -> Verdict:
    return Verdict(COMPARISON, score, None if score == 0.5 else score > 0.5, cost_usd=cost_usd)


def certainty_verdict(mean_logprob: float) -> Verdict:
    """The score in [0, 1] is linear in the log-odds of the tokens' mean probability, so that what is learned of it is,
    too.
    """
    p = min(max(math.exp(mean_logprob), 1e-9), 1.0 - 1e-9)
    log_odds = math.log(p / (1.0 - p))
    score = (log_odds - MIN_LOG_ODDS) / (MAX_LOG_ODDS - MIN_LOG_ODDS)
    return Verdict(CERTAINTY, min(max(score, 0.0), 1.0), None)
