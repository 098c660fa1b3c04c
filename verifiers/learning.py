"""What verdicts are worth, learned from labels or from agreement alone (an `Ensemble`).

With labels, one logistic regression over all verifiers, shrunk towards the cautious ratios, so that verifiers that
repeat each other share what they say. Without labels, two-class Dawid-Skene (1979): verifiers that agree more than
chance explains must be seeing the truth. As in weak supervision (Snorkel, Ratner et al. 2017; Weaver, Saad-Falcon et
al. 2025), but near duplicates share one voice, those that always say the same have none, and the share of right answers
is the caller's to state: it is not to be read from the labels that one tests on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from orchestrator.verifiers.ensemble import CAUTIOUS, LEAST, Ensemble, Evidence
from orchestrator.verifiers.verdict import Verdict

Array = NDArray[np.float64]
PRIOR_SD = 1.0
ROUNDS = 200
ONE_SIDED, SAME = 0.02, 0.95
NONE = Evidence(1.0, 1.0)


def fit_ensemble(
    graded: Sequence[tuple[Sequence[Verdict], bool]], *, log_odds: Sequence[float] | None = None
) -> Ensemble:
    """From verdicts on answers and whether each was right (extra `train`).

    `log_odds` are each answer's of being right before any verdict, in natural logarithms (default: those of all answers
    together). Few labels change little. Raises `ValueError` without any.
    """
    if not graded:
        raise ValueError("no graded verdicts to learn from")
    from scipy.optimize import minimize  # optional and heavy: extra `train`

    names = _names([verdicts for verdicts, _ in graded])
    opines, scores = _matrix([verdicts for verdicts, _ in graded], names)
    right = np.array([ok for _, ok in graded], dtype=float)
    x = np.column_stack([opines, scores * opines])
    known = [CAUTIOUS.get(name, Evidence()) for name in names]
    failed = np.array([math.log(e.failed) if e.failed > LEAST else 0.0 for e in known])
    passed = np.array([math.log(e.passed) for e in known])
    base = float(np.clip(right.mean(), 1 / (len(right) + 2), 1 - 1 / (len(right) + 2)))
    before = math.log(base / (1 - base)) if log_odds is None else np.asarray(log_odds, dtype=float)
    mean = np.concatenate([failed, passed - failed])

    def loss(weights: Array) -> tuple[float, Array]:
        margin = before + x @ weights
        off = (weights - mean) / PRIOR_SD**2
        gradient = x.T @ (1 / (1 + np.exp(-margin)) - right) + off
        return float((np.logaddexp(0, margin) - right * margin).sum() + 0.5 * off @ (weights - mean)), gradient

    found = minimize(loss, mean, jac=True, method="L-BFGS-B").x
    low, high = found[: len(names)], found[: len(names)] + found[len(names) :]
    limit = -math.log(LEAST)
    ratios = zip(
        np.exp(np.clip(high, -limit, limit)).tolist(), np.exp(np.clip(low, -limit, limit)).tolist(), strict=True
    )
    return Ensemble({**CAUTIOUS, **{name: Evidence(*pair) for name, pair in zip(names, ratios, strict=True)}})


def agree_ensemble(verdicts: Sequence[Sequence[Verdict]], *, p_right: float) -> Ensemble:
    """From verdicts alone, and the share of answers that are right, in (0, 1).

    Raises `ValueError` when fewer than three verifiers say different things: two that disagree do not tell which of
    them errs.
    """
    if not 0.0 < p_right < 1.0:
        raise ValueError(f"p_right lies in (0, 1), not {p_right!r}")
    names = _names(verdicts)
    opines, scores = _matrix(verdicts, names)
    passed = (scores >= 0.5).astype(float)
    rates = (passed * opines).sum(axis=0) / np.maximum(opines.sum(axis=0), 1.0)
    telling = [i for i, rate in enumerate(rates) if ONE_SIDED < rate < 1 - ONE_SIDED]
    clusters = _near_duplicates(passed, opines, telling)
    if len(set(clusters.values())) < 3:
        raise ValueError(
            "agreement needs at least three verifiers that say different things; give graded answers to fit_ensemble "
            "instead"
        )
    members = np.array([sum(other == clusters[i] for other in clusters.values()) for i in telling], dtype=float)
    true_positive, false_positive = _dawid_skene(passed[:, telling], opines[:, telling] / members, p_right)
    evidence = dict.fromkeys(names, NONE)
    for i, t, f in zip(telling, true_positive.tolist(), false_positive.tolist(), strict=True):
        evidence[names[i]] = Evidence(t / f, (1 - t) / (1 - f))
    shares = {names[i]: 1.0 / m for i, m in zip(telling, members.tolist(), strict=True)}
    return Ensemble({**CAUTIOUS, **evidence}, shares)


def _dawid_skene(passed: Array, voice: Array, p_right: float) -> tuple[Array, Array]:
    """P(pass | right) and P(pass | wrong) of each verifier, by expectation maximisation from the majority.

    A pass and a failure more are imagined.
    """
    prior = math.log(p_right / (1 - p_right))
    belief = np.clip((voice * passed).sum(axis=1) / np.maximum(voice.sum(axis=1), 1e-9), 0.05, 0.95)
    heard = voice > 0
    for _ in range(ROUNDS):
        right, wrong = belief[:, None] * heard, (1 - belief)[:, None] * heard
        t = ((right * passed).sum(axis=0) + 1) / (right.sum(axis=0) + 2)
        f = ((wrong * passed).sum(axis=0) + 1) / (wrong.sum(axis=0) + 2)
        told = voice * (passed * np.log(t / f) + (1 - passed) * np.log((1 - t) / (1 - f)))
        updated = 1 / (1 + np.exp(-(prior + told.sum(axis=1))))
        if np.abs(updated - belief).max() < 1e-6:
            break
        belief = updated
    return t, f


def _near_duplicates(passed: Array, opines: Array, telling: Sequence[int]) -> dict[int, int]:
    """For each verifier the first one that says the same as it wherever both have an opinion, nearly always."""
    cluster = {i: i for i in telling}
    for a, b in combinations(telling, 2):
        both = (opines[:, a] > 0) & (opines[:, b] > 0)
        if cluster[b] == b and both.sum() >= 20 and (passed[both, a] == passed[both, b]).mean() > SAME:
            cluster[b] = cluster[a]
    return cluster


def _names(verdicts: Sequence[Sequence[Verdict]]) -> list[str]:
    return sorted({v.verifier for row in verdicts for v in row})


def _matrix(verdicts: Sequence[Sequence[Verdict]], names: Sequence[str]) -> tuple[Array, Array]:
    """Whether each verifier had an opinion (1 or 0), and its score; shapes (answers, verifiers)."""
    opines, scores = np.zeros((len(verdicts), len(names))), np.zeros((len(verdicts), len(names)))
    column = {name: i for i, name in enumerate(names)}
    for row, said in enumerate(verdicts):
        for verdict in said:
            if verdict.score is not None:
                opines[row, column[verdict.verifier]] = 1.0
                scores[row, column[verdict.verifier]] = verdict.score
    return opines, scores
