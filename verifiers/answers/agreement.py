"""Agreement between independent drafts, found from their final answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.verifiers.answers.choice import offered_choices
from orchestrator.verifiers.answers.equivalence import canonical_form, compare
from orchestrator.verifiers.answers.reading import Reading, is_free_text, read_answer
from orchestrator.verifiers.answers.sameness import Sameness
from orchestrator.verifiers.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Groups:
    """Answers to one question, grouped.

    `keys` has a key for each answer, equal for the same answers; `None` for what is no answer. Keys that begin with
    `text#` are those of running text, which only its copies equal. `doubts` are pairs of keys that may be the same or
    not.
    """

    keys: tuple[str | None, ...]
    doubts: frozenset[frozenset[str]]


def group_answers(readings: Sequence[Reading], query: str = "") -> Groups:
    """Groups answers that are the same for sure.

    An answer joins the first group that holds one equal to it and none that differs from it.
    """
    members: dict[str, list[Reading]] = {}
    keys: list[str | None] = []
    doubts: set[frozenset[str]] = set()
    for index, reading in enumerate(readings):
        if not isinstance(reading, Reading):
            raise TypeError("group_answers takes what read_answer gives; for texts there is group_equivalent")
        if reading.value is None:
            keys.append(None)
            continue
        unknown: set[str] = set()
        joined = None
        for key, group in members.items():
            verdict = _compared_with(reading, group, query)
            if verdict == "same":
                joined = key
                break
            if verdict == "unknown":
                unknown.add(key)
        if joined is None:
            joined = _new_key(reading, members, index, query)
            members[joined] = []
            doubts |= {frozenset((joined, key)) for key in unknown}
        members[joined].append(reading)
        keys.append(joined)
    return Groups(tuple(keys), frozenset(doubts))


def group_equivalent(answers: Sequence[str], query: str = "") -> list[list[int]]:
    """Indices of `answers` grouped by the same final answer, largest group first (ties: earliest first).

    What is no answer is left out.
    """
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(group_answers([read_answer(text, query) for text in answers], query).keys):
        if key is not None:
            groups.setdefault(key, []).append(index)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def _compared_with(reading: Reading, group: Sequence[Reading], query: str) -> Sameness:
    found = {compare(reading, member, query).verdict for member in group}
    if "same" in found:
        return "unknown" if "different" in found else "same"
    return "unknown" if "unknown" in found else "different"


def _new_key(reading: Reading, taken: dict[str, list[Reading]], index: int, query: str) -> str:
    """What was said, in its kind's form; an option tells of how many it is one (`choice:B of 4`)."""
    if is_free_text(reading):
        return f"text#{index}"
    form = canonical_form(reading)
    key = f"{form.kind}:{form.key}"
    if form.kind == "choice" and (offered := offered_choices(query)):
        key = f"{key} of {len(offered)}"
    return key if key not in taken else f"{key}#{index}"


class Agreement:
    """Scores a candidate by the share of other drafts that give the same final answer.

    Abstains without other drafts.
    """

    name = "agreement"

    def __init__(self, others: Sequence[str]) -> None:
        self._others = tuple(others)

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Scores an answer by the share of the others that say the same."""
        own = read_answer(candidate, query)
        others = [reading for text in self._others if (reading := read_answer(text, query)).value is not None]
        if not others or own.value is None:
            return Verdict.abstain(
                self.name, "no other draft to compare with" if not others else f"it is no answer ({own.non_answer})"
            )
        found = [compare(own, other, query) for other in others]
        known = [each for each in found if each.verdict != "unknown"]
        if not known:
            return Verdict.abstain(self.name, f"the drafts cannot be compared ({found[0].reason})")
        same = sum(known)
        share = same / len(known)
        feedback = "" if share >= 0.5 else f"{len(known) - same} of {len(known)} other drafts give another answer"
        return Verdict(self.name, share, share >= 0.5, feedback, (f"{same} of {len(known)} agree",))
