"""Where wrong answers go: into groups by a Chinese restaurant process, within the class of answer that they are of.

See `belief`, which says what classes are and why wrong answers coincide.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.vote_model import VoteModel

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
NODES = 15  # of ease, by quadrature; the node of hopeless questions comes on top
MIN_NEW_SHARE = 1e-3  # that a wrong answer is one not yet seen, where the seen ones seem to be all there are


def wrong_shares(sizes: Array, chance: Array, concentration: Array) -> tuple[Array, Array]:
    """Where a wrong vote goes under each hypothesis (groups..., none), for any number of states at once.

    `sizes` and `chance` have shape (..., groups), `concentration` (...). P(it joins each group) has shape (..., groups,
    groups + 1), P(it is a new one) shape (..., groups + 1). The diagonal of the first means nothing: a vote for the
    group that is right is not wrong.
    """
    concentration = concentration[..., None]
    votes, chances = sizes.sum(axis=-1, keepdims=True), chance.sum(axis=-1, keepdims=True)
    wrong_before = np.concatenate([votes - sizes, votes], axis=-1)
    by_chance = np.concatenate([chances - chance, chances], axis=-1)
    unseen = np.maximum(1.0 - by_chance, MIN_NEW_SHARE)
    before = wrong_before + concentration * (by_chance + unseen)
    joined = (sizes + concentration * chance)[..., None] / before[..., None, :]
    return joined, concentration * unseen / before


def class_shares(sizes: Array, chance: Array, concentration: Array, classes: Indices, n: int) -> tuple[Array, Array]:
    """As `wrong_shares`, within each of `n` classes of answers; `classes` is that of each group, shape (groups,).

    P(a wrong answer of its class joins each group), shape (..., groups, groups + 1), and P(it is a new one of each
    class), shape (..., n, groups + 1).
    """
    if n == 1:
        joined, new = wrong_shares(sizes, chance, concentration)
        return joined, new[..., None, :]
    of_class = np.arange(n)[:, None] == classes
    joined, new = wrong_shares(
        sizes[..., None, :] * of_class, chance[..., None, :] * of_class, concentration[..., None]
    )
    return (joined * of_class[:, :, None]).sum(axis=-3), new


@lru_cache(maxsize=1_024)
def strays(voter: str, model: VoteModel) -> Array:
    """P(a wrong answer of `voter` is of each class), given the class that is right: shape (classes, nodes)."""
    return np.repeat(np.array(model.p_stray(voter)), NODES + 1, axis=1)


@lru_cache(maxsize=64)
def class_masks(n: int) -> Array:
    """Which nodes belong to each of `n` classes, shape (classes, nodes)."""
    return np.repeat(np.eye(n), NODES + 1, axis=1)
