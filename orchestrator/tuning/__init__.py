"""Tuning: searches a whole configuration on graded answers, and promotes what is shown to lose nothing that counts."""

from orchestrator.tuning.graded_answers import GradedAnswers, answers_of_log
from orchestrator.tuning.promotion import TestedRecipe
from orchestrator.tuning.tune import Tuned, tune

__all__ = ["GradedAnswers", "TestedRecipe", "Tuned", "answers_of_log", "tune"]
