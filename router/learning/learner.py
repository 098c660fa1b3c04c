"""Learning from outcomes as they come in.

Abilities from the first one, a head of its own once that predicts better on outcomes left out.

Two regressions on top of the trained model, both exact refits of everything seen (so the order of outcomes does not
matter): a model's bias and slope with its old ones as the prior, and, for a model with enough outcomes, a correction
over the dense features of the query. The correction is used only while cross-validation says that it helps by more than
one standard error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import Array, fit_logistic
from orchestrator.router.features.features import Floats
from orchestrator.router.profile import ModelProfile
from orchestrator.router.success import Ability, Heads, Outcome, SuccessModel

LEARNING_SD = (0.7, 0.2)  # how far outcomes may move a model's bias and slope from where they were
HEAD_SDS = (
    0.5,
    2.0,
)  # the same for a correction, per feature, relative to the scales that the features were trained with
FEW_FOR_A_HEAD = 60
REFIT_GROWTH = 1.2  # a head is weighed again when a model's outcomes have grown by a fifth
MAX_OUTCOMES = 4_000  # kept for each model, the newest
FOLDS = 5


class _Graded:
    """One model's outcomes as arrays.

    Ease (n,), the trained head's say (n,), dense features (n, d), score (n,), weight (n,).
    """

    def __init__(self, profile: ModelProfile) -> None:
        self.profile = profile
        self.columns: tuple[Any, ...] = ()
        self.head: Array | None = None
        self.weighed_at = 0

    def add(self, ease: Array, own: Array, dense: Floats, score: Array, weight: Array) -> None:
        new: tuple[Any, ...] = (ease, own, dense, score, weight)
        self.columns = (
            tuple(np.concatenate(pair)[-MAX_OUTCOMES:] for pair in zip(self.columns, new, strict=True))
            if self.columns
            else new
        )

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


class Learner:
    """Gathers outcomes on top of `base` and says what model they give. Not thread-safe."""

    def __init__(self, base: SuccessModel) -> None:
        self._base = base
        self._graded: dict[str, _Graded] = {}
        self.model = base

    @property
    def own_heads(self) -> tuple[str, ...]:
        """The models whose outcomes have earned them a head of their own."""
        return tuple(name for name, graded in self._graded.items() if graded.head is not None)

    def learn(self, outcomes: Iterable[Outcome], profiles: Mapping[str, ModelProfile] | None = None) -> SuccessModel:
        """The success model after these outcomes and all earlier ones, which `model` then holds, too.

        The old abilities are worth about 15 outcomes. Raises `ValueError` on scores outside [0, 1], and then keeps what
        it had.
        """
        by_model: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            outcome.check()
            by_model.setdefault(outcome.model, []).append(outcome)
        if not by_model:
            return self.model
        queries = list(dict.fromkeys(o.query for found in by_model.values() for o in found))
        row_of = {query: row for row, query in enumerate(queries)}
        scores, dense = self._base.scored(queries)
        for name, found in by_model.items():
            profile = (profiles or {}).get(name) or ModelProfile(name)
            graded = self._graded.setdefault(name, _Graded(profile))
            rows = [row_of[o.query] for o in found]
            own = scores[rows, self._base.own_column(profile)]
            graded.add(
                scores[rows, 0],
                own,
                dense[rows],
                np.array([o.score for o in found]),
                np.array([o.weight for o in found]),
            )
        self.model = self._refitted()
        return self.model

    def _refitted(self) -> SuccessModel:
        abilities, heads = dict(self._base.abilities), self._base.heads
        for name, graded in self._graded.items():
            if len(graded) >= max(FEW_FOR_A_HEAD, graded.weighed_at * REFIT_GROWTH) and heads is not None:
                graded.head, graded.weighed_at = _head(graded, self._base), len(graded)
            everything = np.ones(len(graded), dtype=bool)
            bias, slope = _fit(graded, self._base.ability(graded.profile), everything, None, graded.head)
            abilities[name] = Ability(float(bias), float(slope))
        if heads is not None:
            heads = _with_corrections(
                heads, {n: (g.profile, g.head) for n, g in self._graded.items() if g.head is not None}
            )
        return SuccessModel(self._base.space, heads, abilities, self._base.lengths)


def _head(graded: _Graded, base: SuccessModel) -> Array | None:
    """A correction over the dense features, or `None` while it does not predict outcomes left out better than the
    abilities alone.
    """
    ability = base.ability(graded.profile)
    plain = _left_out_losses(graded, ability, None)
    best: tuple[float, float] | None = None
    for sd in HEAD_SDS:
        gained = plain - _left_out_losses(graded, ability, sd)
        if gained.mean() > gained.std(ddof=1) / np.sqrt(len(gained)) and (best is None or gained.mean() > best[0]):
            best = float(gained.mean()), sd
    return None if best is None else _fit(graded, ability, np.ones(len(graded), dtype=bool), best[1])[2:]


def _left_out_losses(graded: _Graded, ability: Ability, head_sd: float | None) -> Array:
    """Log-loss of each outcome under a fit that left its fold out, shape (n,)."""
    ease, own, dense, score, weight = graded.columns
    folds = np.random.default_rng(0).permutation(len(graded)) % FOLDS
    losses = np.empty(len(graded))
    for fold in range(FOLDS):
        out = folds == fold
        beta = _fit(graded, ability, ~out, head_sd)
        margin = own[out] + beta[0] + beta[1] * ease[out]
        if head_sd is not None:
            margin += dense[out] @ beta[2:]
        losses[out] = weight[out] * (np.logaddexp(0, margin) - score[out] * margin)
    return losses


def _fit(
    graded: _Graded, prior: Ability, rows: NDArray[np.bool_], head_sd: float | None, correction: Array | None = None
) -> Array:
    """Bias, slope and, with a `head_sd`, a weight for each dense feature, from the outcomes in `rows`."""
    ease, own, dense, score, weight = graded.columns
    n_head = 0 if head_sd is None else dense.shape[1]
    x = np.column_stack([np.ones(rows.sum()), ease[rows], dense[rows][:, :n_head]])
    offset = own[rows] if correction is None else own[rows] + dense[rows] @ correction
    mean = np.concatenate([[prior.bias, prior.slope], np.zeros(n_head)])
    sd = np.concatenate([LEARNING_SD, np.full(n_head, head_sd or 1.0)])
    return fit_logistic(x, score[rows], prior_mean=mean, prior_sd=sd, offset=offset, weight=weight[rows])


def _with_corrections(heads: Heads, corrections: Mapping[str, tuple[ModelProfile, Array]]) -> Heads:
    """The heads with a column for each corrected model: its own or the one that it borrowed, plus the correction."""
    for name, (profile, correction) in corrections.items():
        borrowed = next((heads.models.index(n) for n in (name, profile.like) if n in heads.models), None)
        sparse = (
            heads.sparse[:, borrowed + 1] if borrowed is not None else np.zeros(len(heads.sparse), dtype=np.float32)
        )
        dense = heads.dense[:, borrowed + 1] if borrowed is not None else np.zeros(len(heads.dense), dtype=np.float32)
        corrected = (dense + correction).astype(np.float32)
        if name in heads.models:
            column = heads.models.index(name) + 1
            heads = replace(
                heads, dense=np.column_stack([heads.dense[:, :column], corrected, heads.dense[:, column + 1 :]])
            )
        else:
            heads = Heads(
                np.column_stack([heads.sparse, sparse]),
                np.column_stack([heads.dense, corrected]),
                (*heads.models, name),
                heads.mean_ease,
            )
    return heads
