"""Evaluations: examples against configurations, with intervals, paired tests and honest stopping."""

from orchestrator.evaluation.case import Assertion, Case
from orchestrator.evaluation.dataset import read_cases
from orchestrator.evaluation.result import PairedComparison, VariantResult
from orchestrator.evaluation.run import SuiteResult, evaluate
from orchestrator.evaluation.suite import Suite, load_suite

__all__ = [
    "Assertion",
    "Case",
    "PairedComparison",
    "Suite",
    "SuiteResult",
    "VariantResult",
    "evaluate",
    "load_suite",
    "read_cases",
]
