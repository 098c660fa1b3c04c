"""Whether a student still says what its teachers say: a test that may be looked at after every audit, for ever.

Each audit is a bet against "it disagrees on at most `allowed` of its answers": the wealth of the bets stays below
1 / alpha for ever with probability 1 - alpha while that is true (Ville 1939; Waudby-Smith & Ramdas 2023). A change may
come late, after many audits that found nothing and cost the bets their wealth; so new bets begin with every audit, the
one that begins at the t-th with weight 1 / (t (t + 1)) (a mixture over change points; e-detectors, Shin, Ramdas &
Rinaldo 2023). The weights sum to 1, so Ville's bound holds as before.

One label may change its meaning among many that keep theirs: each label has a test of its own beside the common one,
and the mean of both kinds is the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonObject
from orchestrator.router.guarantee.certificate import clopper_pearson_upper

FRACTIONS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
LABEL_DELTA = 0.02
ALPHA = 0.05
WHOLE = ""  # the test of all labels together


@dataclass
class DriftTest:
    """One stream of audits, each a disagreement (1) or not (0).

    Attributes:
        allowed: The share of disagreements that is no drift, in (0, 1).
        audits: How many there were.
        disagreements: How many of them disagreed.
        wealth: One entry a bet.
    """

    allowed: float
    audits: int = 0
    disagreements: int = 0
    wealth: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(FRACTIONS)))

    @property
    def e_value(self) -> float:
        """Evidence of drift; at most 1 in the mean while there is none."""
        return float(self.wealth.mean())

    @property
    def is_alarm(self) -> bool:
        """Whether there is drift, at level 0.05."""
        return self.e_value >= 1.0 / ALPHA

    def observe(self, disagrees: bool) -> None:
        """Takes one audit into account."""
        self.audits += 1
        self.disagreements += disagrees
        factors = 1.0 + FRACTIONS / self.allowed * (float(disagrees) - self.allowed)
        started = 1.0 / (self.audits * (self.audits + 1))
        self.wealth = np.minimum((self.wealth + started) * factors, 1e12)


@dataclass
class DriftMonitor:
    """The tests of one certified student.

    Attributes:
        allowed: Share of disagreements that the promise allows among its answers.
        labels: The same for single labels: what was seen of each when it was certified, with a margin.
        alpha: The chance that the whole student, or ever any of its labels, is stopped without reason.
    """

    allowed: float
    labels: Mapping[str, float]
    alpha: float = ALPHA
    tests: dict[str, DriftTest] = field(default_factory=dict)

    def observe(self, label: str, disagrees: bool) -> None:
        """Takes the audit of one answer into account; `label` is empty for a record, which has none."""
        self.tests.setdefault(WHOLE, DriftTest(self.allowed)).observe(disagrees)
        if label:
            allowed = self.labels.get(label, self.allowed)
            self.tests.setdefault(label, DriftTest(allowed)).observe(disagrees)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the student as a whole no longer keeps its promise."""
        whole = self.tests.get(WHOLE)
        return whole is not None and whole.e_value >= 2.0 / self.alpha

    def drifted_labels(self) -> list[str]:
        """Labels that no longer mean what they meant: the student must not give them."""
        most = 2.0 * max(len(self.labels), 1) / self.alpha
        return sorted(name for name, test in self.tests.items() if name != WHOLE and test.e_value >= most)

    @property
    def is_alarm(self) -> bool:
        """Whether anything drifted."""
        return self.is_withdrawn or bool(self.drifted_labels())

    def as_dict(self) -> JsonObject:
        """As JSON, for who wants to show it."""
        return {
            "withdrawn": self.is_withdrawn,
            "drifted_labels": self.drifted_labels(),
            "audits": self.tests[WHOLE].audits if WHOLE in self.tests else 0,
            "disagreements": self.tests[WHOLE].disagreements if WHOLE in self.tests else 0,
            "allowed": self.allowed,
        }


def allowed_by_label(labels: list[str], agrees: list[bool], allowed: float) -> dict[str, float]:
    """How often each label may disagree before that is drift.

    The exact upper bound of what was seen of its answers, and never less than what the promise allows.
    """
    found = {}
    names = sorted(set(labels))
    for name in names:
        seen = [agreed for label, agreed in zip(labels, agrees, strict=True) if label == name]
        bound = clopper_pearson_upper(len(seen) - sum(seen), len(seen), LABEL_DELTA / len(names))
        found[name] = min(max(bound, allowed), 0.9)
    return found
