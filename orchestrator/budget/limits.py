"""Limits on what a query may use. `Budget(usd=0.02) & Budget(seconds=5)` keeps both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.errors import InvalidBudget


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits in USD, tokens (prompt and answer), seconds and model calls; `None` means no limit.

    Zero allows only what is free.

    Raises `InvalidBudget` on a limit that is negative, NaN or infinite.
    """

    usd: float | None = None
    tokens: int | None = None
    seconds: float | None = None
    calls: int | None = None

    def __post_init__(self) -> None:
        for name in ("usd", "tokens", "seconds", "calls"):
            value = getattr(self, name)
            if value is None:
                continue
            is_count = name in ("tokens", "calls")
            if is_count and isinstance(value, float) and not value.is_integer():
                raise InvalidBudget(f"budget {name} must be a whole number, not {value!r}", remedy="Round it")
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InvalidBudget(
                    f"budget {name} must be a finite number of at least 0, not {value!r}",
                    remedy=f"Leave {name} out for no limit",
                )

    def __and__(self, other: Budget) -> Budget:
        """The tighter of two budgets in every respect."""

        def tighter(a: float | None, b: float | None) -> float | None:
            return b if a is None else a if b is None else min(a, b)

        tokens, calls = tighter(self.tokens, other.tokens), tighter(self.calls, other.calls)
        return Budget(
            tighter(self.usd, other.usd),
            None if tokens is None else int(tokens),
            tighter(self.seconds, other.seconds),
            None if calls is None else int(calls),
        )
