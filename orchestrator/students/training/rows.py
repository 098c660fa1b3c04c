"""What a student learns from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One text with what its teacher said.

    Attributes:
        text: Without the words of the task around it.
        label: The teacher's.
        confidence: P(the label is right), in [0, 1], as the teacher stated it or as search found.
        group: Texts of one group (paraphrases, parts of one document) never stand on both sides of a split; empty for
            a text of its own.
        teacher: Who said it.
        gold: The right label, where it is known.
        is_synthetic: Whether a model wrote the text.
        is_learned: Whether it is trained on. What is not (a label that is probably wrong, a teacher in doubt) still
            counts when agreement is proven: the teacher answers so in use, too.
        corrected: What is learned instead of the label, where that is probably wrong; empty for the label itself.
    """

    text: str
    label: str
    confidence: float = 1.0
    group: str = ""
    teacher: str = ""
    gold: str | None = None
    is_synthetic: bool = False
    is_learned: bool = True
    corrected: str = ""

    @property
    def learned(self) -> str:
        """What a student is taught to say."""
        return self.corrected or self.label


def rows_hash(rows: Iterable[LabelledText]) -> str:
    """Names texts with their labels, in whatever order they come."""
    digest = hashlib.sha256()
    for line in sorted(f"{row.text}\x1f{row.label}\x1f{row.learned}\x1f{row.is_learned}" for row in rows):
        digest.update(line.encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest()[:16]


def assign_folds(
    labels: Sequence[str] | NDArray[np.int64], groups: Sequence[str], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """A fold in [0, n_folds) for each row, shape (n,): labels evenly spread, groups never divided.

    Groups go, in an order that the seed decides, to the fold that has the fewest rows of their most frequent label.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group or f"\x00{row}"].append(row)
    rng = np.random.default_rng(seed)
    folds = np.zeros(len(labels), dtype=np.int64)
    filled: dict[object, NDArray[np.int64]] = defaultdict(lambda: np.zeros(n_folds, dtype=np.int64))
    sizes = np.zeros(n_folds, dtype=np.int64)
    keys = sorted(members)
    for at in rng.permutation(len(keys)):
        rows = members[keys[at]]
        label = labels[rows[0]]
        fold = min(range(n_folds), key=lambda f: (filled[label][f], sizes[f], f))
        folds[rows] = fold
        filled[label][fold] += len(rows)
        sizes[fold] += len(rows)
    return folds
