"""Numbers as people read them."""

from __future__ import annotations

SECONDS_OF = {"minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
NOTHING = "–"


def usd(amount: float | None, *, sign: bool = False) -> str:
    """Money: cents where they matter, more digits for less of it."""
    if amount is None:
        return "unknown"
    size = abs(amount)
    digits = 2 if size >= 1 or size in (0, round(size, 2)) else 4 if size >= 0.001 else 6
    told = f"${size:,.{digits}f}"
    return f"{'-' if amount < 0 else '+' if sign else ''}{told}"


def seconds(value: float | None) -> str:
    """A duration: milliseconds below a second."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value / 60:.3g} min"


def share(value: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as per cent."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def count(value: float | None) -> str:
    """A number of things."""
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float) -> str:
    """A number for an axis."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def ago(moment: float, now: float) -> str:
    """How long ago something was."""
    passed = max(now - moment, 0.0)
    for name, size in reversed(SECONDS_OF.items()):
        if passed >= size:
            number = int(passed // size)
            return f"{number} {name}{'s' * (number != 1)} ago"
    return f"{passed:.0f} s ago"
