"""What outcomes have taught about kinds of query: how far each lies from what was predicted, for all models and each.

A kind is a cluster of the queries that were graded. A router that meets a kind for the first time can only guess how
hard it is; some tens of outcomes of any models say so, and each model's own say where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import Array
from orchestrator.router.features.domains import Domains
from orchestrator.router.features.features import Floats
from orchestrator.router.profile import ModelProfile

HALF_KNOWN = 10.0  # outcomes after which a kind counts as half familiar


@dataclass(frozen=True)
class LearnedKinds:
    """`domains` are those of the feature space and, after them, the learned ones.

    `counts` says how many outcomes each learned kind rests on, `shared` by how many log-odds it lies off for all
    models, both of shape (kinds,); `own` by how many more it does for a model.
    """

    domains: Domains
    counts: Array
    shared: Array
    own: Mapping[str, Array] = field(default_factory=dict)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads, but for the domains of the feature space."""
        names = sorted(self.own)
        return {
            "kind_centroids": self.domains.centroids[len(self.domains) - len(self.counts) :],
            "kind_counts": self.counts,
            "kind_shared": self.shared,
            "kind_own": np.array([self.own[name] for name in names]).reshape(len(names), len(self.counts)),
            "kind_models": np.frombuffer("\n".join(names).encode(), dtype=np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], known: Domains) -> LearnedKinds:
        """The kinds that were learned beside the domains `known`."""
        names = bytes(arrays["kind_models"]).decode().split("\n")
        learned = Domains(arrays["kind_centroids"], known.surface_weight)
        own = dict(zip(names, arrays["kind_own"], strict=False))
        return cls(known.joined(learned), arrays["kind_counts"], arrays["kind_shared"], own)

    def memberships(self, located: Floats) -> Floats:
        """How much each query belongs to each learned kind rather than to another, shape (n, kinds)."""
        everything = np.empty((len(located), len(self.domains)), dtype=np.float32)
        self.domains.memberships(located, out=everything)
        return everything[:, len(self.domains) - len(self.counts) :]

    def shifts(self, memberships: Floats, profiles: Sequence[ModelProfile]) -> Array:
        """What to add to the log-odds of each model, shape (n, models)."""
        nothing = np.zeros(len(self.counts))
        own = [self.own.get(p.name, nothing if p.like is None else self.own.get(p.like, nothing)) for p in profiles]
        return np.asarray(memberships @ (self.shared[:, None] + np.stack(own, axis=1)))

    def familiarity(self, memberships: Floats) -> Floats:
        """How well the queries' kinds are known by now, in [0, 1), shape (n,)."""
        return np.asarray(memberships @ (self.counts / (self.counts + HALF_KNOWN)), dtype=np.float32)
