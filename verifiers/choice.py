"""Multiple choice: which options a question offers and which one an answer picks."""

from __future__ import annotations

import re

from verifiers.verdict import Verdict

# Blanks inside a line only, and not too many: `\s*` after `^`, or twice in a row, takes quadratic time on runs of white space.
_OPTION_LINE = re.compile(r"^[^\S\n]{0,40}\(?([A-J])[).:]\s{1,40}\S", re.MULTILINE)
_PICK = (
    re.compile(r"\b(?:answer|option|choice)\s{0,20}(?:is|:|=)?\s{0,20}\*{0,3}\(?([A-J])\b\)?(?!['’])", re.IGNORECASE),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-J])\)?\}?\s*\}"),
    re.compile(r"^[^\S\n]{0,40}\*{0,3}\(?([A-J])\)?\*{0,3}[^\S\n]{0,40}(?:[).:,-]|$)", re.MULTILINE),
)


def offered_choices(question: str) -> tuple[str, ...]:
    """The option letters that a question lists on lines of their own (`A. ...`, `(B) ...`), or () if it is not multiple choice.

    Letters must start at A and run without a gap, and there must be at least two.
    """
    letters = tuple(dict.fromkeys(_OPTION_LINE.findall(question)))
    return letters if len(letters) >= 2 and letters == tuple("ABCDEFGHIJ"[: len(letters)]) else ()


def find_choice(answer: str) -> str | None:
    """The option letter that an answer commits to (the last one stated), or `None`."""
    for pattern in _PICK:
        found: list[str] = pattern.findall(answer)
        if found:
            return found[-1].upper()
    return None


class ChoiceVerifier:
    """Fails an answer that picks none of the offered options (or, with `expected`, another than the right one)."""

    name = "choice"

    def __init__(self, expected: str | None = None) -> None:
        self._expected = expected.strip().upper() if expected else None

    async def verify(self, query: str, candidate: str) -> Verdict:
        offered = offered_choices(query)
        if not offered and self._expected is None:
            return Verdict.abstain(self.name, "the question offers no lettered options")
        picked = find_choice(candidate)
        if picked is None or (offered and picked not in offered):
            return Verdict(self.name, 0.0, False, f"answer with one of {', '.join(offered or ('A-J',))}", decisive=True)
        if self._expected is None:
            return Verdict.abstain(self.name, f"{picked} is one of the options")
        passed = picked == self._expected
        return Verdict(self.name, float(passed), passed, "" if passed else f"picked {picked}", (picked,), decisive=True)
