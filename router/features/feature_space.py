"""The feature space.

How a text becomes numbers, fitted once on training queries and saved with the weights that rest on it.

Four blocks: hashed 1-2-grams by inverse document frequency (sparse), and dense: standardised surface features, an
embedding if an encoder is handed in, and soft membership in `domains` (clusters of surface and embedding). Weights on
the memberships are a head for each domain, shrunk to the common one by the ridge penalty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.features.features import SURFACE, Floats, Integers, clean, grams, surface, words_of

SURFACE_CLIP = 3.0
SHARPNESS = 6.0  # of the memberships, per squared distance
SURFACE_IN_DOMAINS = 0.1
LEFT_OUT = 5  # one text in five does not shape the domains, to see how far from them new texts lie


class Encoder(Protocol):
    """Text to vectors, for example `memory.StaticEncoder`: rows of shape (len(texts), dimensions).

    `fingerprint` names the exact encoder.
    """

    @property
    def fingerprint(self) -> str:
        """Names the encoder and its weights."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, shape (texts, dimensions), float32."""


@dataclass(frozen=True, slots=True)
class Scales:
    """Prior standard deviation of a weight in each block, in log-odds for a typical query.

    What the ridge penalty shrinks to zero.
    """

    grams: float = 1.5
    surface: float = 0.1
    embedding: float = 0.5
    domains: float = 1.0


@dataclass(frozen=True, slots=True)
class Points:
    """Queries in the space.

    `offsets`, `indices` (int64) and `values` hold the sparse block by rows, an index as often as its gram occurs; row i
    is the slice from `offsets[i]` to `offsets[i + 1]`. `dense` has shape (n, dense size).

    `familiarity` in (0, 1], shape (n,): 1 where training queries lie, towards 0 far away from all of them.
    """

    offsets: Integers
    indices: Integers
    values: Floats
    dense: Floats
    familiarity: Floats
    n_domains: int

    def __len__(self) -> int:
        return len(self.dense)


