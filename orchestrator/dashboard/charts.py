"""Charts as SVG, drawn here: no script and no library in the browser.

Colours and lines are the style sheet's business, so that a chart is readable in light and dark. Each chart has a title
for those who do not see it, and each mark tells its value where a pointer rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from orchestrator.dashboard.formats import short

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 14, 30
SERIES = 6
"""So many colours the style sheet has (classes s0 to s5)."""
Shown = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of a chart: from values to places."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: float = WIDTH
    height: float = HEIGHT

    def x(self, value: float) -> float:
        """Where a value lies, from the left."""
        share = (value - self.x_low) / max(self.x_high - self.x_low, 1e-12)
        return LEFT + min(max(share, 0.0), 1.0) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value lies, from above."""
        share = (value - self.y_low) / max(self.y_high - self.y_low, 1e-12)
        return self.height - BOTTOM - min(max(share, 0.0), 1.0) * (self.height - TOP - BOTTOM)

    def grid(self, shown: Shown = short, steps: int = 4) -> str:
        """Horizontal lines with their values."""
        parts = []
        for step in range(steps + 1):
            value = self.y_low + (self.y_high - self.y_low) * step / steps
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{self.width - RIGHT:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(shown(value))}</text>')
        return "".join(parts)

    def ticks(self, marks: Sequence[tuple[float, str]]) -> str:
        """Names below the chart."""
        y = self.height - BOTTOM + 16
        parts = []
        for value, name in marks:
            x = self.x(value)
            anchor = "end" if x > self.width - 4 * len(name) else "middle"
            parts.append(f'<text x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}">{escape(name)}</text>')
        return "".join(parts)


def svg(title: str, parts: Sequence[str], *, width: float = WIDTH, height: float = HEIGHT, kind: str = "") -> Markup:
    """A whole chart."""
    told = escape(title)
    role = "group" if any("<a " in part for part in parts) else "img"  # an image holds nothing to choose
    return Markup(
        f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="{role}" aria-label="{told}">'
        f"<title>{told}</title>{''.join(parts)}</svg>"
    )


def nice_top(value: float) -> float:
    """A round number that is at least `value`, for the top of an axis."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 2, 4, 6, 8, 10) if factor * unit >= value * 0.999999)


def stacked_bars(
    title: str,
    starts: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    shown: Shown = short,
    links: Sequence[str] = (),
) -> Markup:
    """Bars over time, one above the other.

    Args:
        title: What is shown.
        starts: The name of each stretch of time.
        series: A name and a value for each stretch.
        shown: How a value is written.
        links: Where a stretch leads to, if anywhere.
    """
    totals = [sum(values[place] for _, values in series) for place in range(len(starts))]
    frame = Frame(0, max(len(starts), 1), 0, nice_top(max(totals, default=0.0)))
    parts = [frame.grid(shown)]
    step = (WIDTH - LEFT - RIGHT) / max(len(starts), 1)
    for place, name in enumerate(starts):
        base, bars = 0.0, []
        for number, (told, values) in enumerate(series):
            value = values[place]
            if value > 0:
                y, bottom = frame.y(base + value), frame.y(base)
                box = f'x="{LEFT + place * step + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}"'
                bars.append(
                    f'<rect class="s{number % SERIES}" {box} height="{max(bottom - y, 0.5):.1f}">'
                    f"<title>{escape(f'{name} {told}: {shown(value)}')}</title></rect>"
                )
                base += value
        drawn = "".join(bars)
        parts.append(
            f'<a href="{escape(links[place])}" aria-label="{escape(f"{name}: {shown(totals[place])}")}">{drawn}</a>'
            if links and drawn
            else drawn
        )
    every = max(1, math.ceil(len(starts) / 8))
    parts.append(frame.ticks([(place + 0.5, name) for place, name in enumerate(starts) if place % every == 0]))
    return svg(title, parts)


def lines(
    title: str,
    starts: Sequence[str],
    series: Sequence[tuple[str, Sequence[float | None]]],
    *,
    shown: Shown = short,
    top: float | None = None,
) -> Markup:
    """Lines over time; a gap stays a gap."""
    known = [value for _, values in series for value in values if value is not None]
    frame = Frame(0, max(len(starts) - 1, 1), 0, top or nice_top(max(known, default=0.0)))
    parts = [frame.grid(shown)]
    for number, (told, values) in enumerate(series):
        for run in _runs(values):
            points = " ".join(f"{frame.x(place):.1f},{frame.y(value):.1f}" for place, value in run)
            parts.append(f'<polyline class="line s{number % SERIES}" points="{points}"/>')
            parts += [
                f'<circle class="dot s{number % SERIES}" cx="{frame.x(place):.1f}" cy="{frame.y(value):.1f}" r="2.5">'
                f"<title>{escape(f'{starts[place]} {told}: {shown(value)}')}</title></circle>"
                for place, value in run
            ]
    every = max(1, math.ceil(len(starts) / 8))
    parts.append(frame.ticks([(place, name) for place, name in enumerate(starts) if place % every == 0]))
    return svg(title, parts)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Stretches without a gap, as (place, value)."""
    found: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((place, value))
    return [run for run in found if run]


