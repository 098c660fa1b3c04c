"""A simulation as people read it: a table, and a chart as SVG. Both say that it is a simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from orchestrator.simulation.request import SimulatedOutcome
from orchestrator.simulation.summary import SimulationSummary

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 52, 48
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f", "#4a5568", "#c53030")
SHARES = np.linspace(0.0, 0.999, 60)


def table(rows: Sequence[tuple[str, int, SimulationSummary, float | None]]) -> list[str]:
    """Lines for a terminal of 80 columns: policy, replicas, numbers, and USD an hour where a price is known."""
    times = f"{'TTFT p50':>10}{'p95':>9}{'token':>9}{'latency p95':>13}"
    lines = [f"{'policy':14}{'replicas':>9}{times}{'cached':>8}{'USD/h':>8}"]
    for policy, replicas, summary, usd in rows:
        ttft, latency = summary.ttft_s, summary.latency_s
        lines.append(
            f"{policy:14}{replicas:>9,}{_seconds(ttft.p50):>10}{_seconds(ttft.p95):>9}"
            f"{_seconds(summary.per_token_s.mean):>9}{_seconds(latency.p95):>13}{summary.cached_share:>8.0%}"
            f"{_usd(usd):>8}"
        )
    return lines


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value < 1e5 else f"{value / 1e6:,.2f} M"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 1_000 else f"{value:,.0f} s"


def chart_svg(outcomes: Mapping[str, Sequence[SimulatedOutcome]], title: str = "Time to first token") -> str:
    """The share of requests that have waited less, for each policy; seconds are drawn by their logarithm."""
    curves = {name: _curve(found) for name, found in outcomes.items()}
    known = [value for curve in curves.values() for value in curve]
    low = math.floor(math.log10(max(min(known, default=0.01), 1e-4)))
    high = max(math.ceil(math.log10(max(max(known, default=1.0), 1e-3))), low + 1)

    def x(seconds: float) -> float:
        return LEFT + (math.log10(max(seconds, 10**low)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600" fill="#1a202c">{escape(title)} (simulation)</text>'
    ]
    for power in range(low, high + 1):
        parts.append(f'<path d="M{x(10**power):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e2e8f0"/>')
        parts.append(
            f'<text x="{x(10**power):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#4a5568">'
            f"{10.0**power:g} s</text>"
        )
    for share in (0.0, 0.5, 0.9, 1.0):
        parts.append(f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - RIGHT}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end" fill="#4a5568">{share:.0%}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(value):.1f},{y(share):.1f}" for share, value in zip(SHARES, curve, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 16 + 18 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return "".join(parts) + "</svg>\n"


def _curve(outcomes: Sequence[SimulatedOutcome]) -> list[float]:
    seconds = np.array([each.ttft_s for each in outcomes if not each.refused] or [0.0])
    return [float(value) for value in np.quantile(seconds, SHARES)]
