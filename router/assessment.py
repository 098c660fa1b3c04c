"""What a success model says of queries, and how sure it is of what it never saw graded."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import Array
from orchestrator.router.features.features import Floats

KIND_SD = 1.0  # of the effect of a kind that nothing was graded of, in log-odds (decision 24)


class Assessment(NamedTuple):
    """What is expected of models on queries.

    `p_success` in (0, 1) and the expected output `tokens` (`None` if no lengths were learned) have shape (queries,
    models). `unfamiliar` (queries,) says which lie farther out than nine in ten that are like the training queries.
    """

    p_success: Array
    tokens: Array | None
    unfamiliar: NDArray[np.bool_]


class Scored(NamedTuple):
    """What a trained model says of queries, before anybody's abilities: see `SuccessModel.scored`.

    `scores` has shape (n, models + 2); `dense` (n, dense size) are the features that a head weighs; `located` (n,
    located) is where `Domains` sees the queries. Scores and dense features fade with `familiarity` (n,).
    """

    scores: Array
    dense: Floats
    located: Floats
    familiarity: Floats


def certainty(familiarity: Floats) -> Array:
    """What log-odds are multiplied with: 1 for familiar queries, less where a whole kind may lie off, shape (n,).

    The mean of a logistic over a normal kind effect, to good approximation (MacKay 1992).
    """
    return np.array([1.0 / math.sqrt(1.0 + math.pi / 8.0 * KIND_SD**2 * (1.0 - f)) for f in familiarity.tolist()])
