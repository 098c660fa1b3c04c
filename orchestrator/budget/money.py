"""Money is whole nano-dollars (1e-9 USD) inside the ledger: integers add exactly."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

NANO = 1_000_000_000
MAX_BY_FLOAT = 1_000_000.0  # of more dollars a float does not hold every nano-dollar


def to_nano(usd: float | Decimal) -> int:
    """USD to nano-dollars, rounded up: a bound must not shrink by rounding."""
    if isinstance(usd, float) and not math.isfinite(usd):
        raise ValueError(f"{usd} USD is not an amount of money")
    if isinstance(usd, float) and 0.0 <= usd < MAX_BY_FLOAT:  # the same number, without a detour by text
        nano = round(usd * NANO)
        return nano if nano / NANO >= usd else nano + 1
    return int((Decimal(str(usd)) * NANO).to_integral_value(ROUND_CEILING))


def from_nano(nano: int) -> float:
    """Nano-dollars as USD."""
    return nano / NANO
