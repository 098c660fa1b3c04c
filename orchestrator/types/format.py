"""Numbers as people read them."""

from __future__ import annotations


def money(usd: float | None) -> str:
    """`free`, `$0.000123`, or `price unknown`: never a silent zero."""
    if usd is None:
        return "price unknown"
    if usd == 0:
        return "free"
    return f"${usd:.6f}" if usd < 0.01 else f"${usd:.4f}"
