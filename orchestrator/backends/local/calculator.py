"""The calculator: exact arithmetic, percentages, units and dates. Free, instant, and silent about everything else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date

from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.local.dates import answer_date
from orchestrator.backends.local.units import answer_conversion
from orchestrator.router import ModelProfile
from orchestrator.types import Completion
from orchestrator.verifiers.answers.arithmetic import NotArithmetic, evaluate, format_value

CONFIDENCE = 0.995
MAX_QUESTION_CHARS = 400
# 0x10, 0b11, 0o17: whoever writes no space means the number, not "0 times 10".
_LITERAL = re.compile(r"(?<![\w.])0(?:x[0-9a-f]+|b[01]+|o[0-7]+)(?!\w|\.\d)", re.IGNORECASE)


def calculate(question: str, *, today: date) -> str | None:
    """The exact answer to a question that is arithmetic, a unit conversion or a date sum as a whole.

    `None` for anything else.
    """
    if len(question) > MAX_QUESTION_CHARS:
        return None
    for solve in (lambda q: answer_date(q, today), answer_conversion):
        if (answer := solve(question)) is not None:
            return answer
    try:
        return format_value(evaluate(_LITERAL.sub(_as_sum, question)))
    except NotArithmetic:
        return None


def _as_sum(literal: re.Match[str]) -> str:
    """A number in another base as a sum, because a number alone is no question for a calculator."""
    return f"({int(literal[0], 0)} + 0)"


class CalculatorBackend(LocalBackend):
    """`today` is a function, so that a test may choose the day."""

    def __init__(self, name: str = "calculator", *, today: Callable[[], date] = date.today) -> None:
        super().__init__(
            ModelProfile(
                name, 0.0, 0.0, context_tokens=1_000_000, skill=0.5, output_tokens=8, ttft_s=0.0, tokens_per_s=1e6
            )
        )
        self._today = today

    def estimate(self, request: Request) -> float | None:
        """Nearly 1.0 for what can be calculated, else 0.0."""
        return CONFIDENCE if calculate(request.question, today=self._today()) is not None else 0.0

    async def complete(self, request: Request) -> Completion:
        """The result of the sum in the question; abstains where there is none."""
        start = time.perf_counter()
        text = calculate(request.question, today=self._today())
        note = "" if text is not None else "not arithmetic, a unit conversion or a date sum as a whole"
        elapsed = time.perf_counter() - start
        return Completion(
            self.profile.name, text, latency_s=elapsed, confidence=CONFIDENCE if text is not None else None, note=note
        )
