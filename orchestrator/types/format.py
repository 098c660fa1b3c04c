"""Numbers as people read them."""

from __future__ import annotations

import json


def money(usd: float | None) -> str:
    """`free`, `$0.000123`, or `price unknown`: never a silent zero."""
    if usd is None:
        return "price unknown"
    if usd == 0:
        return "free"
    return f"${usd:.6f}" if usd < 0.01 else f"${usd:.4f}"


def as_text(value: object) -> str:
    """A value as it stands in a text: text itself, numbers without a needless `.0`, anything else as JSON."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)
