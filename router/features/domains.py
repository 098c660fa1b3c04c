"""Domains: clusters of queries, soft membership in them, and how far a query lies from all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.features.features import SURFACE, Floats

SHARPNESS = 6.0  # of the memberships, per squared distance
SURFACE_WEIGHT = 0.15
NEAR, FAR = 0.75, 0.9  # shares of the texts left out that are nearer than where familiarity begins to fade, and ends


class Domains:
    """Centres in the space of `located` queries: standardised surface features, then the scaled embedding.

    `centroids` has shape (domains, embedding + surface), the embedding first and the surface scaled by
    `surface_weight`. `located @ pull - push`, shape (n, domains), is what the memberships are the softmax of.
    """

    def __init__(self, centroids: Floats, surface_weight: float = SURFACE_WEIGHT) -> None:
        self.surface_weight = surface_weight
        self.centroids = centroids.astype(np.float32)
        n_embedding = max(self.centroids.shape[1] - len(SURFACE), 0)
        # softmax(-SHARPNESS * |x - c|^2) = softmax(x @ pull - push): the point's own length cancels. Here x has the
        # surface first, unscaled.
        metric = np.ones(len(SURFACE) + n_embedding, dtype=np.float32)
        metric[: len(SURFACE)] = surface_weight
        self.pull = np.ascontiguousarray((2.0 * SHARPNESS * metric * np.roll(self.centroids, len(SURFACE), axis=1)).T)
        self.push = SHARPNESS * (self.centroids**2).sum(axis=1)
        self._metric = metric**2

    def __len__(self) -> int:
        return len(self.centroids)

    def memberships(self, located: Floats, *, out: Floats) -> Floats:
        """Writes the soft memberships, shape (n, domains), to `out`; returns squared distances to the nearest, (n,)."""
        nearness = located @ self.pull
        nearness -= self.push
        highest = nearness.max(axis=1)
        nearness -= highest[:, None]
        np.exp(nearness, out=out)
        out /= out.sum(axis=1)[:, None]
        return np.asarray((located * located) @ self._metric - highest / SHARPNESS, dtype=np.float32)

    def joined(self, more: Domains) -> Domains:
        """These domains and, after them, those of `more`."""
        return Domains(np.concatenate((self.centroids, more.centroids)), self.surface_weight)


def measurable(located: Floats, surface_weight: float = SURFACE_WEIGHT) -> Floats:
    """Located queries as distances between them are measured: embedding first, surface scaled."""
    n = len(SURFACE)
    return np.concatenate((located[:, n:], located[:, :n] * np.float32(surface_weight)), axis=1)


def k_means(points: Floats, k: int, *, seed: int = 0, rounds: int = 20, most: int = 6_000) -> Floats:
    """Centres of `k` clusters, shape (k, dimensions), by Lloyd's algorithm from random points.

    Of many points `most` are used.
    """
    rng = np.random.default_rng(seed)
    if k <= 0:
        return np.zeros((0, points.shape[1]), dtype=np.float32)
    points = points[rng.permutation(len(points))[:most]]
    centres = points[:k].copy()
    for _ in range(rounds):
        nearest = squared_distances(points, centres).argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        counts = np.bincount(nearest, minlength=k)[:, None]
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
    return centres


def near_and_far(left_out: Floats, centroids: Floats) -> tuple[float, float]:
    """Squared distances to the nearest domain: where a text begins to count as less familiar, and as unfamiliar.

    Three in four of the texts left out are nearer than the first, nine in ten than the second.
    """
    if len(left_out) < 5 or not len(centroids):
        return float("inf"), float("inf")
    distances = squared_distances(left_out, centroids).min(axis=1)
    near, far = np.quantile(distances, [NEAR, FAR])
    return float(near) + 0.02, float(far) + 0.02


def squared_distances(points: Floats, centres: Floats) -> NDArray[np.float32]:
    """Shape (points, centres)."""
    return np.asarray(
        (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1), dtype=np.float32
    )
