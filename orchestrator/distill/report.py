"""Student, teacher and both together on held-out texts, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import floor

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.charts import bar_chart, line_chart
from orchestrator.distill.evaluate import Evaluation, HeldOutPoint
from orchestrator.distill.result import JobResult
from orchestrator.distill.status import student_status
from orchestrator.storage.student_log import StudentLog
from orchestrator.students import AgreementCertificate

BINS = 8
FEWEST_GOLD = 30
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #666; --rule: #ddd; --one: #2563a8; --two: #b4582a; --three:
#3d7d3d; } @media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #a0a0a0; --rule: #3a3a3a; --one:
#6ea8e6; --two: #e0905f; --three: #7cc27c; } } body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
max-width: 62rem; margin: 2rem auto; padding: 0 1rem; } h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top:
2rem; } .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; } figure {
margin: 0; } figcaption { color: var(--soft); font-size: 0.9rem; } svg { width: 100%; height: auto; font-size: 12px; }
svg text { fill: var(--ink); } .grid { stroke: var(--rule); } .level { stroke: var(--soft); stroke-dasharray: 4 4; }
.mark { stroke: var(--two); } .line { fill: none; stroke: var(--one); stroke-width: 2; } .dot { fill: var(--one); } .bar
{ fill: var(--one); } .b1 { fill: var(--two); } .b2 { fill: var(--three); } table { border-collapse: collapse; } td, th
{ padding: 0.2rem 1rem 0.2rem 0; text-align: left; border-bottom: 1px solid var(--rule); } .lead { font-size: 1.1rem; }
"""


