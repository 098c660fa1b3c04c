"""What outcomes have taught about kinds of query: how far each lies from what was predicted, for all models and each.

A Gaussian process over what queries look like (Rasmussen & Williams 2006, chapters 3 and 8): queries near each other
share a kind. A router that meets a kind for the first time can only guess how hard it is; some tens of outcomes of any
models say so, and each model's own say where it differs. Far from all that was graded nothing is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.assessment import KIND_SD
from orchestrator.router.calibration import Array
from orchestrator.router.features.domains import k_means, measurable, squared_distances
from orchestrator.router.features.features import Floats
from orchestrator.router.profile import ModelProfile

HALF_KNOWN = 10.0  # outcomes near a query after which its kind counts as half familiar
FAMILIAR_SD = 0.2  # of a model's own effect in a kind that training has seen; there is no shared one there
OWN_SHARE = 0.6  # of KIND_SD: the same in a kind that nothing was graded of, beside the shared one
MAX_CENTRES = 64
JITTER = 1e-3
NEIGHBOUR, MAX_SAMPLE = 3, 500


@dataclass(frozen=True)
class LearnedKinds:
    """`centres` (k, dimensions) are queries that were graded, or the centres of so many clusters of them.

    `width` is the square of the distance over which kinds change. `counts` (k,) says how many outcomes lie nearest to
    each centre, `shared` (k,) and, by model, `own` (k,) are weights over `features`. `before` is what an earlier
    learner had found: what it says is added.
    """

    centres: Floats
    surface_weight: float
    width: float
    counts: Array
    shared: Array
    own: Mapping[str, Array] = field(default_factory=dict)
    before: LearnedKinds | None = None

    @classmethod
    def over(
        cls, located: Floats, weights: Array, *, surface_weight: float, least_width: float, before: LearnedKinds | None
    ) -> LearnedKinds:
        """Nothing learned yet, but centres and counts: of graded queries without repeats, and how much each counts.

        Kinds are at least `least_width` wide, and so wide that a query's third neighbour is near it more often than
        not.
        """
        measured = measurable(located, surface_weight)
        sample = measured[:MAX_SAMPLE]
        width = least_width
        if len(sample) > NEIGHBOUR:
            among = squared_distances(sample, sample)
            third = np.partition(among, NEIGHBOUR, axis=1)[:, NEIGHBOUR]
            width = max(width, 0.5 * float(np.median(third)))
        centres = measured if len(measured) <= MAX_CENTRES else k_means(measured, MAX_CENTRES)
        nearest = squared_distances(measured, centres).argmin(axis=1)
        counts = np.bincount(nearest, weights, len(centres)).astype(float)
        return cls(centres, surface_weight, width, counts, np.zeros(len(centres)), before=before)

    def features(self, located: Floats) -> Array:
        """Shape (n, k): a weight on each, of standard deviation 1, makes a process of standard deviation 1 near the
        centres.
        """
        return np.asarray(self._near(located) @ self._whitening)

    def shifts(self, located: Floats, familiarity: Floats, profiles: Sequence[ModelProfile]) -> Array:
        """What to add to the log-odds of each model, shape (n, models); `familiarity` is that of training."""
        features = self.features(located)
        nothing = np.zeros(len(self.counts))
        own = [self.own.get(p.name, nothing if p.like is None else self.own.get(p.like, nothing)) for p in profiles]
        shared_sd, own_sd = spreads(familiarity)
        found = (features @ self.shared * shared_sd)[:, None] + features @ np.stack(own, axis=1) * own_sd[:, None]
        return found if self.before is None else found + self.before.shifts(located, familiarity, profiles)

    def familiarity(self, located: Floats) -> Floats:
        """How well the queries' kinds are known by now, in [0, 1), shape (n,)."""
        n_near = self._near(located) @ self.counts
        found = np.asarray(n_near / (n_near + HALF_KNOWN), dtype=np.float32)
        if self.before is None:
            return found
        return np.asarray(1.0 - (1.0 - found) * (1.0 - self.before.familiarity(located)), dtype=np.float32)

    def as_arrays(self, depth: int = 0) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads."""
        names = sorted(self.own)
        arrays: dict[str, NDArray[Any]] = {
            "centres": self.centres,
            "shape": np.array([self.surface_weight, self.width]),
            "counts": self.counts,
            "shared": self.shared,
            "own": np.array([self.own[name] for name in names]).reshape(len(names), len(self.counts)),
            "models": np.frombuffer("\n".join(names).encode(), dtype=np.uint8),
        }
        named = {f"kind{depth}_{name}": array for name, array in arrays.items()}
        return named if self.before is None else named | self.before.as_arrays(depth + 1)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], depth: int = 0) -> LearnedKinds | None:
        """What was learned; `None` if nothing was."""
        if f"kind{depth}_counts" not in arrays:
            return None
        centres, shape, counts, shared, own, models = (
            arrays[f"kind{depth}_{name}"] for name in ("centres", "shape", "counts", "shared", "own", "models")
        )
        by_name = dict(zip(bytes(models).decode().split("\n"), own, strict=False))
        before = cls.from_arrays(arrays, depth + 1)
        return cls(centres, float(shape[0]), float(shape[1]), counts, shared, by_name, before)

    @cached_property
    def _whitening(self) -> Array:
        inner = self._likeness(self.centres) + JITTER * np.eye(len(self.centres))
        return np.asarray(np.linalg.inv(np.linalg.cholesky(inner)).T)

    def _near(self, located: Floats) -> Array:
        return self._likeness(measurable(located, self.surface_weight))

    def _likeness(self, measured: Floats) -> Array:
        return np.exp(squared_distances(measured, self.centres).astype(float) / (-2.0 * self.width))


def spreads(familiarity: Floats) -> tuple[Array, Array]:
    """Prior standard deviations of a kind's effect on all models, and of each model's own beside it, shape (n,)."""
    shared = KIND_SD * np.sqrt(1.0 - familiarity.astype(float))
    return shared, np.hypot(FAMILIAR_SD, OWN_SHARE * shared)
