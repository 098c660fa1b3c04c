"""How hard a query looks that is unlike all that was graded: a prior, STATED by kinds of query and not measured.

Where no outcomes say anything, the kind of a query still does: small talk is easy, an olympiad problem is not. The
kinds and the shares of right answers that are stated for them stand in `learning/kinds.txt`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import logit
from orchestrator.router.features.domains import Domains
from orchestrator.router.features.feature_space import Encoder, Looks, embed, standardised
from orchestrator.router.features.features import Floats
from orchestrator.text.static_encoder import static_encoder
from orchestrator.text.word_vectors import WORD_VECTORS

SHIPPED = Path(__file__).parent / "pretrained" / "difficulty.npz"
ORDINARY = 0.8  # the stated shares are those of a model that is right on this share of MMLU; so is `ModelProfile.skill`


class DifficultyPrior:
    """Immutable. `weights`: an intercept, then one for each surface feature, embedding dimension and domain."""

    def __init__(self, arrays: dict[str, NDArray[Any]], weights: Floats, encoder: Encoder) -> None:
        self._encoder = encoder
        self._arrays = arrays
        self._mean, sd = arrays["surface_mean"].astype(np.float32), arrays["surface_sd"].astype(np.float32)
        self._slope = 1.0 / sd
        domains = Domains(arrays["centroids"], float(arrays["surface_weight"]))
        self._push = domains.push
        self._weights = weights
        self._intercept = float(weights[0]) - logit(ORDINARY)
        n_located = len(weights) - 1 - len(domains)
        of_located, self._domain_weights = np.split(weights[1:], [n_located])
        # One product tells of the domains and, in its last column, what surface and embedding say by themselves.
        self._weighing = np.column_stack([domains.pull, of_located]).astype(np.float32)
        self._weighing[len(self._mean) :] *= np.float32(arrays["embedding_unit"])

    @classmethod
    def load(cls, path: Path, encoder: Encoder) -> DifficultyPrior:
        """Reads what `save` wrote; never unpickles. Raises `ValueError` if it was fitted with another encoder."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        fitted_with = bytes(arrays.pop("encoder")).decode("ascii")
        if fitted_with != encoder.fingerprint:
            raise ValueError(f"{path}: fitted with encoder {fitted_with!r}, {encoder.fingerprint!r} was given")
        return cls(arrays, arrays.pop("weights").astype(np.float32), encoder)

    def save(self, path: Path) -> None:
        """Writes one file."""
        kept = ("surface_mean", "surface_sd", "embedding_unit", "centroids", "surface_weight")
        arrays: dict[str, Any] = {name: self._arrays[name] for name in kept}
        fingerprint = np.frombuffer(self._encoder.fingerprint.encode("ascii"), dtype=np.uint8)
        np.savez_compressed(path, **arrays, weights=self._weights.astype(np.float16), encoder=fingerprint)

    def ease(self, looks: Looks, encoder: Encoder | None) -> Floats:
        """How easy the queries look, in log-odds, shape (n,); 0 is an exam question as MMLU asks it, negative harder.

        `encoder` is the one that made `looks.vectors`; another than the prior's own makes it encode the texts.
        """
        vectors = looks.vectors
        if vectors is None or encoder is None or encoder.fingerprint != self._encoder.fingerprint:
            vectors = embed(self._encoder, looks.cleaned, looks.words)
        seen = np.concatenate((standardised(looks.surface, self._mean, self._slope), vectors), axis=1)
        weighed = seen @ self._weighing
        nearness = weighed[:, :-1] - self._push
        nearness -= nearness.max(axis=1)[:, None]
        np.exp(nearness, out=nearness)
        by_domain = (nearness @ self._domain_weights) / nearness.sum(axis=1)
        return np.asarray(weighed[:, -1] + by_domain + self._intercept)


@lru_cache(maxsize=1)
def stated_difficulty() -> DifficultyPrior | None:
    """The shipped prior, read once a process; `None` where the encoder's weights were left out of the installation."""
    return DifficultyPrior.load(SHIPPED, static_encoder()) if SHIPPED.exists() and WORD_VECTORS.exists() else None
