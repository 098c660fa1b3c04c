"""Stated probabilities, held against known answers before they are used.

What a model states is a score, not a probability: its log-odds are scaled and shifted to what came of it (Platt 1999;
for several options temperature scaling, Guo et al. 2017), with a prior that halves them, which is also what is done
without any example. Such numbers say that they are not calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from orchestrator.decisions.base import DecisionBackend
from orchestrator.decisions.question import Decision, Decisions, Kind, Question
from orchestrator.router import ModelProfile
from orchestrator.router.calibration import Array, fit_logistic
from orchestrator.storage.json_rows import load_rows, save_row, wrong_rows

PRIOR_SCALE, PRIOR_SCALE_SD, PRIOR_SHIFT_SD = 0.5, 0.5, 1.0
MIN_EXAMPLES = 20
MADE_BY = "orchestrator calibrate"
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.1, 3.0, 60))
FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class ProbabilityCalibration:
    """How one model's stated log-odds become believable: `scale` times them, plus `shift` (predicates only).

    `examples` is how many it rests on.
    """

    scale: float = PRIOR_SCALE
    shift: float = 0.0
    choice_scale: float = PRIOR_SCALE
    examples: int = 0
    choice_examples: int = 0

    def covers(self, kind: Kind) -> bool:
        """Whether it rests on enough examples for questions of this kind."""
        return (self.examples if kind == "predicate" else self.choice_examples) >= MIN_EXAMPLES

    def apply(self, stated: Decision) -> Decision:
        """The probabilities of a decision, scaled to what came of earlier ones."""
        if stated.kind == "predicate":
            p = _sigmoid(self.scale * _logit(stated.p) + self.shift)
            return Decision("predicate", {"yes": p, "no": 1.0 - p}, self.covers("predicate"))
        logs = np.log(np.maximum(np.array(list(stated.probabilities.values())), FLOOR)) * self.choice_scale
        p_each = _softmax(logs)
        return Decision(
            stated.kind,
            {label: float(p) for label, p in zip(stated.probabilities, p_each, strict=True)},
            self.covers(stated.kind),
        )


def fit_calibration(stated: Sequence[Decision], truths: Sequence[str]) -> ProbabilityCalibration:
    """From what was stated and the label that was right. Raises `ValueError` on a label that was no option."""
    for told, truth in zip(stated, truths, strict=True):
        if truth not in told.probabilities:
            raise ValueError(f"{truth!r} was not an option: {', '.join(told.probabilities)}")
    yes_no = [(told, truth) for told, truth in zip(stated, truths, strict=True) if told.kind == "predicate"]
    others = [(told, truth) for told, truth in zip(stated, truths, strict=True) if told.kind != "predicate"]
    scale, shift = PRIOR_SCALE, 0.0
    if yes_no:
        x = np.array([[_logit(told.p), 1.0] for told, _ in yes_no])
        y = np.array([float(truth == "yes") for _, truth in yes_no])
        prior_mean, prior_sd = np.array([PRIOR_SCALE, 0.0]), np.array([PRIOR_SCALE_SD, PRIOR_SHIFT_SD])
        scale, shift = (float(each) for each in fit_logistic(x, y, prior_mean=prior_mean, prior_sd=prior_sd))
    return ProbabilityCalibration(max(scale, 0.0), shift, _choice_scale(others), len(yes_no), len(others))


def _choice_scale(pairs: Sequence[tuple[Decision, str]]) -> float:
    """The scale that makes the right labels likeliest, drawn towards the prior by its width."""

    def loss(scale: float) -> float:
        penalty = 0.5 * ((scale - PRIOR_SCALE) / PRIOR_SCALE_SD) ** 2
        for told, truth in pairs:
            labels = list(told.probabilities)
            p = _softmax(np.log(np.maximum(np.array(list(told.probabilities.values())), FLOOR)) * scale)
            penalty -= math.log(max(float(p[labels.index(truth)]), FLOOR))
        return penalty

    return min((PRIOR_SCALE, *TEMPERATURES), key=loss)


def calibrated(backend: DecisionBackend, calibration: ProbabilityCalibration | None = None) -> DecisionBackend:
    """The same decider, whose numbers are scaled to what came of earlier ones."""
    return _Calibrated(backend, calibration or ProbabilityCalibration())


class _Calibrated:
    def __init__(self, backend: DecisionBackend, calibration: ProbabilityCalibration) -> None:
        self._backend = backend
        self._calibration = calibration

    @property
    def profile(self) -> ModelProfile:
        return self._backend.profile

    def worst_tokens(self, state: str, questions: Mapping[str, Question]) -> tuple[int, int]:
        return self._backend.worst_tokens(state, questions)

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        found = await self._backend.decide(state, questions, deadline_s=deadline_s)
        return replace(found, answers={name: self._calibration.apply(stated) for name, stated in found.answers.items()})


def load_calibrations(path: str | Path) -> dict[str, ProbabilityCalibration]:
    """By model; empty if there is no file. Raises `ConfigError` on one that cannot be read."""
    try:
        return {model: ProbabilityCalibration(**row) for model, row in load_rows(path, made_by=MADE_BY).items()}
    except TypeError as error:
        raise wrong_rows(path, error, made_by=MADE_BY) from None


def save_calibration(path: str | Path, model: str, calibration: ProbabilityCalibration) -> None:
    """Keeps the calibration of a model in a file of rows."""
    save_row(path, model, asdict(calibration), made_by=MADE_BY)


def _logit(p: float) -> float:
    clipped = min(max(p, FLOOR), 1.0 - FLOOR)
    return math.log(clipped / (1.0 - clipped))


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(x, -50.0), 50.0)))


def _softmax(logs: Array) -> Array:
    raised = np.exp(logs - logs.max())
    return np.asarray(raised / raised.sum())
