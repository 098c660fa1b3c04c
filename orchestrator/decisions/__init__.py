"""Typed questions about a state, answered with probabilities and no text (see `question`, `decider`)."""

from orchestrator.decisions.base import DecisionBackend, decider_for
from orchestrator.decisions.calibration import ProbabilityCalibration, calibrated, fit_calibration
from orchestrator.decisions.question import Decision, Decisions, Question

__all__ = [
    "Decision",
    "DecisionBackend",
    "Decisions",
    "ProbabilityCalibration",
    "Question",
    "calibrated",
    "decider_for",
    "fit_calibration",
]
