"""Trains a success model from graded outcomes (extra `train`). `train(outcomes, encoder=...)` is the whole of it.

One convex problem (hierarchical logistic regression): a shared ease and, for each model, a bias and a head of its own
that is shrunk towards zero. How strongly each block of features is to be shrunk is not known, so fits under several
shrinkages are averaged: log-odds are linear in the weights, and the mean is one set of weights. From few labels those
are taken whose mean predicts queries left out best (ensemble selection, Caruana et al. 2004), from many all of them.
One slope and a bias for each model, fitted to predictions on queries left out (Platt scaling), calibrate the result.
Outcomes of several data sets differ by more than their queries say (how they were asked and graded): each set has an
effect of its own, which ends up in the domains that its queries lie in, and public scores anchor the models' biases.
`orchestrator.router.learning.shipped` makes the shipped model of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from orchestrator.router.calibration import Array, fit_logistic, sigmoid
from orchestrator.router.difficulty import stated_difficulty
from orchestrator.router.features.feature_space import Encoder, FeatureSpace, Points, Scales
from orchestrator.router.features.features import SURFACE, Integers
from orchestrator.router.heads import Ability, Heads
from orchestrator.router.learning.table import Table
from orchestrator.router.length import fit_lengths
from orchestrator.router.outcome import Outcome, query_hashes
from orchestrator.router.success import SuccessModel

BIAS_PRECISION = 0.01
ANCHOR_PRECISION = 25.0  # of a bias around the log-odds of the model's public score
GROUP_PRECISION = 1.0  # of a data set's effect around that of the reference
OWN_GROUP_PRECISION = 4.0  # of its effect on one model, beside that on all
SLOPE_SD = 0.3
FOLDS = 3
FEW, MOST = 2_000, 6_000  # up to FEW queries: cross-validation; above: a third of at most MOST is left out once
ROUNDS = 8  # of ensemble selection
UNIT = Scales(1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """Prior standard deviations by block, and those of a model's own head relative to the shared ones."""

    scales: Scales
    own: float


SHRINKAGES = (
    Shrinkage(Scales(0.1, 0.02, 0.1, 0.2), 0.5),  # for queries whose text says next to nothing about who is right
    Shrinkage(Scales(0.3, 0.07, 0.35, 0.7), 0.5),
    Shrinkage(Scales(1.0, 0.07, 0.35, 0.7), 0.5),
    Shrinkage(Scales(1.5, 0.1, 0.5, 1.0), 0.7),
    Shrinkage(Scales(1.5, 0.1, 0.5, 1.0), 1.0),
    Shrinkage(Scales(0.5, 0.1, 0.3, 0.3), 1.0),
)


def train(
    outcomes: Sequence[Outcome],
    *,
    encoder: Encoder | None = None,
    unlabelled: Sequence[str] = (),
    buckets: int = 1 << 17,
    domains: int = 100,
    seed: int = 0,
    skills: Mapping[str, float] | None = None,
    reference: str = "",
) -> SuccessModel:
    """A success model for every model in `outcomes`; missing, repeated and graded outcomes are fine.

    `unlabelled` queries help to find the domains. `skills` are public scores in (0, 1) of models on the data set
    `reference`; with them an average query is one of that set. Takes `buckets` x (models + 1) x 4 bytes. Raises
    `ValueError`.
    """
    table = Table.of(outcomes, skills, reference)
    texts = [*table.queries, *unlabelled]
    unit = FeatureSpace.fit(texts, encoder=encoder, buckets=buckets, domains=domains, scales=UNIT, seed=seed)
    points = unit.points(table.queries)
    chosen, left_out = _choose(points, table, buckets, seed)
    everything = np.arange(len(table.queries))
    fits = {shrinkage: _fit(points, table, everything, shrinkage, buckets) for shrinkage in set(chosen)}
    fitted = _averaged([fits[shrinkage] for shrinkage in chosen], chosen, points)
    heads, abilities = _calibrated(fitted, left_out, table)
    unit.arrays["trained_on"] = query_hashes(table.queries)
    space = FeatureSpace(unit.arrays, buckets=buckets, encoder=encoder, scales=chosen[0].scales)
    lengths = fit_lengths(points.dense * _dense_scales(points, chosen[0].scales), table.tokens, table.models, seed=seed)
    prior = stated_difficulty()
    if prior is not None and not skills:
        heads = replace(heads, prior_ease=float(prior.ease(points.looks, encoder).mean()))
    return SuccessModel(space, heads, abilities, lengths, prior=prior)


@dataclass(frozen=True, slots=True)
class _Fitted:
    heads: Heads
    bias: Array


class _LeftOut(NamedTuple):
    """Predictions for queries that the fit had not seen: rows of the table, ease, own head and bias.

    Shapes (n,), (n,), (n, models), (n, models).
    """

    rows: Integers
    ease: Array
    own: Array
    bias: Array


