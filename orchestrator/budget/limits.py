"""Limits on what a query may use. `Budget(usd=0.02) & Budget(seconds=5)` keeps both."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import TypeVar

from orchestrator.errors import InvalidBudget, did_you_mean

T = TypeVar("T")
LIMITS = ("usd", "tokens", "seconds", "calls")
MAX_EXPONENT = 1_023  # of a float, in bits
_MONEY = re.compile(r"\s*\$?\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(?:usd|dollars?|\$)?\s*", re.IGNORECASE)
_WAYS = 'budget=0.02 or "$0.02" is two cents a query; {"usd": 0.02, "seconds": 10} limits both'


@dataclass(frozen=True, slots=True, repr=False)
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
        for name in LIMITS:
            value = plain_number(getattr(self, name))
            object.__setattr__(self, name, value)
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

    def __repr__(self) -> str:
        stated = [f"{name}={value!r}" for name in LIMITS if (value := getattr(self, name)) is not None]
        return f"Budget({', '.join(stated)})"

    @classmethod
    def parse(cls, stated: object) -> Budget:
        """A budget from what people write: a number or text of dollars, a mapping of limits, or `None` for no limit.

        Raises `InvalidBudget` with what to write.
        """
        if isinstance(stated, Budget):
            return stated
        if stated is None:
            return cls()
        if isinstance(stated, Mapping):
            for name in stated:
                if name not in LIMITS:
                    raise InvalidBudget(f"a budget has no limit {name!r}", remedy=did_you_mean(str(name), LIMITS))
            limits = {**stated, "usd": _usd(stated["usd"])} if "usd" in stated else dict(stated)
            return cls(**limits)
        return cls(usd=_usd(stated))

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


BudgetLike = Budget | float | str | Mapping[str, float | str | None]
"""What stands for a budget where one is asked for; see `Budget.parse`."""


def plain_number(value: T) -> T | int | float:
    """A number of another package (numpy's, a Decimal) as Python's own; anything else as it is.

    A whole number that is too large for a float is infinite, which every check of a limit refuses.
    """
    if isinstance(value, int) and value.bit_length() > MAX_EXPONENT:
        return math.inf if value > 0 else -math.inf
    if isinstance(value, int | float | str) or value is None:
        return value
    if isinstance(value, Integral):
        return plain_number(int(value))
    return float(value) if isinstance(value, Real | Decimal) else value


def _usd(stated: object) -> float | None:
    stated = plain_number(stated)
    if stated is None or (isinstance(stated, int | float) and not isinstance(stated, bool)):
        return stated
    read = _MONEY.fullmatch(stated) if isinstance(stated, str) else None
    if read is None:
        raise InvalidBudget(f"{stated!r} is no amount of dollars", remedy=f"For example: {_WAYS}")
    return float(read[1])
