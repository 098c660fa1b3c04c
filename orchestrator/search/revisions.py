"""What a revision is likely to do, learned for each kind of feedback.

With P(fix | wrong) = f and P(break | right) = h a revision of an answer that is right with probability p is worth (1 -
p) f - p h, so that it pays only below f / (f + h). Published logs: with trusted tests 121 answers fixed and 3 broken
(LDB, Zhong et al. 2024); with tests that a model wrote, 17 fixed and 29 broken (Reflexion, Shinn et al. 2023, on MBPP);
with no test 4 fixed and 8 broken. So without outside evidence most are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.verifiers import Verdict, find_json

CRITIQUE = "critique"
MAX_FAULTS, MAX_FAULT_CHARS = 8, 500
STRENGTH = 20.0  # a kind's own outcomes weigh as much as what is known of its like once there are so many


@dataclass(frozen=True, slots=True)
class RevisionOdds:
    """P(fix | wrong) and P(break | right), both in [0, 1]."""

    fixes: float
    breaks: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.fixes <= 1.0 and 0.0 <= self.breaks <= 1.0):
            raise ValueError(f"probabilities lie in [0, 1], not {self.fixes}, {self.breaks}")

    def after(self, p: float) -> float:
        """P(the revision is right) where the draft is with probability `p`."""
        return p * (1.0 - self.breaks) + (1.0 - p) * self.fixes

    @property
    def pays_below(self) -> float:
        """Revising pays for candidates that are believed less than this."""
        return self.fixes / (self.fixes + self.breaks) if self.fixes > 0 else 0.0


TRUSTED = RevisionOdds(0.25, 0.01)  # a decisive check of what an answer says: the caller's tests
FORM = RevisionOdds(0.6, 0.01)  # a decisive check of how it is put
OPINION = RevisionOdds(0.2, 0.27)  # anything else, a critique of an exact answer too
CRITERIA = RevisionOdds(
    0.4, 0.1
)  # a critique of free text by criteria that the caller stated (after Self-Refine, Madaan et al. 2023)
DEBATE = RevisionOdds(0.25, 0.05)
KNOWN: Mapping[str, RevisionOdds] = dict.fromkeys(
    ("json_schema", "call_schema", "call_choice", "regex", "length", "choice"), FORM
)


@dataclass(frozen=True, slots=True)
class Revised:
    """An outcome.

    A revision on feedback of `kind` (the verifier's name, or "critique"), and whether the answer was right before and
    after.
    """

    kind: str
    before: bool
    after: bool
    trusted: bool = False


def fit_revisions(outcomes: Iterable[Revised]) -> Mapping[str, RevisionOdds]:
    """The odds of each kind of feedback that occurs, shrunk towards what is known of trusted and of other feedback."""
    seen: dict[str, list[Revised]] = {}
    for outcome in outcomes:
        seen.setdefault(outcome.kind, []).append(outcome)
    found = {}
    for kind, rows in seen.items():
        like = KNOWN.get(kind, TRUSTED if rows[0].trusted else OPINION)
        wrong, right = [row for row in rows if not row.before], [row for row in rows if row.before]
        fixes = (sum(row.after for row in wrong) + STRENGTH * like.fixes) / (len(wrong) + STRENGTH)
        breaks = (sum(not row.after for row in right) + STRENGTH * like.breaks) / (len(right) + STRENGTH)
        found[kind] = RevisionOdds(fixes, breaks)
    return found


def read_critique(text: str, cost_usd: float = 0.0) -> Verdict:
    """What a critic's reply says: passed when it names no fault.

    Abstains when it does not keep to the form it was asked for.
    """
    try:
        told = find_json(text)
        faults = told["faults"]
    except (ValueError, KeyError, TypeError):
        return Verdict(
            CRITIQUE, None, None, "the critic's reply was not in the form it was asked for", cost_usd=cost_usd
        )
    if not isinstance(faults, list):
        return Verdict(CRITIQUE, None, None, "the critic's reply names no list of faults", cost_usd=cost_usd)
    named = tuple(str(fault)[:MAX_FAULT_CHARS] for fault in faults[:MAX_FAULTS] if str(fault).strip())
    return Verdict(CRITIQUE, 1.0 / (1 + len(named)) if named else 1.0, not named, "; ".join(named), named, cost_usd)
