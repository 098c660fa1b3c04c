"""What the next model will cost, by how long the drafts so far are.

Long drafts come of questions that need long answers.

The logarithm of how much longer a draft is than its model's usual ones has two parts, one of the question and one of
the draft, both normal. `sharing` is the question's share of the variance (the intraclass correlation; Shrout & Fleiss
1979), so that after k drafts the question's part is expected to be k sharing / (1 + (k - 1) sharing) times their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.search.vote_table import VoteTable

STEP = 0.2  # of the logarithm of the factor: like questions are decided alike
MOST = 1.5


def length_factor(log_ratios: Sequence[float], sharing: float) -> float:
    """How many times its usual length the next draft is expected to have, between 0.2 and 5.

    `log_ratios` are the logarithms of each draft's length over its model's usual one.
    """
    k = len(log_ratios)
    if k == 0 or sharing == 0.0:
        return 1.0
    mean = sum(min(max(ratio, -MOST), MOST) for ratio in log_ratios) / k
    return math.exp(round(k * sharing / (1.0 + (k - 1.0) * sharing) * mean / STEP) * STEP)


def fit_sharing(table: VoteTable) -> float:
    """The share that questions have in how long answers are, in [0, 0.95], by what answers cost."""
    usual = table.mean_usd > 0
    if usual.sum() < 2 or len(table) < 2:
        return 0.0
    ratios = np.clip(np.log(np.maximum(table.usd[:, usual] / table.mean_usd[usual], 1e-9)), -MOST, MOST)
    ratios -= ratios.mean(axis=0)
    sums, squares = ratios.sum(axis=1), (ratios**2).sum(axis=1)
    models = ratios.shape[1]
    between = float(((sums**2) - squares).sum()) / (models * (models - 1))
    within = float(squares.sum()) / models
    return float(np.clip(between / within, 0.0, 0.95)) if within > 0 else 0.0
