"""Checks the equations in an answer."""

from __future__ import annotations

import re
from fractions import Fraction

from orchestrator.verifiers.answers.arithmetic import NotArithmetic, evaluate
from orchestrator.verifiers.answers.number import find_number
from orchestrator.verifiers.verdict import Verdict

_EQUATION = re.compile(r"(?<![\w.,])([-−(]*\d[-−+*/×÷()\s^.,\d]*?)\s*=\s*([-−]?\s*\d[\d,]*(?:\.\d+)?)")
MAX_EQUATIONS = 200


class ArithmeticVerifier:
    """Passes answers whose equations (`17 * 23 = 391`) are right.

    Where the question is a sum as a whole, also its result must be.
    """

    name = "arithmetic"

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Evaluates every equation in the answer, and the question if it is a sum."""
        wrong, right = [], 0
        for told, result in list(_EQUATION.findall(candidate))[:MAX_EQUATIONS]:
            try:
                expected = evaluate(told)
                stated = float(result.replace(",", "").replace("−", "-").replace(" ", ""))
            except (NotArithmetic, ValueError):
                continue
            if not any(sign in told for sign in "+-*/×÷^"):
                continue
            if abs(float(expected) - stated) > 0.5 * 10 ** -_decimals(result):
                wrong.append(f"{told.strip()} is {float(expected):g}, not {result}")
            else:
                right += 1
        asked = _result_of(query)
        if asked is not None and find_number(candidate) != asked:
            wrong.append(f"the result is {float(asked):g}")
        right += asked is not None and not wrong
        if not wrong and not right:
            return Verdict.abstain(self.name, "there is no arithmetic in it")
        return Verdict(self.name, 0.0 if wrong else 1.0, not wrong, "; ".join(wrong)[:500], decisive=True)


def _result_of(query: str) -> Fraction | None:
    """The result of a question that is a sum as a whole."""
    try:
        return evaluate(query)
    except NotArithmetic:
        return None


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])
