"""Whether a changed configuration may take the place of the present one.

Some of the questions chose what is proposed, so that its figures there are flattered; the others, which chose nothing,
test it. A proposal is promoted only if three things are shown there:

1. it loses at most `max_loss` of the mean score (paired, at `confidence`);
2. it is cheaper in the mean (paired, at `confidence`);
3. it differs at all: that nobody could tell its costs from those of the present one is refuted at `DIFFERS_LEVEL`.

Proposals are tested from the smallest saving to the largest. The first test is made at the whole level until one
fails: the chance that anything is promoted that loses more is then at most 1 - confidence (fixed-sequence testing;
Maurer, Hothorn & Lehmacher 1995). The second is corrected for their number by Holm's procedure (1979), the third by
Bonferroni's; it keeps configurations from being changed for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from orchestrator.evaluation.paired import (
    Interval,
    cost_ratio_interval,
    difference_interval,
    holm,
    p_loses_at_end,
    p_no_cheaper,
    p_same_cost,
)
from orchestrator.tuning.trial import Trial

DIFFERS_LEVEL = 0.001
SAVINGS = (0.2, 0.35, 0.5, 0.65, 1.0)
"""Shares of the present cost between which proposals are sought: one from each interval."""
PRIOR_TAUGHT = 0.01  # what a router that was taught the very task gains by it, before anything is seen
PRIOR_SD = 0.02  # how far a change moves the mean score, before anything is seen: what looks like more is mostly luck
Outcome = Literal["promoted", "passed", "loses too much", "saves nothing", "does not differ", "not reached"]


@dataclass(frozen=True, slots=True)
class TestedProposal:
    """A proposal on the test questions, with the p-values of the three things that must be refuted."""

    trial: Trial
    quality: Interval
    """New score less old score, with 95 % bounds."""
    cost: Interval
    """New cost as a share of the old one, with 95 % bounds."""
    p_loses: float
    p_no_cheaper: float
    p_same: float
    outcome: Outcome


def most_hopeful(present: Trial, trials: Sequence[Trial], *, max_loss: float, each: int = 2) -> list[Trial]:
    """The trials that are worth more questions: of those that save about the same, the `each` that are likeliest to
    lose no more than is allowed. The smallest saving comes first.
    """
    saving = {id(trial): 1.0 - trial.usd.sum() / max(present.usd.sum(), 1e-12) for trial in trials}
    found: list[Trial] = []
    for low, high in pairwise(SAVINGS):
        rivals = [trial for trial in trials if low <= saving[id(trial)] < high]
        found += sorted(rivals, key=lambda trial: -_odds(present, trial, max_loss))[:each]
    return found


def shortlist(present: Trial, trials: Sequence[Trial], *, max_loss: float) -> list[Trial]:
    """The proposals that are worth a test, one for each interval of `SAVINGS`, the smallest saving first."""
    return most_hopeful(present, trials, max_loss=max_loss, each=1)


def _odds(present: Trial, trial: Trial, max_loss: float) -> float:
    """How many standard errors lie between the loss that is not allowed and the difference that is to be expected.

    Expected is what was seen, drawn towards a stated prior: the best of many is mostly lucky.
    """
    gained = trial.score - present.score
    variance = float(np.concatenate([gained, (1.0, -1.0)]).var()) / len(gained)  # never certain: two imagined ones
    prior = PRIOR_TAUGHT if trial.proposal.is_taught else 0.0
    expected = prior + (float(gained.mean()) - prior) * PRIOR_SD**2 / (PRIOR_SD**2 + variance)
    return (expected + max_loss) / math.sqrt(variance)


def judge(
    present: Trial, proposals: Sequence[Trial], *, max_loss: float, confidence: float, seed: int = 0
) -> list[TestedProposal]:
    """Tests proposals in their order, on test questions. The cheapest of those that pass is promoted."""
    dear = holm([p_no_cheaper(present.usd, trial.usd, seed=seed) for trial in proposals])
    found: list[TestedProposal] = []
    for trial, p_dear in zip(proposals, dear, strict=True):
        p_loses = p_loses_at_end(trial.score - present.score, max_loss)
        p_same = p_same_cost(present.usd, trial.usd, seed=seed)
        outcome: Outcome = "passed"
        if found and found[-1].outcome in ("loses too much", "not reached"):
            outcome = "not reached"
        elif p_loses > 1.0 - confidence:
            outcome = "loses too much"
        elif p_dear > 1.0 - confidence:
            outcome = "saves nothing"
        elif p_same > DIFFERS_LEVEL / len(proposals):
            outcome = "does not differ"
        quality = difference_interval(trial.score - present.score)
        cost = cost_ratio_interval(present.usd, trial.usd, seed=seed)
        found.append(TestedProposal(trial, quality, cost, p_loses, p_dear, p_same, outcome))
    passed = [judged for judged in found if judged.outcome == "passed"]
    cheapest = min(passed, key=lambda judged: judged.cost.value, default=None)
    return [replace(judged, outcome="promoted") if judged is cheapest else judged for judged in found]