def _choose(points: Points, table: Table, buckets: int, seed: int) -> tuple[list[Shrinkage], _LeftOut]:
    """The shrinkages to average (one may stand there several times), and their mean prediction for queries left out.

    Log-loss tells well how hard queries are, and hardly which model they are harder for. From many labels that is left
    to the mean of all.
    """
    n = len(table.queries)
    picked = np.random.default_rng(seed).permutation(n)[:MOST]
    if n < 2 * FOLDS:
        return [SHRINKAGES[1]], _LeftOut(
            np.zeros(0, dtype=int), np.zeros(0), np.zeros((0, len(table.models))), np.zeros((0, len(table.models)))
        )
    tried = []
    for shrinkage in SHRINKAGES:
        parts = []
        for fold in range(FOLDS if n <= FEW else 1):
            test, rest = picked[fold::FOLDS], np.delete(picked, np.s_[fold::FOLDS])
            parts.append(_scores(_fit(points, table, rest, shrinkage, buckets), points, test, shrinkage))
        tried.append(_LeftOut(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))))
    if n > FEW:
        return list(SHRINKAGES), _mean(tried)
    chosen: list[int] = []
    for _ in range(ROUNDS):
        losses = [_loss(_mean([tried[i] for i in (*chosen, more)]), table) for more in range(len(tried))]
        chosen.append(int(np.argmin(losses)))
    return [SHRINKAGES[i] for i in chosen], _mean([tried[i] for i in chosen])


def _mean(parts: Sequence[_LeftOut]) -> _LeftOut:
    return _LeftOut(parts[0].rows, *(np.mean(arrays, axis=0) for arrays in list(zip(*parts, strict=True))[1:]))


def _loss(left_out: _LeftOut, table: Table) -> float:
    margin = left_out.bias + left_out.ease[:, None] + left_out.own
    return float((table.weight[left_out.rows] * (np.logaddexp(0, margin) - table.score[left_out.rows] * margin)).sum())


def _averaged(fits: Sequence[_Fitted], chosen: Sequence[Shrinkage], points: Points) -> _Fitted:
    """One set of weights, over the features as `chosen[0]` scales them, whose log-odds are the mean of those of
    `fits`.
    """
    reference, dense_reference = chosen[0].scales, _dense_scales(points, chosen[0].scales)
    sparse = [f.heads.sparse * np.float32(s.scales.grams / reference.grams) for f, s in zip(fits, chosen, strict=True)]
    dense = [
        f.heads.dense * (_dense_scales(points, s.scales) / dense_reference)[:, None]
        for f, s in zip(fits, chosen, strict=True)
    ]
    mean_ease = float(np.mean([f.heads.mean_ease for f in fits]))
    factors = [s.scales.domains / reference.domains for s in chosen]
    effects = np.mean([f.heads.effects * x for f, x in zip(fits, factors, strict=True)], axis=0)
    heads = Heads(np.mean(sparse, axis=0), np.mean(dense, axis=0), fits[0].heads.models, mean_ease)
    if effects.any():
        heads = replace(heads, effects=effects)
    return _Fitted(heads, np.mean([f.bias for f in fits], axis=0))


def _calibrated(fitted: _Fitted, left_out: _LeftOut, table: Table) -> tuple[Heads, dict[str, Ability]]:
    """Heads and abilities whose predictions fit the outcomes left out.

    A slope for ease and one for all own heads, a bias for each model.

    Where heads say nothing that holds, their slope goes towards 0. Slopes for each model would calibrate a little
    better and rank the gain between them worse.
    """
    rows, columns = np.nonzero(table.weight[left_out.rows] > 0)
    n_models = len(table.models)
    x = np.zeros((len(rows), n_models + 2))
    x[np.arange(len(rows)), columns] = 1.0
    x[:, -2], x[:, -1] = left_out.ease[rows], left_out.own[rows, columns]
    at = left_out.rows[rows], columns
    prior_mean, prior_sd = np.append(fitted.bias, [1.0, 1.0]), np.append(np.full(n_models, 0.5), [SLOPE_SD, SLOPE_SD])
    *biases, ease, own = fit_logistic(
        x, table.score[at], prior_mean=prior_mean, prior_sd=prior_sd, weight=table.weight[at]
    ).tolist()
    scale = np.append(np.float32(1.0), np.full(n_models, own, dtype=np.float32))
    heads = replace(fitted.heads, sparse=fitted.heads.sparse * scale, dense=fitted.heads.dense * scale)
    if len(heads.effects):
        heads = replace(heads, effects=heads.effects * scale)
    return heads, {name: Ability(bias, ease) for name, bias in zip(table.models, biases, strict=True)}


def _scores(fitted: _Fitted, points: Points, rows: Integers, shrinkage: Shrinkage) -> _LeftOut:
    sparse, dense = _design(points, rows, fitted.heads.sparse.shape[0], shrinkage.scales)
    scores = sparse @ fitted.heads.sparse + dense @ fitted.heads.dense
    if len(fitted.heads.effects):
        scores += dense[:, -points.n_domains :] @ fitted.heads.effects
    bias = np.broadcast_to(fitted.bias, (len(rows), len(fitted.bias)))
    return _LeftOut(rows, scores[:, 0] - fitted.heads.mean_ease, scores[:, 1:], bias)


