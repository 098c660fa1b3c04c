"""Combines what lexical and dense search found into one score per record.

Standardised scores are summed (measured better than reciprocal ranks on conversations: 64.5 against 54.1 recall@10), then smoothed over
neighbouring turns, as far as the turns are short enough to need their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
DENSE_WEIGHT = 1.0
LEXICAL_WEIGHT = 0.6
SPEAKER_BOOST = 0.5
SESSION_PRIOR = 0.4
SMOOTHING = (0.3, 0.15)
SHORT_TURN_CHARS, LONG_TURN_CHARS = 160.0, 400.0


def standardise(scores: Scores) -> Scores:
    """(x - mean) / standard deviation; zeros where all scores are equal."""
    spread = float(scores.std()) if len(scores) else 0.0
    return (scores - scores.mean()) / spread if spread > 1e-12 else np.zeros_like(scores)


def smooth_over_neighbours(scores: Scores, sessions: Sequence[str], lengths: Sequence[int]) -> Scores:
    """Adds shares of the scores one and two turns away in the same session.

    The shares fade from full at a median turn of 160 characters to none at 400: neighbours help short chat turns and hurt long ones.
    """
    if len(scores) < 2:
        return scores
    strength = np.clip((LONG_TURN_CHARS - float(np.median(lengths))) / (LONG_TURN_CHARS - SHORT_TURN_CHARS), 0.0, 1.0)
    if strength == 0:
        return scores
    labels = np.unique(np.array(sessions, dtype=object).astype(str), return_inverse=True)[1]
    chatting = np.array([bool(s) for s in sessions])
    out = scores.copy()
    for distance, share in enumerate(SMOOTHING, start=1):
        same = (labels[distance:] == labels[:-distance]) & chatting[distance:]
        out[distance:] += strength * share * np.where(same, scores[:-distance], 0.0)
        out[:-distance] += strength * share * np.where(same, scores[distance:], 0.0)
    return out


def add_session_prior(scores: Scores, sessions: Sequence[str]) -> Scores:
    """Lifts every turn of a session by how good the session's best three turns are: evidence clusters."""
    labels, inverse = np.unique(np.array(sessions, dtype=object).astype(str), return_inverse=True)
    if len(labels) < 2 or len(labels) > len(scores) / 2:
        return scores
    best = np.array([np.sort(scores[inverse == label])[-3:].mean() for label in range(len(labels))])
    return scores + SESSION_PRIOR * standardise(best)[inverse]


def fuse(
    dense: Scores,
    lexical: Scores,
    *,
    sessions: Sequence[str],
    lengths: Sequence[int],
    speaker_match: NDArray[np.bool_] | None = None,
) -> Scores:
    """One score per record from parallel arrays over the records of a scope, in order of insertion. Higher is better."""
    fused = DENSE_WEIGHT * standardise(dense) + LEXICAL_WEIGHT * standardise(lexical)
    if speaker_match is not None and speaker_match.any():
        fused = fused + SPEAKER_BOOST * speaker_match
    fused = smooth_over_neighbours(fused, sessions, lengths)
    return add_session_prior(fused, sessions)
