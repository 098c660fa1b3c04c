"""What a router says of a kind of query that it was never trained on: each recorded data set left out in turn.

Called by `benchmarks.routing`, part `zero_shot`. Models that only the set left out knows are judged by their public
MMLU score, as a user's would be. `base_log_loss` says of every query each model's share of right answers on the other
sets (else that score); `hindsight_log_loss` the share on the very set, which nobody can know before. `unfamiliar` is
the share of the set's queries that are called so, `known_unfamiliar` that of queries of known sets that were left out
of training. `after_50` is the calibration error once 50 graded answers were learned, mean of five draws.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.router import Learner, ModelProfile, SuccessModel
from orchestrator.router.learning.evaluate import expected_calibration_error
from orchestrator.router.learning.shipped import REFERENCE, SKILLS, load_outcomes
from orchestrator.router.learning.table import DomainOutcome
from orchestrator.router.learning.train import train
from orchestrator.text.static_encoder import static_encoder

SETS = ("mmlu", "gsm8k", "crux", "mmlupro", "tools")
BUCKETS = 1 << 14
LEARNED, DRAWS = 50, 5
Array = np.ndarray[Any, np.dtype[np.float64]]


def left_out_sets(data: Path, *, sets: Sequence[str] = SETS, most: int | None = None) -> dict[str, dict[str, float]]:
    """The figures of each set; `most` queries a set are trained on (for tests)."""
    outcomes = _some(load_outcomes(data), most)
    found = {}
    for left_out in sets:
        found[left_out] = _figures(outcomes, left_out)
        print(f"  zero_shot {left_out}: {found[left_out]}", file=sys.stderr)
    return found


def _some(outcomes: list[DomainOutcome], most: int | None) -> list[DomainOutcome]:
    if most is None:
        return outcomes
    by_set: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        by_set.setdefault(outcome.domain, {})[outcome.query] = None
    rng = np.random.default_rng(0)
    kept = {query for queries in by_set.values() for query in rng.permutation(list(queries))[:most].tolist()}
    return [outcome for outcome in outcomes if outcome.query in kept]


def _figures(outcomes: list[DomainOutcome], left_out: str) -> dict[str, float]:
    theirs = [o for o in outcomes if o.domain == left_out]
    queries = list(dict.fromkeys(o.query for o in theirs))
    strange = set(queries)
    others = list(dict.fromkeys(o.query for o in outcomes if o.query not in strange))
    held_out = set(np.random.default_rng(0).permutation(others)[: len(others) // 10].tolist())
    known = [o for o in outcomes if o.query not in strange and o.query not in held_out]
    settings: Any = {"skills": SKILLS, "reference": REFERENCE, "buckets": BUCKETS}
    model = train(known, encoder=static_encoder(), **settings)
    names = sorted({o.model for o in theirs})
    profiles = [ModelProfile(name, skill=SKILLS[name]) for name in names]
    truth = np.full((len(queries), len(names)), np.nan)
    row_of, column_of = ({value: i for i, value in enumerate(values)} for values in (queries, names))
    for outcome in theirs:
        truth[row_of[outcome.query], column_of[outcome.model]] = outcome.score
    is_graded = ~np.isnan(truth)
    assessed = model.assess(queries, profiles)
    base = [_mean_score(known, name) for name in names]
    p, y = assessed.p_success[is_graded], truth[is_graded]
    errors = [_after(model, theirs, queries, profiles, truth, draw) for draw in range(DRAWS)]
    return {
        "log_loss": _log_loss(p, y),
        "base_log_loss": _log_loss(np.broadcast_to(base, truth.shape)[is_graded], y),
        "ece": round(expected_calibration_error(p, y), 4),
        "auc": round(float(np.mean([_auc(assessed.p_success[:, c], truth[:, c]) for c in range(len(names))])), 4),
        "hindsight_log_loss": _log_loss(np.broadcast_to(np.nanmean(truth, axis=0), truth.shape)[is_graded], y),
        "mean_p": round(float(p.mean()), 4),
        "right": round(float(y.mean()), 4),
        "after_50": round(float(np.mean(errors)), 4),
        "unfamiliar": round(float(assessed.unfamiliar.mean()), 4),
        "known_unfamiliar": round(float(model.assess(sorted(held_out), profiles[:1]).unfamiliar.mean()), 4),
    }


def _mean_score(outcomes: list[DomainOutcome], name: str) -> float:
    scores = [o.score for o in outcomes if o.model == name]
    return float(np.mean(scores)) if scores else SKILLS[name]


def _after(
    model: SuccessModel,
    outcomes: list[DomainOutcome],
    queries: list[str],
    profiles: list[ModelProfile],
    truth: Array,
    seed: int,
) -> float:
    """The calibration error on all other answers after 50 graded ones, drawn at random."""
    drawn = np.random.default_rng(seed).permutation(len(outcomes))[:LEARNED]
    graded = [outcomes[i] for i in drawn]
    learned = Learner(model).learn(graded, {profile.name: profile for profile in profiles})
    seen = {o.query for o in graded}
    rows = [row for row, query in enumerate(queries) if query not in seen]
    p = learned.predict_many([queries[row] for row in rows], profiles)
    y = truth[rows]
    return expected_calibration_error(p[~np.isnan(y)], y[~np.isnan(y)])


def _auc(p: Array, y: Array) -> float:
    from sklearn.metrics import roc_auc_score

    known = ~np.isnan(y)
    return float(roc_auc_score(y[known], p[known]))


def _log_loss(p: Array, y: Array) -> float:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return round(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), 4)