class FeatureSpace:
    """Immutable. `fit` learns it from texts alone (no outcomes), so texts without outcomes help, too.

    Its attributes are the learned parameters, kept in one file.
    """

    def __init__(
        self, arrays: dict[str, NDArray[Any]], *, buckets: int, encoder: Encoder | None, scales: Scales
    ) -> None:
        self.buckets = buckets
        self.scales = scales
        self.encoder = encoder
        self.arrays = arrays
        self._idf = arrays["idf"].astype(np.float32)
        self._mean, self._sd = arrays["surface_mean"].astype(np.float32), arrays["surface_sd"].astype(np.float32)
        self._embedding_size = int(arrays["embedding_size"])
        self._embedding_unit = np.float32(arrays["embedding_unit"])
        self._centroids = arrays["centroids"].astype(np.float32)
        # softmax(-SHARPNESS * |x - c|^2) = softmax(x @ pull - push): the point's own length cancels. Here x has the
        # surface first, unscaled.
        metric = np.concatenate(
            (
                np.full(len(SURFACE), SURFACE_IN_DOMAINS, dtype=np.float32),
                np.ones(self._embedding_size, dtype=np.float32),
            )
        )
        centroids = np.roll(self._centroids, len(SURFACE), axis=1)
        self._pull = np.ascontiguousarray((2.0 * SHARPNESS * metric * centroids).T)
        self._push = SHARPNESS * (self._centroids**2).sum(axis=1)
        self._metric = metric**2
        self._dense_scale = np.repeat(
            np.array([scales.surface, scales.embedding, scales.domains], dtype=np.float32),
            [len(SURFACE), self._embedding_size, len(self._centroids)],
        )
        self._slope = 1.0 / self._sd
        self._far = float(arrays["far"])
        if self._mean.shape != (len(SURFACE),):
            message = f"made for {self._mean.shape[0]} surface features, this version has {len(SURFACE)}: train again"
            raise ValueError(message)

    @property
    def dense_size(self) -> int:
        """Number of features that are not hashed words."""
        return len(SURFACE) + self._embedding_size + len(self._centroids)

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        *,
        encoder: Encoder | None = None,
        buckets: int = 1 << 17,
        domains: int = 100,
        scales: Scales | None = None,
        seed: int = 0,
    ) -> FeatureSpace:
        """Learns document frequencies, the scale of the surface features, and at most `domains` domains (one for every
        8 texts).
        """
        found, counts = [], np.zeros(buckets)
        for text in texts:
            words = words_of(cleaned := clean(text))
            found.append(surface(cleaned, words))
            counts[np.unique(grams(words, buckets))] += 1
        raw = np.array(found, dtype=np.float32)
        mean, sd = raw.mean(axis=0), raw.std(axis=0) + 1e-3
        vectors = _embed(encoder, [clean(text) for text in texts])
        arrays: dict[str, NDArray[Any]] = {
            "idf": (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float16),
            "surface_mean": mean,
            "surface_sd": sd,
            "embedding_size": np.array(vectors.shape[1]),
            "embedding_unit": np.array(_unit(vectors)),
        }
        surfaces = _standardised(raw, mean, 1.0 / sd) * np.float32(SURFACE_IN_DOMAINS)
        located = np.concatenate((vectors * arrays["embedding_unit"].astype(np.float32), surfaces), axis=1)
        shuffled = np.random.default_rng(seed).permutation(len(texts))
        left_out, kept = np.split(shuffled, [len(texts) // LEFT_OUT])
        centroids = k_means(located[kept], min(domains, len(texts) // 8), seed=seed)
        arrays["centroids"] = centroids.astype(np.float16)
        arrays["far"] = np.array(_far(located[left_out], centroids))
        return cls(arrays, buckets=buckets, encoder=encoder, scales=scales or Scales())

    def points(self, texts: Sequence[str]) -> Points:
        """The texts in the space, each block scaled by its prior standard deviation."""
        offsets, indices, values, raw = [0], [], [], []
        cleaned = [clean(text) for text in texts]
        for text in cleaned:
            words = words_of(text)
            raw.append(surface(text, words))
            index = grams(words, self.buckets)
            value = self._idf[index]
            value *= self.scales.grams / (math.sqrt(value @ value) or 1.0)
            offsets.append(offsets[-1] + len(index))
            indices.append(index)
            values.append(value)
        dense = np.empty((len(texts), self.dense_size), dtype=np.float32)
        n_surface, n_located = len(SURFACE), len(SURFACE) + self._embedding_size
        located = dense[:, :n_located]
        located[:, :n_surface] = _standardised(
            np.array(raw, dtype=np.float32).reshape(-1, n_surface), self._mean, self._slope
        )
        if self._embedding_size and texts:
            np.multiply(_embed(self.encoder, cleaned), self._embedding_unit, out=located[:, n_surface:])
        familiarity = self._memberships(located, out=dense[:, n_located:])
        dense *= self._dense_scale
        return Points(np.array(offsets), _joined(indices), _joined(values), dense, familiarity, len(self._centroids))

    def _memberships(self, located: Floats, *, out: Floats) -> Floats:
        """Writes the soft memberships to `out` and returns the familiarities."""
        if not len(self._centroids):
            return np.ones(len(located), dtype=np.float32)
        nearness = located @ self._pull
        nearness -= self._push
        highest = nearness.max(axis=1)
        nearest = (located * located) @ self._metric - highest / SHARPNESS
        nearness -= highest[:, None]
        np.exp(nearness, out=out)
        out /= out.sum(axis=1)[:, None]
        return np.asarray(np.minimum(self._far / np.maximum(nearest, 1e-9), 1.0) ** 2, dtype=np.float32)


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
        nearest = _squared_distances(points, centres).argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        counts = np.bincount(nearest, minlength=k)[:, None]
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
    return centres


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0)


def _far(left_out: Floats, centroids: Floats) -> float:
    """The squared distance to the nearest domain beyond which a text counts as unfamiliar.

    Nine in ten of those left out are nearer.
    """
    if len(left_out) < 5 or not len(centroids):
        return float("inf")
    return float(np.quantile(_squared_distances(left_out, centroids).min(axis=1), 0.9)) + 0.02


def _embed(encoder: Encoder | None, cleaned: Sequence[str]) -> Floats:
    if encoder is None or not cleaned:
        return np.zeros((len(cleaned), 0), dtype=np.float32)
    return np.asarray(encoder.encode(cleaned), dtype=np.float32)


def _unit(vectors: Floats) -> float:
    """The factor that gives the differences between these texts' embeddings length 1 on average.

    Texts of one kind are all alike otherwise.
    """
    return (
        float(1.0 / max(np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean()), 1e-6))
        if vectors.size
        else 1.0
    )


def _standardised(raw: Floats, mean: Floats, slope: Floats) -> Floats:
    standard = (raw - mean) * slope
    np.maximum(standard, -SURFACE_CLIP, out=standard)
    np.minimum(standard, SURFACE_CLIP, out=standard)
    return np.asarray(standard)


def _squared_distances(points: Floats, centres: Floats) -> Floats:
    return np.asarray(
        (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1), dtype=np.float32
    )