def report_page(job: DistillJob, result: JobResult, log: StudentLog) -> str:
    """The page. Nothing in it is loaded from elsewhere."""
    found = result.evaluation
    assert found is not None
    assert result.student is not None
    parts = [
        f"<h1>{escape(job.name)}: student {result.version}</h1>",
        f'<p class="lead">{escape(summary(job, result))}</p>',
        f"<p>{escape(promise_line(result))}</p>",
        '<div class="charts">',
        *_charts(job, found, result),
        "</div>",
        _table("On held-out texts", _figures(found)),
        _table(
            "Rejected rows", [(reason, str(count)) for reason, count in result.rejected.items()], ("because of", "rows")
        ),
        _history(log, job.name),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(job.name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def summary(job: DistillJob, result: JobResult) -> str:
    """What came of it, in two sentences."""
    found = result.evaluation
    assert found is not None
    share = f"It answers {found.coverage:.0%} of {found.texts} held-out texts"
    if found.agreement is not None:
        share += f" and agrees with its teacher on {found.agreement:.1%} of those"
    saving = ""
    if found.teacher_usd > 0:
        saving = f" A text costs {found.pair_usd * 1000:.4f} USD a thousand instead of {found.teacher_usd * 1000:.4f}."
    return f"{_state(result)} {share}.{saving}"


def _state(result: JobResult) -> str:
    told = {
        "serving": "This student is in use",
        "candidate": "This student waits",
        "withdrawn": "This student was in use and is withdrawn, because it no longer agrees with its teacher",
        "retired": "This student was in use until a newer one took its place",
        "refused": "This student promises nothing and abstains from everything",
    }[result.state]
    return f"{told}: {result.reason}."


def promise_line(result: JobResult) -> str:
    """What was promised, and on what it rests."""
    assert result.student is not None
    certificate = result.student.certificate
    if not isinstance(certificate, AgreementCertificate):
        return f"Nothing is promised: {certificate.reason}."
    promise = certificate.promise
    return (
        f"Promised: of what it answers, at least {promise.agreement:.0%} is what its {promise.against} says, with "
        f"confidence {promise.confidence:.0%}. Proven on {certificate.labels} labels, of which it would answer "
        f"{certificate.coverage:.0%}; at most {certificate.bound:.1%} of these answers differ."
    )


def quality_note(result: JobResult, quality: float) -> str:
    """What a fleet's quality target leaves of the student's share; empty where it leaves nearly all."""
    found, student = result.evaluation, result.student
    if found is None or student is None or not found.coverage:
        return ""
    measured, notes = student.card.measured, student.card.notes
    known = measured.get("gold_rows", 0) >= FEWEST_GOLD
    right = measured["teacher_accuracy"] if known else notes.get("teacher_confidence", 1.0)
    alone = sum(point.is_given and point.score * right >= quality for point in found.points) / max(found.texts, 1)
    if alone > found.coverage - 0.05:
        return ""
    lowest = min(point.score for point in found.points if point.is_given) * right
    return (
        f"the fleet's quality is {quality:g}, and the teacher is right on {right:.0%}: only {alone:.0%} of the texts "
        "reach it by the student alone, and for the others the teacher is asked, too. With quality "
        f"{floor(lowest * 100) / 100:g} it answers all that it is proven for"
    )


def _charts(job: DistillJob, found: Evaluation, result: JobResult) -> list[str]:
    charts = []
    if found.points:
        curve = agreement_curve(found.points)
        low = floor(20 * (min([*(y for _, y in curve), job.promise.agreement]) - 0.01)) / 20
        chart = line_chart(
            "Agreement against the share of texts that are answered",
            "share of texts that the student answers",
            "agreement with the teacher",
            curve,
            y_range=(max(low, 0.0), 1.0),
            level=(job.promise.agreement, "promised"),
            mark=(found.coverage, "in use") if found.coverage else None,
        )
        charts.append(_figure(chart, "If it answered only its surest texts: how many, and how often it agrees."))
        reliable = line_chart(
            "Stated and observed agreement",
            "P(agreement) as the student states it",
            "observed",
            reliability(found.points),
            y_range=(0.0, 1.0),
            diagonal=True,
        )
        charts.append(_figure(reliable, "Whether its stated probabilities hold: on the dashed line they do."))
    accuracies = [
        (name, value, f"{value:.1%}")
        for name, value in (
            ("student alone", found.student_accuracy),
            ("teacher alone", found.teacher_accuracy),
            ("both together", found.pair_accuracy),
        )
        if value is not None
    ]
    if accuracies:
        charts.append(_figure(bar_chart("Accuracy", accuracies, most=1.0), "Right answers, against gold."))
    if found.teacher_usd > 0:
        costs = [
            ("teacher alone", found.teacher_usd * 1000, f"{found.teacher_usd * 1000:.4f} USD"),
            ("both together", found.pair_usd * 1000, f"{found.pair_usd * 1000:.4f} USD"),
        ]
        charts.append(
            _figure(bar_chart("Cost of 1,000 texts", costs, most=found.teacher_usd * 1000), "Cost of 1,000 texts.")
        )
    return charts


def agreement_curve(points: Sequence[HeldOutPoint]) -> list[tuple[float, float]]:
    """(share of the surest texts, agreement on them), from a twentieth of the texts to all."""
    ordered = sorted(points, key=lambda point: -point.score)
    found, agreeing = [], 0
    for count, point in enumerate(ordered, 1):
        agreeing += point.agrees
        if count * 20 >= len(ordered):
            found.append((count / len(ordered), agreeing / count))
    return found


def reliability(points: Sequence[HeldOutPoint]) -> list[tuple[float, float]]:
    """(mean stated, observed agreement) of eighths of the texts, from the least sure to the surest."""
    ordered = sorted(points, key=lambda point: point.score)
    size = max(len(ordered) // BINS, 1)
    bins = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    return [(sum(p.score for p in each) / len(each), sum(p.agrees for p in each) / len(each)) for each in bins if each]


def _figures(found: Evaluation) -> list[tuple[str, str]]:
    return [
        ("texts", str(found.texts)),
        ("answered by the student", f"{found.coverage:.1%}"),
        ("agreement on these", _percent(found.agreement)),
        ("its exact lower 95 % bound", _percent(found.agreement_low)),
        ("accuracy of the student alone", _percent(found.student_accuracy)),
        ("accuracy of the teacher alone", _percent(found.teacher_accuracy)),
        ("accuracy of both together", _percent(found.pair_accuracy)),
    ]


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"


def _history(log: StudentLog, name: str) -> str:
    status = student_status(log, name)
    rows = [
        (f"{each['version']}", f"{each['state']}", f"{each['at']}", _percent(each["coverage"]), f"{each['reason']}")
        for each in status["history"]
    ]
    return _table("Versions", rows, ("version", "state", "since", "share on its labels", "why"))


def _table(title: str, rows: Sequence[tuple[str, ...]], names: Sequence[str] = ()) -> str:
    if not rows:
        return ""
    head = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>" if names else ""
    cells = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2>\n<table>{head}{cells}</table>"


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"
