"""A router's report card: reliability diagrams and deferral curves as one self-contained HTML page with inline SVG.

No script, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from orchestrator.router.calibration import Array
from orchestrator.router.learning.evaluate import deferral_curve, expected_calibration_error, gap_recovered, reliability
from orchestrator.router.outcome import Outcome
from orchestrator.router.profile import ModelProfile
from orchestrator.router.success import SuccessModel

SIZE, MARGIN = 260, 36
MIN_OUTCOMES = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """One model on outcomes that it was not trained on; `predicted` and `observed` have shape (n,)."""

    model: str
    predicted: Array
    observed: Array

    @property
    def log_loss(self) -> float:
        """Mean negative log-likelihood of the outcomes, in nats."""
        p = np.clip(self.predicted, 1e-9, 1 - 1e-9)
        return float(-(self.observed * np.log(p) + (1 - self.observed) * np.log(1 - p)).mean())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, in [0, 1]."""
        return expected_calibration_error(self.predicted, self.observed)


def judge(success: SuccessModel, outcomes: Sequence[Outcome]) -> list[Judged]:
    """Predictions beside what came true, for every model with at least 10 outcomes."""
    queries = list(dict.fromkeys(o.query for o in outcomes))
    row_of = {query: row for row, query in enumerate(queries)}
    models = sorted({o.model for o in outcomes})
    predicted = success.predict_many(queries, [ModelProfile(name) for name in models])
    judged = []
    for column, name in enumerate(models):
        own = [o for o in outcomes if o.model == name]
        if len(own) >= MIN_OUTCOMES:
            rows = [row_of[o.query] for o in own]
            judged.append(Judged(name, predicted[rows, column], np.array([o.score for o in own])))
    return judged


def html_report(success: SuccessModel, outcomes: Sequence[Outcome], *, title: str) -> str:
    """The page. Raises `ValueError` when no model has 10 outcomes."""
    judged = judge(success, outcomes)
    if not judged:
        raise ValueError(f"no model has {MIN_OUTCOMES} outcomes to be judged by")
    rows = "".join(
        f"<tr><td>{escape(j.model)}</td><td>{len(j.observed)}</td><td>{j.observed.mean():.3f}</td><td>"
        f"{j.predicted.mean():.3f}</td>"
        f"<td>{j.log_loss:.3f}</td><td>{j.calibration_error:.3f}</td></tr>"
        for j in judged
    )
    figures = "".join(f"<figure>{reliability_svg(j)}</figure>" for j in judged)
    curves = "".join(f"<figure>{svg}</figure>" for svg in _deferral_figures(success, outcomes, judged))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .25rem .75rem; border-bottom: 1px solid #e2e8f0; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }} figure {{ display: inline-block; margin: .5rem; }}
</style>
<h1>{escape(title)}</h1>
<p>On outcomes that the router was not trained on. Reliability: of the queries given P(correct) around x, the share that
was right; on the diagonal is perfect. Deferral: mean quality when a growing share of queries goes to the reference
model, those with the highest predicted gain first; the straight line is random choice.</p>
<table><tr><th>model</th><th>outcomes</th><th>right</th><th>mean P(correct)</th>
<th>log-loss</th><th>calibration error</th></tr>{rows}</table>
<h2>Reliability</h2>{figures}
<h2>Deferral</h2>{curves or "<p>No two models answered the same queries.</p>"}
</html>
"""


def reliability_svg(judged: Judged) -> str:
    """The reliability diagram of one model; a dot's area grows with its count."""
    bins = reliability(judged.predicted, judged.observed)
    most = max(b.count for b in bins)
    dots = "".join(
        f'<circle cx="{_x(b.predicted):.1f}" cy="{_y(b.observed):.1f}" r="{2 + 6 * (b.count / most) ** 0.5:.1f}" '
        'fill="#2b6cb0" fill-opacity=".8">'
        f"<title>{b.count} outcomes: predicted {b.predicted:.2f}, right {b.observed:.2f}</title></circle>"
        for b in bins
    )
    diagonal = f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#a0aec0" stroke-dasharray="4 3"/>'
    return _frame(judged.model, "predicted P(correct)", "right", diagonal + dots, 0.0, 1.0)


def deferral_svg(title: str, gain: Array, weak: Array, strong: Array) -> str:
    """Quality over the share of queries sent to the reference model."""
    curve = deferral_curve(gain, weak, strong)
    low, high = float(curve.min()), float(curve.max())
    pad = max((high - low) * 0.1, 1e-3)
    low, high = low - pad, high + pad
    at = np.linspace(0, len(curve) - 1, 101).astype(int)
    line = "L".join(f"{_x(i / (len(curve) - 1)):.1f} {_y((curve[i] - low) / (high - low)):.1f}" for i in at)
    ends = [(curve[i] - low) / (high - low) for i in (0, -1)]
    chance = f'<path d="M{_x(0)} {_y(ends[0]):.1f}L{_x(1)} {_y(ends[1]):.1f}" stroke="#a0aec0" stroke-dasharray="4 3"/>'
    return _frame(
        title,
        "share sent to the reference",
        "quality",
        f'{chance}<path d="M{line}" stroke="#2f855a" fill="none"/>',
        low,
        high,
    )


def _deferral_figures(success: SuccessModel, outcomes: Sequence[Outcome], judged: Sequence[Judged]) -> list[str]:
    reference = max(judged, key=lambda j: j.observed.mean()).model
    by_model: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.model, {})[outcome.query] = outcome.score
    figures = []
    for other in (j.model for j in judged if j.model != reference):
        both = [query for query in by_model[other] if query in by_model[reference]]
        weak, strong = (np.array([by_model[name][query] for query in both]) for name in (other, reference))
        if len(both) < MIN_OUTCOMES or strong.mean() <= weak.mean():
            continue
        p = success.predict_many(both, [ModelProfile(reference), ModelProfile(other)])
        apgr = gap_recovered(p[:, 0] - p[:, 1], weak, strong).apgr
        figures.append(deferral_svg(f"{other} to {reference}: APGR {apgr:.3f}", p[:, 0] - p[:, 1], weak, strong))
    return figures


def _frame(title: str, x_label: str, y_label: str, inside: str, low: float, high: float) -> str:
    middle = SIZE / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}" '
        'font-family="system-ui" font-size="11">'
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{SIZE - 2 * MARGIN}" height="{SIZE - 2 * MARGIN}" fill="none" '
        'stroke="#e2e8f0"/>'
        f'<text x="{middle}" y="18" text-anchor="middle" font-weight="600">{escape(title)}</text>'
        f'<text x="{middle}" y="{SIZE - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(y_label)}</text>'
        f'<text x="{MARGIN}" y="{SIZE - MARGIN + 14}" text-anchor="middle">0</text>'
        f'<text x="{SIZE - MARGIN}" y="{SIZE - MARGIN + 14}" text-anchor="middle">1</text>'
        f'<text x="{MARGIN - 3}" y="{SIZE - MARGIN}" text-anchor="end">{low:.2f}</text>'
        f'<text x="{MARGIN - 3}" y="{MARGIN + 8}" text-anchor="end">{high:.2f}</text>{inside}</svg>'
    )


def _x(share: float) -> float:
    return MARGIN + share * (SIZE - 2 * MARGIN)


def _y(share: float) -> float:
    return SIZE - MARGIN - share * (SIZE - 2 * MARGIN)
