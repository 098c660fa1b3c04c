"""Accuracy against cost, as text for a terminal and as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from orchestrator.jsontypes import JsonObject

WIDTH, HEIGHT, MARGIN = 640, 360, 64
LABEL_HEIGHT = 20
COLOURS = ("#8a94a6", "#c05621", "#2b6cb0", "#2f855a")


def chart_text(rows: Sequence[JsonObject], *, width: int = 36) -> str:
    """Two bars a policy: accuracy, and cost relative to the dearest."""
    dearest = max(row["usd_per_1k"] for row in rows) or 1.0
    lines = []
    for row in rows:
        accuracy, cost = row["accuracy"], row["usd_per_1k"] / dearest
        lines.append(f"{row['policy']:16} right {'█' * round(accuracy * width):{width}} {accuracy:6.1%}")
        lines.append(f"{'':16} cost  {'▒' * max(round(cost * width), 1):{width}} {cost:6.1%} of dearest")
    return "\n".join(lines)


def chart_svg(rows: Sequence[JsonObject]) -> str:
    """Scatter of accuracy (linear) over cost (logarithmic), labelled a simulation."""
    costs = [math.log10(max(row["usd_per_1k"], 1e-6)) for row in rows]
    accuracies: list[float] = [row["accuracy"] for row in rows]
    low_x, high_x = math.floor(min(costs)), math.ceil(max(costs))
    low_y, high_y = (
        math.floor((min(accuracies) - 0.02) * 20) / 20,
        min(1.0, math.ceil((max(accuracies) + 0.01) * 20) / 20),
    )

    def x(cost: float) -> float:
        return MARGIN + (cost - low_x) / max(high_x - low_x, 1) * (WIDTH - 2 * MARGIN)

    def y(accuracy: float) -> float:
        return HEIGHT - MARGIN - (accuracy - low_y) / max(high_y - low_y, 1e-9) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="28" font-size="16" font-weight="600" fill="#1a202c">Accuracy and cost (simulation: '
        "four simulated models)</text>",
    ]
    for step in range(round((high_y - low_y) * 20) + 1):
        level = low_y + step / 20
        parts.append(f'<path d="M{MARGIN} {y(level):.1f}H{WIDTH - MARGIN}" stroke="#e2e8f0"/>')
        parts.append(
            f'<text x="{MARGIN - 8}" y="{y(level) + 4:.1f}" text-anchor="end" fill="#4a5568">{level:.0%}</text>'
        )
    for power in range(low_x, high_x + 1):
        parts.append(f'<path d="M{x(power):.1f} {HEIGHT - MARGIN}v5" stroke="#4a5568"/>')
        parts.append(
            f'<text x="{x(power):.1f}" y="{HEIGHT - MARGIN + 20}" text-anchor="middle" '
            f'fill="#4a5568">{10.0**power:g}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 18}" text-anchor="middle" fill="#4a5568">USD per 1,000 queries</text>'
    )
    heights = _spread([y(accuracy) for accuracy in accuracies])
    for row, cost, height, colour in zip(rows, costs, heights, COLOURS * len(rows), strict=False):
        parts.append(f'<circle cx="{x(cost):.1f}" cy="{y(row["accuracy"]):.1f}" r="7" fill="{colour}"/>')
        label = f"{row['policy']}: {row['accuracy']:.1%}, ${row['usd_per_1k']:.3f}"
        on_the_right = x(cost) > WIDTH / 2
        place = f'x="{x(cost) - 12:.1f}" text-anchor="end"' if on_the_right else f'x="{x(cost) + 12:.1f}"'
        parts.append(f'<text {place} y="{height + 4:.1f}" fill="#1a202c">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _spread(heights: Sequence[float]) -> list[float]:
    """The heights moved down as little as keeps labels from covering each other or a neighbour's dot."""
    out = list(heights)
    order = sorted(range(len(out)), key=out.__getitem__)
    for above, below in pairwise(order):
        out[below] = max(out[below], out[above] + LABEL_HEIGHT)
    return out
