"""Learning from outcomes as they come in.

Abilities and kinds of query from the first one, a head of its own once that predicts better on outcomes left out.

Regressions on top of the trained model, all exact refits of everything seen (so the order of outcomes does not matter):
how far each kind of query lies from what was predicted of it, for all models; a model's bias, slope and own share in
the kinds, with its old abilities as the prior; and, for a model with enough outcomes, a correction over the dense
features of the query. The correction is used only while cross-validation says that it helps by more than one standard
error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.assessment import Scored, certainty
from orchestrator.router.calibration import Array, fit_logistic
from orchestrator.router.features.features import Floats
from orchestrator.router.heads import Ability, Heads
from orchestrator.router.learned_kinds import LearnedKinds, spreads
from orchestrator.router.outcome import Outcome, query_hashes
from orchestrator.router.profile import ModelProfile
from orchestrator.router.success import SuccessModel

LEARNING_SD = (0.7, 0.2)  # how far outcomes may move a model's bias and slope from where they were
HEAD_SDS = (
    0.5,
    2.0,
)  # the same for a correction, per feature, relative to the scales that the features were trained with
FEW_FOR_A_HEAD = 40
ROUNDS = 2  # of fitting kinds and models in turn
REFIT_GROWTH = 1.2  # a head is weighed again when a model's outcomes have grown by a fifth
MAX_OUTCOMES = 4_000  # kept for each model, the newest
FOLDS = 5


class _Rows(NamedTuple):
    """A model's outcomes as arrays.

    Familiarity of the queries (n,), what the base multiplies log-odds with (n,), ease (n,), what the trained head says
    and earlier learners found (n,), dense features (n, d), where the queries are (n, located), their hashes (n,), score
    (n,), weight (n,).
    """

    familiarity: Floats
    sure: Array
    ease: Array
    own: Array
    dense: Floats
    located: Floats
    hashes: NDArray[np.uint64]
    score: Array
    weight: Array

    def at(self, rows: NDArray[Any]) -> _Rows:
        """These of the outcomes."""
        columns: tuple[NDArray[Any], ...] = self
        return _Rows(*(column[rows] for column in columns))

    def and_then(self, more: _Rows) -> _Rows:
        """These and the outcomes of `more`; of too many the newest."""
        columns: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(self, more, strict=True))
        return _Rows(*(np.concatenate(pair)[-MAX_OUTCOMES:] for pair in columns))


class _Graded:
    """One model's outcomes, what they gave, and features of its queries' kinds: for all models, and for this one."""

    def __init__(self, profile: ModelProfile, rows: _Rows) -> None:
        self.profile = profile
        self.rows = rows
        self.shared_kinds: Array = np.zeros((len(rows.score), 0))
        self.own_kinds: Array = np.zeros((len(rows.score), 0))
        self.head: Array | None = None
        self.weighed_at = 0

    def see(self, kinds: LearnedKinds | None) -> None:
        """Works out the features of the queries' kinds."""
        features = np.zeros((len(self), 0)) if kinds is None else kinds.features(self.rows.located)
        shared_sd, own_sd = spreads(self.rows.familiarity)
        self.shared_kinds, self.own_kinds = features * shared_sd[:, None], features * own_sd[:, None]

    def __len__(self) -> int:
        return len(self.rows.score)


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
        scored, hashes = self._base.scored(queries), query_hashes(queries)
        for name, found in by_model.items():
            profile = (profiles or {}).get(name) or ModelProfile(name)
            at = np.array([row_of[o.query] for o in found])
            before = _found_before(self._base, scored, profile)
            new = _rows(scored, at, self._base.own_column(profile), before, hashes[at], found)
            if name in self._graded:
                self._graded[name].rows = self._graded[name].rows.and_then(new)
            else:
                self._graded[name] = _Graded(profile, new)
        self.model = self._refitted()
        return self.model

    def _refitted(self) -> SuccessModel:
        base, everyone = self._base, list(self._graded.values())
        kinds = _learned_kinds(base, everyone)
        for graded in everyone:
            graded.see(kinds)
            if len(graded) >= max(FEW_FOR_A_HEAD, graded.weighed_at * REFIT_GROWTH) and base.heads is not None:
                graded.head, graded.weighed_at = _head(graded, base), len(graded)
        n_kinds = 0 if kinds is None else len(kinds.counts)
        shared = np.zeros(n_kinds)
        prior = {name: base.ability(graded.profile) for name, graded in self._graded.items()}
        fitted = {name: np.array([a.bias, a.slope, *np.zeros(n_kinds)]) for name, a in prior.items()}
        for _ in range(ROUNDS if kinds else 1):
            shared = _shared_shifts(everyone, list(fitted.values())) if kinds else shared
            for name, graded in self._graded.items():
                fitted[name] = _fit(graded, prior[name], np.ones(len(graded), dtype=bool), shared=shared)
        abilities = base.abilities | {name: Ability(float(beta[0]), float(beta[1])) for name, beta in fitted.items()}
        heads = base.heads
        if heads is not None:
            heads = _with_corrections(
                heads, {n: (g.profile, g.head) for n, g in self._graded.items() if g.head is not None}
            )
        if kinds:
            kinds = replace(kinds, shared=shared, own={name: beta[2:] for name, beta in fitted.items()})
        return SuccessModel(base.space, heads, abilities, base.lengths, prior=base.prior, kinds=kinds or base.kinds)


