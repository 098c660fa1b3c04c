"""Whether a new student may take the place of the one in use: only when it is shown to be no worse.

Both say what they would answer to the same labelled texts. What is lost by each answer is compared pair by pair: 1 for
an answer that is given and wrong, what an abstention costs for one that is not given, 0 for one that is given and
right. The test is a mixture of bets against "the new one loses more, by `MARGIN` or more" (Waudby-Smith & Ramdas 2023,
section 4): it may be looked at again whenever more texts have come, and is wrong with probability at most `ALPHA` ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.router.guarantee.certificate import betting_p_value

MARGIN = 0.02
ALPHA = 0.1


@dataclass(frozen=True, slots=True)
class StudentOutcome:
    """What came of one text.

    Attributes:
        is_given: Whether the student answered.
        agrees: Whether its answer is the label, given or not.
    """

    is_given: bool
    agrees: bool


@dataclass(frozen=True, slots=True)
class StudentComparison:
    """A new student beside the one in use.

    Attributes:
        is_no_worse: Whether that was shown.
        p_value: Of "it is worse by the margin or more".
        texts: How many texts they were compared on.
        mean_difference: Mean loss of the new one less that of the one in use; below 0 it is better.
    """

    is_no_worse: bool
    p_value: float
    texts: int
    mean_difference: float


def compare_students(
    new: Sequence[StudentOutcome], in_use: Sequence[StudentOutcome], abstaining: float = 0.05
) -> StudentComparison:
    """Compares what two students say of the same texts, in the same order; `abstaining` is what an abstention costs."""
    differences = np.array(
        [_loss(a, abstaining) - _loss(b, abstaining) for a, b in zip(new, in_use, strict=True)], dtype=float
    )
    if not len(differences):
        return StudentComparison(False, 1.0, 0, 0.0)
    p_value = betting_p_value((differences + 1.0) / 2.0, (MARGIN + 1.0) / 2.0)
    return StudentComparison(p_value <= ALPHA, p_value, len(differences), float(differences.mean()))


def _loss(outcome: StudentOutcome, abstaining: float) -> float:
    if not outcome.is_given:
        return abstaining
    return 0.0 if outcome.agrees else 1.0
