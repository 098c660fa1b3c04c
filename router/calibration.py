"""Small logistic fits: Platt scaling (1999), and model parameters from few outcomes.

Fitted by Newton's method with a Gaussian prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    """The logistic function, for arrays, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def logit(p: float) -> float:
    """Log-odds of `p`, clipped to [1e-6, 1 - 1e-6]."""
    clipped = min(max(p, 1e-6), 1.0 - 1e-6)
    return float(np.log(clipped / (1.0 - clipped)))


def fit_logistic(
    x: Array,
    y: Array,
    *,
    prior_mean: Array,
    prior_sd: Array,
    offset: Array | float = 0.0,
    weight: Array | float = 1.0,
    steps: int = 50,
) -> Array:
    """Maximum a posteriori coefficients of P(y = 1) = sigmoid(offset + x @ beta), shapes (n, d), (n,), (d,).

    `y` may be graded in [0, 1]; `weight` counts a row as so many. Raises `ValueError` on values that are not finite.
    With no rows it returns the prior mean.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all() and ((y >= 0) & (y <= 1)).all()):
        raise ValueError("outcomes must be finite scores in [0, 1] with finite features")
    beta, precision = prior_mean.astype(float).copy(), 1.0 / prior_sd**2

    def loss(at: Array) -> float:
        margin = offset + x @ at
        return float(
            (weight * (np.logaddexp(0.0, margin) - y * margin)).sum() + 0.5 * precision @ (at - prior_mean) ** 2
        )

    current = loss(beta)
    for _ in range(steps):
        p = sigmoid(offset + x @ beta)
        gradient = x.T @ (weight * (y - p)) - precision * (beta - prior_mean)
        step = _newton_step(x, weight * p * (1 - p), precision, gradient)
        while loss(beta + step) > current and float(np.abs(step).max()) > 1e-9:
            step *= 0.5  # the loss is convex: a full Newton step may overshoot, a short enough one cannot
        beta += step
        current = loss(beta)
        if float(np.abs(step).max()) < 1e-8:
            break
    return beta


def _newton_step(x: Array, curvature: Array, precision: Array, gradient: Array) -> Array:
    """The solution of (x^T C x + P) step = gradient, with diagonal C and P.

    By Woodbury's identity where there are fewer rows than columns: a system of n instead of d unknowns.
    """
    n, d = x.shape
    if n >= d:
        return np.asarray(np.linalg.solve((x * curvature[:, None]).T @ x + np.diag(precision), gradient))
    scaled, root = x / precision, np.sqrt(curvature)
    inner = np.eye(n) + root[:, None] * (scaled @ x.T) * root
    return np.asarray(gradient / precision - scaled.T @ (root * np.linalg.solve(inner, root * (scaled @ gradient))))