def _found_before(base: SuccessModel, scored: Scored, profile: ModelProfile) -> Array:
    """What earlier learners found of the queries' kinds, as log-odds of this model, shape (n,)."""
    if base.kinds is None:
        return np.zeros(len(scored.familiarity))
    return np.asarray(base.kinds.shifts(scored.located, scored.familiarity, [profile])[:, 0])


def _rows(
    scored: Scored,
    at: NDArray[np.int64],
    own_column: int,
    before: Array,
    hashes: NDArray[np.uint64],
    outcomes: list[Outcome],
) -> _Rows:
    sure = certainty(scored.familiarity)
    return _Rows(
        scored.familiarity[at],
        sure[at],
        scored.scores[at, 0],
        scored.scores[at, own_column] + before[at] / sure[at],  # with what earlier learners found of the kind
        scored.dense[at],
        scored.located[at],
        hashes,
        np.array([o.score for o in outcomes]),
        np.array([o.weight for o in outcomes]),
    )


def _learned_kinds(base: SuccessModel, everyone: list[_Graded]) -> LearnedKinds | None:
    """The kinds of the queries that were graded, before anything is known of their effects."""
    located = np.concatenate([graded.rows.located for graded in everyone])
    if base.space is None or not located.shape[1]:
        return None
    hashes = np.concatenate([graded.rows.hashes for graded in everyone])
    weights = np.concatenate([graded.rows.weight for graded in everyone])
    # Sorted by hash: the order in which outcomes came does not matter.
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    domains = base.space.domains
    return LearnedKinds.over(
        located[first],
        np.bincount(which, weights).astype(float),
        surface_weight=domains.surface_weight,
        least_width=base.space.kind_width,
        before=base.kinds,
    )


def _shared_shifts(everyone: list[_Graded], fitted: list[Array]) -> Array:
    """The weights of what all models share, given what is believed of each."""
    offset = np.concatenate(
        [
            _offset(graded) + graded.rows.sure * (beta[0] + beta[1] * graded.rows.ease) + graded.own_kinds @ beta[2:]
            for graded, beta in zip(everyone, fitted, strict=True)
        ]
    )
    x = np.concatenate([graded.shared_kinds for graded in everyone])
    score = np.concatenate([graded.rows.score for graded in everyone])
    weight = np.concatenate([graded.rows.weight for graded in everyone])
    n = x.shape[1]
    return fit_logistic(x, score, prior_mean=np.zeros(n), prior_sd=np.ones(n), offset=offset, weight=weight)


def _offset(graded: _Graded) -> Array:
    rows = graded.rows
    own = rows.own if graded.head is None else rows.own + rows.dense @ graded.head
    return np.asarray(rows.sure * own)


def _head(graded: _Graded, base: SuccessModel) -> Array | None:
    """A correction over the dense features, or `None` while it does not predict outcomes left out better than the
    abilities alone.
    """
    ability = base.ability(graded.profile)
    graded.head = None
    plain = _left_out_losses(graded, ability, None)
    best: tuple[float, float] | None = None
    for sd in HEAD_SDS:
        gained = plain - _left_out_losses(graded, ability, sd)
        if gained.mean() > gained.std(ddof=1) / np.sqrt(len(gained)) and (best is None or gained.mean() > best[0]):
            best = float(gained.mean()), sd
    return None if best is None else _fit(graded, ability, np.ones(len(graded), dtype=bool), head_sd=best[1])[2:]


def _left_out_losses(graded: _Graded, ability: Ability, head_sd: float | None) -> Array:
    """Log-loss of each outcome under a fit that left its fold out, shape (n,)."""
    rows = graded.rows
    folds = np.random.default_rng(0).permutation(len(graded)) % FOLDS
    losses = np.empty(len(graded))
    for fold in range(FOLDS):
        out = folds == fold
        beta = _fit(graded, ability, ~out, head_sd=head_sd)
        margin = rows.own[out] + beta[0] + beta[1] * rows.ease[out]
        if head_sd is not None:
            margin += rows.dense[out] @ beta[2:]
        margin *= rows.sure[out]
        losses[out] = rows.weight[out] * (np.logaddexp(0, margin) - rows.score[out] * margin)
    return losses


def _fit(
    graded: _Graded,
    prior: Ability,
    rows: NDArray[np.bool_],
    *,
    head_sd: float | None = None,
    shared: Array | None = None,
) -> Array:
    """Bias, slope and, with a `head_sd`, a weight for each dense feature, or a shift for each kind beside the `shared`
    ones, from the outcomes in `rows`.
    """
    known = graded.rows.at(rows)
    x = np.column_stack([known.sure, known.sure * known.ease])
    sd, offset = np.array(LEARNING_SD), _offset(graded)[rows]
    if head_sd is not None:
        x = np.column_stack([x, known.dense * known.sure[:, None]])
        sd = np.append(sd, np.full(known.dense.shape[1], head_sd))
    if shared is not None:
        own_kinds = graded.own_kinds[rows]
        x, sd = np.column_stack([x, own_kinds]), np.append(sd, np.ones(own_kinds.shape[1]))
        offset = offset + graded.shared_kinds[rows] @ shared
    mean = np.concatenate([[prior.bias, prior.slope], np.zeros(len(sd) - 2)])
    return fit_logistic(x, known.score, prior_mean=mean, prior_sd=sd, offset=offset, weight=known.weight)


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
            heads = replace(
                heads,
                sparse=np.column_stack([heads.sparse, sparse]),
                dense=np.column_stack([heads.dense, corrected]),
                models=(*heads.models, name),
            )
    return heads
