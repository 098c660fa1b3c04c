"""Whether a changed configuration may take the place of the present one.

A recipe is promoted only if three things are shown, all by paired tests on the same questions:

1. it loses at most `max_loss` of the mean score, at `confidence`;
2. it is cheaper in the mean, at `confidence` (corrected by Holm's procedure, 1979);
3. it differs at all: that nobody could tell its costs from those of the present one is refuted at `DIFFERS_LEVEL`
   (corrected by Bonferroni's), so that configurations are not changed for nothing.

Recipes stand in ladders, from the safest to the cheapest, whose order was fixed before anything was seen. The rungs of
a ladder are tested for the first thing one after the other, each at the ladder's whole share of the level, until one
fails (fixed-sequence testing; Maurer, Hothorn & Lehmacher 1995); `LADDER_SHARES` divide the level among ladders. So the
chance that anything is promoted that loses more is at most 1 - confidence.

Every question is answered by a change that was made from others (cross-validation): what is tested is the recipe, and
what is promoted is the recipe made from all of them. The differences then have a mean whose test is right in the long
run (Bayle, Bayle, Janson & Mackey 2020, "Cross-validation confidence intervals for test error").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.evaluation.paired import (
    Interval,
    compare_costs,
    cost_ratio_interval,
    difference_interval,
    holm,
    p_loses_at_end,
)
from orchestrator.tuning.trial import Trial

DIFFERS_LEVEL = 0.001
LADDER_SHARES = (0.7, 0.15, 0.15)
"""Of the level, by ladder: teaching gains most on every recorded fleet, so that it has most of it."""
Outcome = Literal["promoted", "passed", "may lose too much", "saves nothing", "does not differ"]


@dataclass(frozen=True, slots=True)
class TestedRecipe:
    """A rung of a ladder, with the p-values of the three things that must be refuted."""

    trial: Trial
    quality: Interval
    """New score less old score, with 95 % bounds."""
    cost: Interval
    """New cost as a share of the old one, with 95 % bounds."""
    p_loses: float
    p_no_cheaper: float
    p_same: float
    outcome: Outcome


def level_of(ladder: int, confidence: float) -> float:
    """The level at which rungs of ladder number `ladder` are tested for what they lose."""
    return LADDER_SHARES[ladder] * (1.0 - confidence)


def loses_too_much(present: Trial, trial: Trial, *, max_loss: float, level: float) -> bool:
    """Whether it is not shown that a change loses at most `max_loss`: its ladder ends there."""
    return p_loses_at_end(trial.score - present.score, max_loss) > level


def judge(
    present: Trial,
    climbed: Sequence[Sequence[Trial]],
    *,
    max_loss: float,
    confidence: float,
    seed: int = 0,
) -> list[TestedRecipe]:
    """The rungs that were reached, ladder by ladder. Of those that pass, the cheapest is promoted."""
    reached = [(ladder, trial) for ladder, trials in enumerate(climbed) for trial in trials]
    costs = [compare_costs(present.usd, trial.usd, seed=seed) for _, trial in reached]
    dear = holm([cost.no_cheaper for cost in costs])
    found: list[TestedRecipe] = []
    for (ladder, trial), p_dear, (_, p_same) in zip(reached, dear, costs, strict=True):
        outcome: Outcome = "passed"
        if loses_too_much(present, trial, max_loss=max_loss, level=level_of(ladder, confidence)):
            outcome = "may lose too much"
        elif p_dear > 1.0 - confidence:
            outcome = "saves nothing"
        elif p_same > DIFFERS_LEVEL / len(reached):
            outcome = "does not differ"
        differences = trial.score - present.score
        found.append(
            TestedRecipe(
                trial,
                difference_interval(differences),
                cost_ratio_interval(present.usd, trial.usd, seed=seed),
                p_loses_at_end(differences, max_loss),
                p_dear,
                p_same,
                outcome,
            )
        )
    passed = [each for each in found if each.outcome == "passed"]
    cheapest = min(passed, key=lambda each: each.cost.value, default=None)
    return [replace(each, outcome="promoted") if each is cheapest else each for each in found]
