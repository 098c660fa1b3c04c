"""Agreement between independent drafts, found from their final answers."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.equivalence import canonical_answer
from verifiers.verdict import Verdict


def group_equivalent(answers: Sequence[str], query: str = "") -> list[list[int]]:
    """Indices of `answers` grouped by the same final answer, largest group first (ties: earliest first). Empty answers are left out."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, text in enumerate(answers):
        answer = canonical_answer(text, query)
        if answer.kind != "empty":
            groups.setdefault((answer.kind, answer.key), []).append(index)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


class Agreement:
    """Scores a candidate by the share of other drafts that give the same final answer; abstains without other drafts."""

    name = "agreement"

    def __init__(self, others: Sequence[str]) -> None:
        self._others = tuple(others)

    async def verify(self, query: str, candidate: str) -> Verdict:
        own = canonical_answer(candidate, query)
        keys = [(a.kind, a.key) for a in (canonical_answer(text, query) for text in self._others) if a.kind != "empty"]
        if not keys or own.kind == "empty":
            return Verdict.abstain(self.name, "no other draft to compare with" if not keys else "the answer is empty")
        same = sum(key == (own.kind, own.key) for key in keys)
        share = same / len(keys)
        feedback = "" if share >= 0.5 else f"{len(keys) - same} of {len(keys)} other drafts give another answer"
        return Verdict(self.name, share, share >= 0.5, feedback, (f"{same} of {len(keys)} agree",))
