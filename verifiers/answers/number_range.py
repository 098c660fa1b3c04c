"""Checks the last number of an answer against limits."""

from __future__ import annotations

from orchestrator.verifiers.answers.number import find_number
from orchestrator.verifiers.verdict import Verdict


class NumberRangeVerifier:
    """Passes answers whose last number equals a value (to nine digits), or lies within limits."""

    name = "number"

    def __init__(
        self, equals: float | None = None, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        wanted = {"equals": equals, "at_least": at_least, "at_most": at_most}
        self._wanted = {name: value for name, value in wanted.items() if value is not None}

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares the last number of the answer with the limits."""
        found = find_number(candidate)
        if found is None:
            return Verdict(self.name, 0.0, False, "there is no number in it", decisive=True)
        value = float(found)
        holds = {
            "equals": lambda wanted: abs(value - wanted) <= 1e-9 * max(abs(value), abs(wanted), 1.0),
            "at_least": lambda wanted: value >= wanted,
            "at_most": lambda wanted: value <= wanted,
        }
        wrong = [
            f"{value:g}, and {name.replace('_', ' ')} {wanted:g} is asked for"
            for name, wanted in self._wanted.items()
            if not holds[name](wanted)
        ]
        return Verdict(self.name, 0.0 if wrong else 1.0, not wrong, "; ".join(wrong), decisive=True)
