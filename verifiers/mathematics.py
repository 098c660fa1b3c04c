"""Symbolic mathematics: is an answer equal to a known expression (math-verify and SymPy, extra `math`)?

They run in a process of their own: simplifying may take for ever, and math-verify's own timeouts work in the main thread only.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from importlib.util import find_spec

from verifiers.equivalence import final_answer_text
from verifiers.process import Helper, HelperLate
from verifiers.verdict import Verdict

TIMEOUT_S = 5.0
MAX_CHARS = 2_000


class MathematicsVerifier:
    """Passes answers whose final expression equals `expected` (LaTeX or plain): `1/2`, `\\frac{2}{4}` and `0.5` are equal, and so are sets,
    intervals and matrices by value. Decisive. Abstains where an expression cannot be read or compared in time, or math-verify is not installed.
    """

    name = "mathematics"

    def __init__(self, expected: str, *, timeout_s: float = TIMEOUT_S) -> None:
        if not expected.strip() or len(expected) > MAX_CHARS:
            raise ValueError(f"the expected expression must have 1 to {MAX_CHARS:,} characters")
        self._expected, self._timeout_s = expected, timeout_s

    async def verify(self, query: str, candidate: str) -> Verdict:
        if find_spec("math_verify") is None:
            return Verdict.abstain(self.name, "math-verify is not installed: pip install 'compound-orchestrator[math]'")
        marked = final_answer_text(candidate)
        answer = (marked if marked is not None else candidate)[-MAX_CHARS:]
        try:
            told = await asyncio.to_thread(_helper().ask, {"expected": self._expected, "answer": answer}, self._timeout_s)
        except HelperLate:
            return Verdict.abstain(self.name, f"it could not be compared within {self._timeout_s:g} s")
        if told["equal"] is None:
            return Verdict.abstain(self.name, str(told["why"]))
        passed = bool(told["equal"])
        return Verdict(self.name, float(passed), passed, "" if passed else f"the final expression is {told['read']}", decisive=True)


@lru_cache(maxsize=1)
def _helper() -> Helper:
    return Helper("verifiers.mathematics_helper")
