"""The parameters of a success model: abilities of models, and weights over a feature space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from orchestrator.router.calibration import Array
from orchestrator.router.features.features import Floats, Integers


@dataclass(frozen=True, slots=True)
class Ability:
    """A model's parameters: log-odds of success on a query of average ease, and how strongly ease moves them."""

    bias: float
    slope: float = 1.0


@dataclass(frozen=True, slots=True)
class Heads:
    """Weights over a feature space: column 0 is the shared ease, column 1 + i the own head of `models[i]`.

    `sparse` has shape (buckets, 1 + models), `dense` (dense size, 1 + models), both float32; `mean_ease` is what is
    subtracted from ease, `prior_ease` from what the prior says of ease. `effects`, one for each domain or none, are
    what its data sets add to ease and own heads beyond what the queries say: how they were asked and graded.
    """

    sparse: Floats
    dense: Floats
    models: tuple[str, ...] = ()
    mean_ease: float = 0.0
    prior_ease: float = 0.0
    effects: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))


class FleetParameters(NamedTuple):
    """What is known of the models of a fleet: each array has shape (models,), `columns` are those of their heads."""

    bias: Array
    slope: Array
    columns: Integers
    without_skill: frozenset[str]
