"""Is an answer equal to a known expression?

Our own reader first, then math-verify and SymPy where they are installed (extra `math`).

Ours is exact where both sides are rational, and says so where it cannot tell; only then is SymPy asked. It runs in a
process of its own: simplifying may take for ever, and math-verify's own timeouts work in the main thread only. What it
calls different is believed of LaTeX alone, because plain text (`pi/2`, `0 < x < 3`) is often misread there.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from importlib.util import find_spec

from orchestrator.verifiers.answers.equivalence import compare
from orchestrator.verifiers.answers.final_answer import find_statement
from orchestrator.verifiers.answers.latex import plain_of_latex
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.reading import Reading, read_answer
from orchestrator.verifiers.answers.value_types import Expression, Hints, Quantity, Words
from orchestrator.verifiers.answers.values import prepared, read_value
from orchestrator.verifiers.process import Helper, HelperLate
from orchestrator.verifiers.verdict import Verdict

TIMEOUT_S = 5.0
_NOT_TO_SYMPY = Pattern(r"\d_\{?\d|\\circ|°|\\sum|\\int|\\mathbb|\\mid|\\overline|:")  # which it misreads
MAX_CHARS = 2_000


class MathematicsVerifier:
    r"""Passes answers whose final expression equals `expected` (LaTeX or plain).

    `1/2`, `\frac{2}{4}` and `0.5` are equal, and so are sets, intervals and matrices by value. Decisive. Abstains
    where an expression cannot be read or compared in time.
    """

    name = "mathematics"

    def __init__(self, expected: str, *, timeout_s: float = TIMEOUT_S) -> None:
        if not expected.strip() or len(expected) > MAX_CHARS:
            raise ValueError(f"the expected expression must have 1 to {MAX_CHARS:,} characters")
        self._expected, self._timeout_s = expected, timeout_s
        value, _ = read_value(prepared(expected), Hints())
        self._reading = Reading(expected, 0, len(expected), "alone", value)

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares the formula that the answer states with the expected one."""
        found = read_answer(candidate[-100 * MAX_CHARS :])
        statement = find_statement(candidate)
        if (statement is None or statement.is_sure) and _squeezed(
            statement.text if statement else candidate
        ) == _squeezed(self._expected):
            return Verdict(self.name, 1.0, True, decisive=True)
        if found.value is None:
            return Verdict.abstain(self.name, f"it is no answer ({found.non_answer})")
        if found.mark is None:
            return Verdict.abstain(self.name, "no expression is stated for sure")
        own = compare(self._reading, found)
        if own.verdict == "same" and not (found.is_sure and own.cause != "rounding"):
            return Verdict.abstain(self.name, "it is stated beside another value, or rounded")
        if own.verdict == "same":
            return Verdict(self.name, 1.0, True, decisive=True)
        if own.verdict == "different" and _is_read(self._reading) and _is_read(found):
            return Verdict(self.name, 0.0, False, f"the final expression is {found.text[:200]}", decisive=True)
        if own.cause == "unit" or not found.is_sure:
            return Verdict.abstain(self.name, own.reason)
        return await self._by_sympy(found.text[-MAX_CHARS:])

    async def _by_sympy(self, answer: str) -> Verdict:
        if find_spec("math_verify") is None:
            return Verdict.abstain(
                self.name, "it cannot be compared without math-verify: pip install 'compound-orchestrator[math]'"
            )
        if any(
            dots in text for dots in ("\\ldots", "\\dots", "\\cdots", "…", "...") for text in (answer, self._expected)
        ):
            return Verdict.abstain(self.name, "what is left out by dots cannot be compared")
        try:
            told = await asyncio.to_thread(
                _helper().ask, {"expected": self._expected, "answer": answer}, self._timeout_s
            )
        except HelperLate:
            return Verdict.abstain(self.name, f"it could not be compared within {self._timeout_s:g} s")
        if told["equal"] is None:
            return Verdict.abstain(self.name, str(told["why"]))
        if _NOT_TO_SYMPY.search(answer + self._expected) or _letters(answer) != _letters(self._expected):
            return Verdict.abstain(self.name, "it may mean the same in other signs")
        if told["equal"]:
            return Verdict(self.name, 1.0, True, decisive=True)
        if "\\" not in answer and any(character.isalpha() for character in answer):
            return Verdict.abstain(self.name, f"it may have been misread as {told['read']}")
        return Verdict(self.name, 0.0, False, f"the final expression is {told['read']}", decisive=True)


def _squeezed(text: str) -> str:
    """A formula without the signs that only lay it out."""
    return re.sub(r"\s+", "", plain_of_latex(text)).rstrip(".")


def _letters(text: str) -> set[str]:
    return set(re.findall(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", plain_of_latex(text)))


def _is_read(reading: Reading) -> bool:
    """Whether a value was read for what it is, and stated for sure."""
    value = reading.value
    return (
        reading.is_sure
        and value is not None
        and (isinstance(value, Quantity | Expression) or not isinstance(value, Words))
    )


@lru_cache(maxsize=1)
def _helper() -> Helper:
    return Helper("orchestrator.verifiers.mathematics_worker")
