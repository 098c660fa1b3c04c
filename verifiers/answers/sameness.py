"""Same, different or unknown."""

from __future__ import annotations

from typing import Literal

Cause = Literal["", "rounding", "unit"]
Sameness = Literal["same", "different", "unknown"]


class Equivalence(int):
    """Whether two answers are the same: `verdict` is "same", "different" or "unknown", `reason` says why in words.

    `cause` says so to programs where it matters: equal only when rounded, or a unit that only one of them has.

    It is true (and 1) only where they are the same for sure, so that it can be counted and tested like the yes or no
    that it was before.
    """

    verdict: Sameness
    reason: str
    cause: Cause

    def __new__(cls, verdict: Sameness, reason: str = "", cause: Cause = "") -> Equivalence:
        """The truth value is whether the verdict is "same"."""
        made = super().__new__(cls, verdict == "same")
        made.verdict, made.reason, made.cause = verdict, reason, cause
        return made

    def __repr__(self) -> str:
        return f"Equivalence({self.verdict!r}, {self.reason!r})"

    __str__ = __repr__
