"""One configuration, tried on graded questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.evaluation.paired import Array
from orchestrator.jsontypes import JsonValue
from orchestrator.search.calibration.calibration import Calibration

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change to a configuration.

    `changes` are new values by path (`memory.token_budget`; `None` takes out what is there). `calibration` becomes the
    file under `search`. Where `taught_by` names questions, the folder under `router` is the present router after it was
    told how right the models were on them.
    """

    name: str
    changes: Mapping[str, JsonValue] = field(default_factory=dict)
    calibration: Calibration | None = None
    taught_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """What a configuration did: `score` in [0, 1] and `usd` of each question, both of shape (questions,)."""

    proposal: Proposal
    score: Array
    usd: Array

    def __post_init__(self) -> None:
        """Raises `ValueError` on shapes that differ, and on scores outside [0, 1]."""
        if self.score.shape != self.usd.shape or self.score.ndim != 1:
            raise ValueError(f"score and usd are vectors of one length, not {self.score.shape} and {self.usd.shape}")
        if not ((self.score >= 0) & (self.score <= 1)).all():
            raise ValueError("scores lie in [0, 1]")
