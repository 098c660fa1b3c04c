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
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.features.domains import SURFACE_WEIGHT, Domains, k_means, measurable, near_and_far
from orchestrator.router.features.features import SURFACE, Floats, Integers, clean, grams, surface, words_of
from orchestrator.router.features.known_words import KnownWords
from orchestrator.text.static_encoder import StaticEncoder

SURFACE_CLIP = 3.0
FADING = 4  # familiarity is the ratio of squared distances to this power
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


class Looks(NamedTuple):
    """What queries look like before anything learned weighs it.

    `words` are those of the `cleaned` texts. `surface` has shape (n, surface features), unscaled; `vectors` (n,
    dimensions) are the encoder's, `None` without one; `located` is where `Domains` sees the queries.
    """

    cleaned: Sequence[str]
    words: Sequence[list[str]]
    surface: Floats
    vectors: Floats | None
    located: Floats

    def of(self, rows: Integers) -> Looks:
        """Of these queries only."""
        if len(rows) == len(self.cleaned):
            return self
        vectors = None if self.vectors is None else self.vectors[rows]
        cleaned, words = [self.cleaned[row] for row in rows], [self.words[row] for row in rows]
        return Looks(cleaned, words, self.surface[rows], vectors, self.located[rows])


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
    looks: Looks

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
        # Files of earlier versions hold neither: theirs was 0.1, and familiarity began to fade where it ends here.
        self.domains = Domains(arrays["centroids"], float(arrays.get("surface_weight", 0.1)))
        self._dense_scale = np.repeat(
            np.array([scales.surface, scales.embedding, scales.domains], dtype=np.float32),
            [len(SURFACE), self._embedding_size, len(self.domains)],
        )
        self._slope = 1.0 / self._sd
        self._near = float(arrays.get("near", arrays["far"]))
        self.kind_width = self._near if self._near < np.inf else 1.0
        self.unfamiliar_below = (self._near / float(arrays["far"])) ** FADING if self._near < np.inf else 0.0
        words = arrays.get("known_words")
        self._known_words = None if words is None else KnownWords.from_arrays(words, arrays["usual_share"])
        if self._mean.shape != (len(SURFACE),):
            message = f"made for {self._mean.shape[0]} surface features, this version has {len(SURFACE)}: train again"
            raise ValueError(message)

    @property
    def dense_size(self) -> int:
        """Number of features that are not hashed words."""
        return len(SURFACE) + self._embedding_size + len(self.domains)

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
        cleaned = [clean(text) for text in texts]
        split = [words_of(text) for text in cleaned]
        for text, words in zip(cleaned, split, strict=True):
            found.append(surface(text, words))
            counts[np.unique(grams(words, buckets))] += 1
        raw = np.array(found, dtype=np.float32)
        mean, sd = raw.mean(axis=0), raw.std(axis=0) + 1e-3
        vectors = embed(encoder, cleaned, [words.plain for words in split])
        arrays: dict[str, NDArray[Any]] = {
            "idf": (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float16),
            "surface_mean": mean,
            "surface_sd": sd,
            "embedding_size": np.array(vectors.shape[1]),
            "embedding_unit": np.array(unit_of(vectors)),
            "surface_weight": np.array(SURFACE_WEIGHT),
        }
        unit = arrays["embedding_unit"].astype(np.float32)
        located = measurable(np.concatenate((standardised(raw, mean, 1.0 / sd), vectors * unit), axis=1))
        shuffled = np.random.default_rng(seed).permutation(len(texts))
        left_out, kept = np.split(shuffled, [len(texts) // LEFT_OUT])
        centroids = k_means(located[kept], min(domains, len(texts) // 8), seed=seed)
        arrays["centroids"] = centroids.astype(np.float16)
        arrays["near"], arrays["far"] = map(np.array, near_and_far(located[left_out], centroids))
        known, unseen = ([split[row].plain for row in rows] for rows in (kept, left_out))
        arrays["known_words"], arrays["usual_share"] = KnownWords.fit(known, unseen).as_arrays()
        return cls(arrays, buckets=buckets, encoder=encoder, scales=scales or Scales())

    def points(self, texts: Sequence[str]) -> Points:
        """The texts in the space, each block scaled by its prior standard deviation."""
        offsets, indices, values, raw = [0], [], [], []
        cleaned = [clean(text) for text in texts]
        split = [words_of(text) for text in cleaned]
        for text, words in zip(cleaned, split, strict=True):
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
        raw_surface = np.array(raw, dtype=np.float32).reshape(-1, n_surface)
        plain = [words.plain for words in split]
        vectors = embed(self.encoder, cleaned, plain) if self._embedding_size else None
        located[:, :n_surface] = standardised(raw_surface, self._mean, self._slope)
        if vectors is not None and texts:
            np.multiply(vectors, self._embedding_unit, out=located[:, n_surface:])
        looks = Looks(cleaned, plain, raw_surface, vectors, located.copy())
        if not len(self.domains):
            familiarity = np.ones(len(texts), dtype=np.float32)
        else:
            distance = self.domains.memberships(located, out=dense[:, n_located:])
            near = [min(self._near / max(d, 1e-9), 1.0) ** FADING for d in distance.tolist()]
            known = [1.0] * len(texts) if self._known_words is None else map(self._known_words.familiarity, plain)
            familiarity = np.array([a * b for a, b in zip(near, known, strict=True)], dtype=np.float32)
        dense *= self._dense_scale
        sparse = np.array(offsets), _joined(indices), _joined(values)
        return Points(*sparse, dense, familiarity, len(self.domains), looks)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0)


def embed(encoder: Encoder | None, cleaned: Sequence[str], words: Sequence[list[str]]) -> Floats:
    """Vectors of cleaned texts and their words, shape (texts, dimensions); without an encoder none of them has any."""
    if encoder is None or not cleaned:
        return np.zeros((len(cleaned), 0), dtype=np.float32)
    if isinstance(encoder, StaticEncoder):
        return encoder.encode_split(cleaned, words)
    return np.asarray(encoder.encode(cleaned), dtype=np.float32)


def unit_of(vectors: Floats) -> float:
    """The factor that gives the differences between these texts' embeddings length 1 on average.

    Texts of one kind are all alike otherwise.
    """
    return (
        float(1.0 / max(np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean()), 1e-6))
        if vectors.size
        else 1.0
    )


def standardised(raw: Floats, mean: Floats, slope: Floats) -> Floats:
    """Surface features in standard deviations from their mean, clipped to 3."""
    standard = (raw - mean) * slope
    np.maximum(standard, -SURFACE_CLIP, out=standard)
    np.minimum(standard, SURFACE_CLIP, out=standard)
    return np.asarray(standard)
