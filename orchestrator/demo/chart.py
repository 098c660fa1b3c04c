"""Accuracy against cost, as text for a terminal and as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 640, 360, 64
COLOURS = ("#8a94a6", "#c05621", "#2b6cb0", "#2f855a")


def chart_text(rows: Sequence[dict[str, Any]], *, width: int = 36) -> str:
    """Two bars a policy: accuracy, and cost relative to the dearest."""
    dearest = max(row["usd_per_1k"] for row in rows) or 1.0
    lines = []
    for row in rows:
        accuracy, cost = row["accuracy"], row["usd_per_1k"] / dearest
        lines.append(f"{row['policy']:16} right {'█' * round(accuracy * width):{width}} {accuracy:6.1%}")
        lines.append(f"{'':16} cost  {'▒' * max(round(cost * width), 1):{width}} {cost:6.1%} of dearest")
    return "\n".join(lines)


def chart_svg(rows: Sequence[dict[str, Any]]) -> str:
    """Scatter of accuracy (linear) over cost (logarithmic), labelled a simulation."""
    costs = [math.log10(max(row["usd_per_1k"], 1e-6)) for row in rows]
    low_x, high_x = min(costs) - 0.2, max(costs) + 0.45
    accuracies: list[float] = [row["accuracy"] for row in rows]
    low_y, high_y = math.floor((min(accuracies) - 0.02) * 20) / 20, min(1.0, math.ceil((max(accuracies) + 0.01) * 20) / 20)

    def x(cost: float) -> float:
        return MARGIN + (cost - low_x) / (high_x - low_x) * (WIDTH - 1.5 * MARGIN)

    def y(accuracy: float) -> float:
        return HEIGHT - MARGIN - (accuracy - low_y) / max(high_y - low_y, 1e-9) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="28" font-size="16" font-weight="600" fill="#1a202c">Accuracy and cost (simulation: four simulated models)</text>',
    ]
    step = 0.05
    for index in range(round((high_y - low_y) / step) + 1):
        level = low_y + index * step
        parts.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN / 2}" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{MARGIN - 8}" y="{y(level) + 4:.1f}" text-anchor="end" fill="#4a5568">{level:.0%}</text>')
    for row, cost, colour in zip(rows, costs, COLOURS * len(rows), strict=False):
        parts.append(f'<circle cx="{x(cost):.1f}" cy="{y(row["accuracy"]):.1f}" r="7" fill="{colour}"/>')
        label = f"{row['policy']}: {row['accuracy']:.1%}, ${row['usd_per_1k']:.3f}"
        parts.append(f'<text x="{x(cost) + 12:.1f}" y="{y(row["accuracy"]) + 4:.1f}" fill="#1a202c">{escape(label)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 18}" text-anchor="middle" fill="#4a5568">USD per 1,000 queries (logarithmic)</text>')
    return "\n".join([*parts, "</svg>\n"])
