"""Charts of a report, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 16, 44


def line_chart(
    title: str,
    x_name: str,
    y_name: str,
    points: Sequence[tuple[float, float]],
    *,
    y_range: tuple[float, float],
    level: tuple[float, str] | None = None,
    mark: tuple[float, str] | None = None,
    diagonal: bool = False,
) -> str:
    """A line over x in [0, 1]. `level` is a horizontal line with its name, `mark` a vertical one."""
    low, high = y_range

    def at(x: float, y: float) -> tuple[float, float]:
        inner = min(max((y - low) / max(high - low, 1e-9), 0.0), 1.0)
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - inner * (HEIGHT - TOP - BOTTOM)

    parts = [_frame(title, x_name, y_name)]
    for step in range(6):
        share = step / 5
        x, _ = at(share, low)
        _, y = at(0.0, low + share * (high - low))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{low + share * (high - low):.0%}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{share:.0%}</text>')
    if diagonal:
        (x1, y1), (x2, y2) = at(low, low), at(1.0, 1.0)
        parts.append(f'<line class="level" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    if level is not None:
        _, y = at(0.0, level[0])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT + 6}" y="{y - 5:.1f}">{escape(level[1])}</text>')
    if mark is not None:
        x, _ = at(mark[0], low)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        side = "end" if mark[0] > 0.5 else "start"
        shift = -5 if mark[0] > 0.5 else 5
        parts.append(f'<text x="{x + shift:.1f}" y="{TOP + 12}" text-anchor="{side}">{escape(mark[1])}</text>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
    parts.append(f'<polyline class="line" points="{path}"/>')
    if diagonal:
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in (at(*p) for p in points)]
    return _svg(parts)


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]], *, most: float) -> str:
    """Horizontal bars: name, value, and what is written beside it."""
    step = (HEIGHT - TOP - BOTTOM) / max(len(bars), 1)
    parts = [f"<title>{escape(title)}</title>"]
    for number, (name, value, told) in enumerate(bars):
        y = TOP + number * step
        width = max(value, 0.0) / max(most, 1e-12) * (WIDTH - 230)
        parts.append(f'<text x="110" y="{y + step / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        box = f'x="118" y="{y + step * 0.2:.1f}" width="{width:.1f}" height="{step * 0.6:.1f}"'
        parts.append(f'<rect class="bar b{number}" {box}/>')
        parts.append(f'<text x="{124 + width:.1f}" y="{y + step / 2 + 4:.1f}">{escape(told)}</text>')
    return _svg(parts)


def _frame(title: str, x_name: str, y_name: str) -> str:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return (
        f"<title>{escape(title)}</title>"
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(y_name)}</text>'
    )


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
