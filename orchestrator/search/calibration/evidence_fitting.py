"""Fits what verdicts on graded answers are worth beyond what is known of who gave them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.search.vote_model import CALL_CLASSES, CALLS, VoteModel
from orchestrator.search.vote_table import GradedQuestion
from orchestrator.verifiers import Ensemble, Verdict
from orchestrator.verifiers.learning import fit_ensemble

IMAGINED = 2.0  # answers of a class that are right as often as a model's usual ones, before any outcome


def fit_evidence(questions: Sequence[GradedQuestion]) -> Ensemble | None:
    """The worth of each verifier's verdicts; `None` where no answer was checked.

    How often its model is right in the answer's class is taken as known before, so that evidence is not paid twice:
    once to the model, and once to what its answers look like.
    """
    if not any(any(q.verdicts.values()) for q in questions):
        return None
    classes = VoteModel(classes=tuple((name, 1.0) for name in CALL_CLASSES))
    graded: list[tuple[Sequence[Verdict], bool]] = []
    log_odds: list[float] = []
    for model in questions[0].keys:
        answers = [(key, q.right[model], q.verdicts.get(model, ())) for q in questions if (key := q.keys[model])]
        usual = (sum(right for _, right, _ in answers) + 1.0) / (len(answers) + 2.0)
        for number in range(len(CALL_CLASSES)):
            alike = [row for row in answers if (classes.class_of(row[0]) if row[0].startswith(CALLS) else 0) == number]
            p = (sum(right for _, right, _ in alike) + IMAGINED * usual) / (len(alike) + IMAGINED)
            for _, right, verdicts in alike:
                if not any(verdict.decisive and verdict.passed is False for verdict in verdicts):
                    graded.append((verdicts, right))
                    log_odds.append(math.log(p / (1.0 - p)))
    return fit_ensemble(graded, log_odds=log_odds) if graded else None