def reliability(title: str, bins: Sequence[tuple[float, float, int]]) -> Markup:
    """Stated confidence against the share that was right: (mean stated, share right, how many) of each bin."""
    size = 300.0
    frame = Frame(0, 1, 0, 1, size, size)
    most = max((n for *_, n in bins), default=1)
    parts = [
        frame.grid(lambda value: f"{value:.0%}"),
        frame.ticks([(step / 4, f"{step / 4:.0%}") for step in range(5)]),
        f'<line class="level" x1="{frame.x(0):.1f}" y1="{frame.y(0):.1f}" x2="{frame.x(1):.1f}" '
        f'y2="{frame.y(1):.1f}"/>',
    ]
    for stated, right, n in bins:
        half = 1.96 * math.sqrt(max(right * (1 - right), 0.25 / n) / n)
        x = frame.x(stated)
        parts.append(
            f'<line class="error" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(right - half):.1f}" '
            f'y2="{frame.y(right + half):.1f}"/>'
            f'<circle class="dot s0" cx="{x:.1f}" cy="{frame.y(right):.1f}" r="{3 + 6 * math.sqrt(n / most):.1f}">'
            f"<title>{escape(f'stated {stated:.0%}, right {right:.0%} of {n}')}</title></circle>"
        )
    return svg(title, parts, width=size, height=size, kind="square")


def frontier(
    title: str,
    curve: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float, str]],
    chosen: int | None = None,
) -> Markup:
    """Accuracy against cost: a curve of thresholds, and single models as points; each (USD, accuracy, name)."""
    everything = [*curve, *points]
    if not everything:
        return svg(title, [])
    accuracies = [accuracy for _, accuracy, _ in everything]
    low = max(math.floor(20 * min(accuracies)) / 20, 0.0)
    high = min(math.ceil(20 * max(accuracies)) / 20, 1.0)
    frame = Frame(0, nice_top(max(usd for usd, *_ in everything)), low, high)
    parts = [frame.grid(lambda value: f"{value:.1%}")]
    parts.append(frame.ticks([(frame.x_high * step / 4, f"${short(frame.x_high * step / 4)}") for step in range(5)]))
    path = " ".join(f"{frame.x(usd):.1f},{frame.y(accuracy):.1f}" for usd, accuracy, _ in curve)
    parts.append(f'<polyline class="line s0" points="{path}"/>')
    for number, (usd, accuracy, name) in enumerate(curve):
        kind = "dot s0 chosen" if number == chosen else "dot s0"
        parts.append(
            f'<circle class="{kind}" data-step="{number}" cx="{frame.x(usd):.1f}" cy="{frame.y(accuracy):.1f}" '
            f'r="{6 if number == chosen else 3}"><title>{escape(name)}</title></circle>'
        )
    for usd, accuracy, name in points:
        x, y = frame.x(usd), frame.y(accuracy)
        anchor = "end" if x > WIDTH * 0.7 else "start"
        shift = -8 if anchor == "end" else 8
        parts.append(
            f'<rect class="s1" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"><title>{escape(name)}</title>'
            "</rect>"
            f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    return svg(title, parts)


def bar(value: float, *, mark: float | None = None, label: str = "") -> Markup:
    """A share in [0, 1] as a bar; `mark` is a second share, drawn as a line."""
    filled = min(max(value, 0.0), 1.0)
    kind = "over" if value > 1 else "much" if value > 0.9 or (mark or 0) > 1 else "fine"
    parts = [
        '<rect class="rest" x="0" y="0" width="200" height="10" rx="5"/>',
        f'<rect class="{kind}" x="0" y="0" width="{200 * filled:.1f}" height="10" rx="5"/>',
    ]
    if mark is not None:
        x = 200 * min(max(mark, 0.0), 1.0)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="-2" y2="12"/>')
    return svg(label, parts, width=200, height=10, kind="bar")


def timeline(spans: Sequence[tuple[float, float, str, str]], total_s: float) -> list[Markup]:
    """A bar for each span: (start, duration, kind, what is told), all over the same stretch of `total_s` seconds."""
    found = []
    for start, duration, kind, told in spans:
        x = 400 * min(start / max(total_s, 1e-9), 1.0)
        width = max(400 * duration / max(total_s, 1e-9), 1.5)
        box = f'x="{min(x, 398.5):.1f}" y="1" width="{min(width, 400 - min(x, 398.5)):.1f}" height="10" rx="2"'
        found.append(svg(told, [f'<rect class="{escape(kind)}" {box}/>'], width=400, height=12, kind="span"))
    return found
