"""How long an answer will be.

Log tokens = a model's mean + its slope * what the query's features say, fitted to answers of known length.

What a query says about length is shared by all models (a ridge regression on the mean residual over them); how strongly
a model follows it is its slope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import Array
from orchestrator.router.features.features import Floats
from orchestrator.router.profile import ModelProfile

FEW = 50  # queries with known lengths, below which nothing is fitted
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 1_000.0)
SLOPE_PRIOR = 5.0
LEFT_OUT = 4  # one query in four judges the penalty


@dataclass(frozen=True, slots=True)
class ModelLength:
    """`log_tokens` on an average query, how strongly the query moves it, and the mean of exp(what is left
    unexplained).
    """

    log_tokens: float
    slope: float
    spread: float


@dataclass(frozen=True, slots=True)
class LengthModel:
    """`weights` has shape (dense size,).

    What the features say about log tokens, relative to their mean over the training queries, `mean`.
    """

    weights: Floats
    mean: float
    models: Mapping[str, ModelLength]

    def expected_tokens(self, dense: Floats, familiarity: Floats, profiles: Sequence[ModelProfile]) -> Array:
        """Shape (queries, models).

        A model whose answers were never measured is as long as its profile says, on any query.
        """
        says = (dense @ self.weights - self.mean) * familiarity
        known = [self.models.get(profile.name) for profile in profiles]
        level = np.array(
            [
                p.output_tokens if m is None else np.exp(m.log_tokens) * m.spread
                for m, p in zip(known, profiles, strict=True)
            ]
        )
        slope = np.array([0.0 if m is None else m.slope for m in known])
        return np.asarray(level * np.exp(np.clip(says[:, None] * slope, -2.0, 2.0)), dtype=float)


def fit_lengths(dense: Floats, tokens: Array, models: Sequence[str], *, seed: int = 0) -> LengthModel | None:
    """From `tokens` of shape (queries, models), NaN where unknown; `None` from fewer than 50 queries.

    The penalty is the one under which a quarter of the queries, left out, is predicted best; one that beats the mean is
    kept, else the mean.
    """
    rows = np.flatnonzero(np.isfinite(tokens).any(axis=1))
    columns = [c for c in range(len(models)) if np.isfinite(tokens[:, c]).sum() >= 2]
    if len(rows) < FEW or not columns:
        return None
    x, log_tokens = dense[rows].astype(float), np.log(np.maximum(tokens[rows][:, columns], 1.0))
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    test, rest = np.split(shuffled, [len(rows) // LEFT_OUT])
    losses = {p: _loss(_fit(x[rest], log_tokens[rest], p), x[test], log_tokens[test]) for p in (*PENALTIES, np.inf)}
    weights, mean, level, slope = _fit(x, log_tokens, min(losses, key=lambda p: losses[p]))
    unexplained = log_tokens - _predicted((weights, mean, level, slope), x)
    spread = np.nanmean(np.exp(unexplained), axis=0)
    lines = {models[c]: ModelLength(float(level[i]), float(slope[i]), float(spread[i])) for i, c in enumerate(columns)}
    return LengthModel(weights.astype(np.float32), mean, lines)


_Fit = tuple[Array, float, Array, Array]


def _fit(x: Array, log_tokens: Array, penalty: float) -> _Fit:
    level = np.nanmean(log_tokens, axis=0)
    residual = log_tokens - level
    shared = np.nanmean(residual, axis=1)
    centred = x - x.mean(axis=0)
    if not np.isfinite(penalty):
        return np.zeros(x.shape[1]), 0.0, level, np.ones(len(level))
    weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ shared)
    says = centred @ weights
    seen: NDArray[np.bool_] = np.isfinite(residual)
    moved = np.where(seen, says[:, None] * np.nan_to_num(residual), 0.0).sum(axis=0)
    squared = np.where(seen, says[:, None] ** 2, 0.0).sum(axis=0)
    return weights, float(x.mean(axis=0) @ weights), level, (moved + SLOPE_PRIOR) / (squared + SLOPE_PRIOR)


def _predicted(fit: _Fit, x: Array) -> Array:
    weights, mean, level, slope = fit
    return np.asarray(level + (x @ weights - mean)[:, None] * slope)


def _loss(fit: _Fit, x: Array, log_tokens: Array) -> float:
    return float(np.nanmean((log_tokens - _predicted(fit, x)) ** 2))