def _fit(points: Points, table: Table, rows: Integers, shrinkage: Shrinkage, buckets: int) -> _Fitted:
    """Maximum a posteriori weights from the queries in `rows`, by L-BFGS."""
    from scipy.optimize import minimize  # optional and heavy: extra `train`

    sparse, dense = _design(points, rows, buckets, shrinkage.scales)
    active = np.unique(sparse.indices)
    sparse = sparse[:, active]
    transposed = sparse.T.tocsr()
    score, weight = table.score[rows].astype(np.float32), table.weight[rows].astype(np.float32)
    n_sparse, size, n_models = len(active), len(active) + dense.shape[1], len(table.models)
    groups, is_anchored = table.groups[rows], np.isfinite(table.anchors)
    anchors, precision = np.nan_to_num(table.anchors), np.where(is_anchored, ANCHOR_PRECISION, BIAS_PRECISION)
    n_groups = int(table.groups.max()) + 1 if table.groups.any() else 0

    def unpack(parameters: Array) -> tuple[Array, Array, Array, Array]:
        shared, own, bias, effects = np.split(parameters, np.cumsum([size, size * n_models, n_models]))
        return shared, own.reshape(size, n_models), bias, effects.reshape(n_groups, n_models + 1)

    # A data set's effect on all models, of which the reference has none, and on each of them.
    effect_precision = np.full((n_groups, n_models + 1), OWN_GROUP_PRECISION)
    effect_precision[:, 0] = GROUP_PRECISION
    effect_precision[:1, 0] = 1e6
    is_in = np.equal.outer(np.arange(n_groups), groups).astype(np.float32)

    def loss(parameters: Array) -> tuple[float, Array]:
        shared, own, bias, effects = unpack(parameters)
        weights = (shared[:, None] + shrinkage.own * own).astype(np.float32)
        margin = sparse @ weights[:n_sparse] + dense @ weights[n_sparse:] + bias
        margin += is_in.T @ (effects[:, :1] + effects[:, 1:])
        value = (weight * (np.logaddexp(0.0, margin) - score * margin)).sum(dtype=float)
        value += 0.5 * (shared @ shared + (own * own).sum() + precision @ (bias - anchors) ** 2)
        value += 0.5 * (effect_precision * effects**2).sum()
        error = weight * (sigmoid(margin) - score)
        gradient = np.vstack([transposed @ error, dense.T @ error])
        pulled = is_in @ error
        parts = (
            gradient.sum(axis=1) + shared,
            (shrinkage.own * gradient + own).ravel(),
            error.sum(axis=0) + precision * (bias - anchors),
            (np.column_stack([pulled.sum(axis=1), pulled]) + effect_precision * effects).ravel(),
        )
        return float(value), np.concatenate(parts).astype(float)

    start = np.concatenate((np.zeros(size * (n_models + 1)), anchors, np.zeros(n_groups * (n_models + 1))))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150, "ftol": 1e-6})
    shared, own, bias, effects = unpack(found.x)
    n_domains = points.n_domains
    by_domain = _by_domain(is_in.T @ effects, dense[:, -n_domains:]) if n_groups and n_domains else np.zeros((0, 0))
    both = np.column_stack([shared, shrinkage.own * own]).astype(np.float32)
    spread = np.zeros((buckets, n_models + 1), dtype=np.float32)
    spread[active] = both[:n_sparse]
    ease = sparse @ both[:n_sparse, 0] + dense @ both[n_sparse:, 0]
    mean_ease = 0.0 if is_anchored.any() else float(ease.mean())
    heads = Heads(spread, both[n_sparse:], table.models, mean_ease, effects=by_domain.astype(np.float32))
    return _Fitted(heads, bias + mean_ease)


def _by_domain(effects: Array, memberships: Any) -> Array:
    """The mean effects of the queries in each domain, as weights on the (scaled) membership in it, shape (domains,
    effects).
    """
    scale = float(memberships[0].sum()) or 1.0  # memberships sum to 1 before they are scaled
    held = memberships.sum(axis=0)
    return np.asarray((memberships.T @ effects) / np.maximum(held, 1e-6)[:, None] / scale, dtype=float)


def _design(points: Points, rows: Integers, buckets: int, scales: Scales) -> tuple[Any, Any]:
    """Scaled features of the queries in `rows` (of points at unit scale).

    A sparse matrix (n, buckets) and a dense one.
    """
    from scipy import sparse  # optional and heavy: extra `train`

    matrix = sparse.csr_matrix(
        (points.values * np.float32(scales.grams), points.indices, points.offsets), shape=(len(points), buckets)
    )
    matrix.sum_duplicates()
    return matrix[rows], points.dense[rows] * _dense_scales(points, scales)


def _dense_scales(points: Points, scales: Scales) -> Any:
    n_domains = points.n_domains
    n_embedding = points.dense.shape[1] - len(SURFACE) - n_domains
    sizes = ((len(SURFACE), scales.surface), (n_embedding, scales.embedding), (n_domains, scales.domains))
    return np.concatenate([np.full(size, scale, dtype=np.float32) for size, scale in sizes])
