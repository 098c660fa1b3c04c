"""A/B experiments on live traffic: who is in which arm, and what may be concluded at any time.

A unit (a key of the gateway, or a scope) is always in the same arm. Answers of one unit resemble each other, so that
each unit counts once, by the first of its answers that was graded: those are independent, and the bounds of both arms
hold at every look (`paired.mean_interval`). Whoever stops as soon as they part stops honestly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.config.models import Arm
from orchestrator.evaluation.paired import Interval, mean_interval

Verdict = Literal["variant is no worse", "variant is worse", "not decided"]


@dataclass(frozen=True, slots=True)
class Observed:
    """A request of an experiment. `score` in [0, 1] is what its answer was graded, if it was; `at` in seconds."""

    unit: str
    arm: Arm
    at: float
    usd: float | None
    seconds: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm. `score` is of the first graded answers of its units; `usd` and `seconds` are means of all requests."""

    arm: Arm
    units: int
    requests: int
    graded_units: int
    score: Interval
    usd: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """Both arms, and what may be said of them by now."""

    control: ArmResult
    variant: ArmResult
    verdict: Verdict


def analyse(observed: Sequence[Observed], *, max_loss: float, confidence: float = 0.95) -> ExperimentResult:
    """What the observations show; `max_loss` is what the variant may lose of the mean score, in [0, 1)."""
    each = (1.0 + confidence) / 2.0  # both arms' bounds hold together
    control, variant = (_arm([o for o in observed if o.arm == arm], arm, each) for arm in ("control", "variant"))
    verdict: Verdict = "not decided"
    if variant.score.low >= control.score.high - max_loss:
        verdict = "variant is no worse"
    elif variant.score.high < control.score.low - max_loss:
        verdict = "variant is worse"
    return ExperimentResult(control, variant, verdict)


def _arm(observed: list[Observed], arm: Arm, confidence: float) -> ArmResult:
    first: dict[str, float] = {}
    for one in sorted(observed, key=lambda one: one.at):
        if one.score is not None:
            first.setdefault(one.unit, one.score)
    priced = [one.usd for one in observed if one.usd is not None]
    return ArmResult(
        arm,
        len({one.unit for one in observed}),
        len(observed),
        len(first),
        mean_interval(np.array(list(first.values()), dtype=float), confidence),
        float(np.mean(priced)) if priced else None,
        float(np.mean([one.seconds for one in observed])) if observed else 0.0,
    )
