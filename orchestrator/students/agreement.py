"""The promise of a student, and its proof: where it answers, it agrees with its teachers in at least so many of cases.

Learn-then-Test (Angelopoulos et al. 2021) with fixed-sequence testing: thresholds on the acceptor's score are tried
from strict to lenient, each with an exact binomial test (Clopper & Pearson 1934) of the answers that it would let
through, and the walk ends at the first that cannot be proven. So a certified threshold breaks the promise with
probability at most delta over the labels that it was proven on. The walk does not begin at the very top: the best few
answers are too few to prove anything, and would end it before it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log, log1p
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.guarantee.certificate import clopper_pearson_upper

Against = Literal["teacher", "gold"]
STEP = 0.025
WALKS = ((0.4, 0.95), (0.15, 0.05))
"""Where a walk begins (as a share of the labels), and its share of delta: a bold one, and one for what is hard."""
FIRST_REFIT = 0.9
MAX_LABELS = 100_000


@dataclass(frozen=True, slots=True)
class AgreementPromise:
    """Of the answers that a student gives, at least `agreement` are its teacher's, with probability `confidence`.

    Both lie strictly between 0 and 1; the probability is over the labels on which it is proven. `against` says whose
    labels they are: the teacher's, or known right ones.
    """

    agreement: float = 0.95
    confidence: float = 0.9
    against: Against = "teacher"

    def __post_init__(self) -> None:
        if not 0.0 < self.agreement < 1.0 or not 0.0 < self.confidence < 1.0:
            raise ValueError(
                "agreement and confidence must lie strictly between 0 and 1, not "
                f"{self.agreement!r}, {self.confidence!r}"
            )

    @property
    def delta(self) -> float:
        """How improbable a broken promise may be: 1 - confidence."""
        return 1.0 - self.confidence


@dataclass(frozen=True, slots=True)
class AgreementCertificate:
    """What was proven. An answer is given when its score is at least `threshold`.

    Attributes:
        threshold: Of the acceptor's score, in [0, 1].
        coverage: The share of the labelled texts that score so high.
        disagreement: How many of those the student got otherwise than the label, as a share.
        bound: The exact upper confidence bound of that share.
        labels: How many labels it was proven on.
        refit: The how-manieth student of this task it is, from 1.
        delta: What part of the promise's delta this proof spent.
        promise: What was promised.
    """

    threshold: float
    coverage: float
    disagreement: float
    bound: float
    labels: int
    refit: int
    delta: float
    promise: AgreementPromise


@dataclass(frozen=True, slots=True)
class NoAgreement:
    """Nothing can be promised. `labels_needed` is about how many would be enough (`None`: no number would)."""

    reason: str
    labels: int
    labels_needed: int | None


def certify_agreement(
    scores: NDArray[np.float64], agrees: NDArray[np.bool_], promise: AgreementPromise, *, refit: int = 1
) -> AgreementCertificate | NoAgreement:
    """The lowest threshold that can be proven.

    Args:
        scores: The acceptor's score of each labelled text, shape (n,); no score may rest on the label of its own text.
        agrees: Whether the student says what the label says, shape (n,).
        promise: What is to be proven.
        refit: The how-manieth student of this task it is: all proofs together spend the promise's delta once.
    """
    n, delta = len(scores), promise.delta * refit_share(refit)
    order = np.argsort(-scores, kind="stable")
    failures = np.cumsum(~agrees[order]) if n else np.zeros(0, dtype=int)
    found = None
    for start, share in WALKS:
        for cut in _counts(n, start):
            # What scores like the last text of the cut is let through with it, so the walk stops behind all of them.
            count = int(np.searchsorted(-scores[order], -scores[order[cut - 1]], side="right"))
            wrong = int(failures[count - 1])
            bound = clopper_pearson_upper(wrong, count, delta * share)
            if bound > 1.0 - promise.agreement:
                break
            found = (float(scores[order[count - 1]]), wrong, count, bound)
        if found is not None:
            break
    if found is None:
        return _refused(scores, agrees, promise, delta)
    threshold, _, _, bound = found
    given = scores >= threshold
    return AgreementCertificate(
        threshold, float(given.mean()), float((~agrees[given]).mean()), bound, n, refit, delta, promise
    )


def refit_share(refit: int) -> float:
    """The share of delta that the k-th proof may spend: 0.9 for the first, then 0.1 / (k (k - 1)); in all 1."""
    if refit < 1:
        raise ValueError(f"refits are counted from 1, not {refit!r}")
    return FIRST_REFIT if refit == 1 else (1.0 - FIRST_REFIT) / (refit * (refit - 1))


def _counts(n: int, start: float) -> Iterator[int]:
    """How many of the surest texts each threshold of a walk lets through."""
    seen = 0
    for share in np.arange(start, 1.0 + STEP / 2, STEP):
        count = min(round(float(share) * n), n)
        if count > seen:
            yield count
            seen = count


def _refused(
    scores: NDArray[np.float64], agrees: NDArray[np.bool_], promise: AgreementPromise, delta: float
) -> NoAgreement:
    """Why not, and what is missing."""
    n, allowed = len(scores), 1.0 - promise.agreement
    least = ceil(log(delta * WALKS[0][1]) / log1p(-allowed) / WALKS[0][0])
    if n < least:
        return NoAgreement(
            f"{n} labels are too few: even without any disagreement {least} are needed to prove an agreement of "
            f"{promise.agreement:g} with confidence {promise.confidence:g}",
            n,
            least,
        )
    best = np.argsort(-scores, kind="stable")[: round(WALKS[0][0] * n)]
    observed = float((~agrees[best]).mean())
    bound = clopper_pearson_upper(round(observed * len(best)), len(best), delta * WALKS[0][1])
    reason = (
        f"of the surest {WALKS[0][0]:.0%} of {n} labelled texts the student disagrees on {observed:.1%}, which may be "
        f"as many as {bound:.1%} of such texts, and {allowed:.1%} are allowed"
    )
    return NoAgreement(reason, n, _labels_needed(observed, allowed, delta, n))


def _labels_needed(observed: float, allowed: float, delta: float, n: int) -> int | None:
    """About how many labels would prove the first threshold if it stays as good as it was seen to be."""
    if observed >= allowed:
        return None
    while n <= MAX_LABELS:
        count = round(WALKS[0][0] * n)
        if clopper_pearson_upper(round(observed * count), count, delta * WALKS[0][1]) <= allowed:
            return n
        n = int(1.2 * n) + 1
    return None
