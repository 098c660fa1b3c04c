"""Several verdicts as one likelihood ratio, P(verdicts | correct) / P(verdicts | wrong).

Cautious until learned (see `orchestrator.verifiers.learning`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.jsontypes import JsonObject
from orchestrator.verifiers.verdict import Verdict

LEAST = 1e-3  # no ratio that is not decisive is further from 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """The likelihood ratio of a verdict with score 1 (`passed`) and with score 0 (`failed`), both positive.

    Scores between are read geometrically.
    """

    passed: float = 2.5
    failed: float = 0.4

    def __post_init__(self) -> None:
        if not (0 < self.passed < math.inf and 0 < self.failed < math.inf):
            raise ValueError(f"likelihood ratios are positive numbers, not {self.passed}, {self.failed}")

    def log_ratio(self, score: float) -> float:
        """The log likelihood ratio of a score, interpolated between failed and passed."""
        return math.log(self.failed) + (math.log(self.passed) - math.log(self.failed)) * score


# Until outcomes say otherwise. Of programs that pass the tests at hand, 13-20 % are wrong (published logs of LDB, Zhong
# et al. 2024).
CAUTIOUS: Mapping[str, Evidence] = {
    "grounding": Evidence(2.0, 0.4),
    "json_schema": Evidence(1.1, LEAST),
    "regex": Evidence(1.1, LEAST),
    "length": Evidence(1.0, LEAST),
    "choice": Evidence(50.0, LEAST),
    "numeric": Evidence(50.0, LEAST),
    "mathematics": Evidence(50.0, LEAST),
    "unit_tests": Evidence(6.0, LEAST),
    "generated_tests": Evidence(2.0, 0.7),
    "personal_data": Evidence(1.0, 0.8),
    "safety": Evidence(1.0, 0.8),
    "language": Evidence(1.0, 0.5),
    "call_schema": Evidence(1.05, LEAST),
    "call_choice": Evidence(1.0, LEAST),
    "call_arguments": Evidence(1.5, 0.2),
    "call_coverage": Evidence(1.3, 0.4),
    "call_fit": Evidence(1.6, 0.5),
    "no_call_fit": Evidence(1.3, 0.4),
    "critique": Evidence(1.3, 0.7),
    "comparison": Evidence(1.5, 0.67),  # in each of both orders
}


@dataclass(frozen=True)
class Ensemble:
    """What each verifier's verdicts are worth, by its name.

    `share` is how much of its voice one has that others repeat.
    """

    evidence: Mapping[str, Evidence] = field(default_factory=lambda: dict(CAUTIOUS))
    share: Mapping[str, float] = field(default_factory=dict)

    def ratio(self, verdicts: Sequence[Verdict]) -> float:
        """0 after a decisive failure; 1 when all abstain."""
        if any(verdict.decisive and verdict.passed is False for verdict in verdicts):
            return 0.0
        told = (
            self.share.get(v.verifier, 1.0) * self.evidence.get(v.verifier, Evidence()).log_ratio(v.score)
            for v in verdicts
            if v.score is not None
        )
        return math.exp(sum(told))

    def as_dict(self) -> JsonObject:
        """The weights as JSON values."""
        return {name: [e.passed, e.failed, self.share.get(name, 1.0)] for name, e in sorted(self.evidence.items())}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[float]]) -> Ensemble:
        """What `as_dict` gave. Raises `ValueError` on ratios that are none."""
        return cls(
            {name: Evidence(row[0], row[1]) for name, row in stored.items()},
            {name: row[2] for name, row in stored.items()},
        )
