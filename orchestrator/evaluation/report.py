"""An evaluation as text for a terminal, as JSON, and as one HTML page without scripts."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.evaluation.paired import Interval
from orchestrator.evaluation.result import PairedComparison
from orchestrator.evaluation.run import SuiteResult
from orchestrator.jsontypes import JsonObject

MAX_SHOWN = 500  # examples of the page


def as_json(found: SuiteResult) -> JsonObject:
    """All figures, and each answer."""
    return {
        "name": found.suite.name,
        "passed": found.passed,
        "examples": len(found.results[0].rows),
        "of": found.of,
        "stopped": found.stopped,
        "usd": found.usd,
        "configurations": [
            {
                "name": result.name,
                "score": asdict(result.score),
                "usd_per_1k": result.usd_per_1k,
                "p50_s": result.seconds_at(0.5),
                "p95_s": result.seconds_at(0.95),
                "calibration_error": result.calibration_error,
                "errors": len(result.failures),
                "undecided": result.undecided,
            }
            for result in found.results
        ],
        "comparisons": [{**asdict(each), "against": found.results[0].name} for each in found.comparisons],
        "expectations": [
            {"expectation": str(each.expectation), "standing": each.standing, "told": each.told}
            for each in found.judged
        ],
        "answers": [
            {
                "id": row.case.id,
                "configuration": result.name,
                "question": row.case.question,
                "answer": row.text,
                "passed": row.passed,
                "why": row.why,
                "undecided": row.undecided,
                "usd": row.usd,
                "seconds": row.seconds,
                "confidence": row.confidence,
                "model": row.model,
                "error": row.error,
            }
            for result in found.results
            for row in result.rows
        ],
    }


def as_text(found: SuiteResult) -> str:
    """For a terminal of 80 columns."""
    asked = len(found.results[0].rows)
    width = max(len("configuration"), *(len(result.name) for result in found.results))
    lines = [
        f"{found.suite.name}: {asked} of {found.of} examples, {found.usd:.4g} USD",
        f"{found.stopped}",
        "",
        f"{'configuration':{width}}  score  95 % interval   USD/1,000    p50    p95",
    ]
    for result in found.results:
        score = result.score
        usd = "unknown" if result.usd_per_1k is None else f"{result.usd_per_1k:.4g}"
        lines.append(
            f"{result.name:{width}}  {score.value:5.3f}  {score.low:.3f} to {score.high:.3f}  {usd:>9}  "
            f"{_seconds(result.seconds_at(0.5)):>5}  {_seconds(result.seconds_at(0.95)):>5}"
        )
    lines += [
        f"{len(failed)} of {asked} answers of {result.name} failed, and count as wrong: {failed[0].why}"
        for result in found.results
        if (failed := result.failures)
    ]
    undecided = sum(result.undecided for result in found.results)
    if undecided:
        lines += [
            "",
            f"{undecided} answers count as wrong because they could not be compared with what is right.",
            "Ask for a last line 'The answer is ...', or hold them to `assert` (icontains, regex, llm-rubric).",
            "",
        ]
    lines += [_compared(each, found.results[0].name) for each in found.comparisons]
    if found.judged:
        lines.append("")
        lines += [f"{each.standing:9}  {each.expectation}: {each.told}" for each in found.judged]
    return "\n".join(lines)


def _compared(each: PairedComparison, against: str) -> str:
    told = f"{each.name} beside {against}: {_signed(each.difference)}; {each.won} won, {each.lost} lost"
    told += f", p {each.p_value:.2g}"
    cost = each.cost
    return told if cost is None else f"{told}; cost x {cost.value:.2f} ({cost.low:.2f} to {cost.high:.2f})"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    return f"{seconds:.1f}s" if seconds >= 1 else f"{1_000 * seconds:.0f}ms"


def as_html(found: SuiteResult) -> str:
    """One page that can be mailed or kept: figures, expectations, and the examples, those that part first."""
    results = found.results
    rows = list(zip(*(result.rows for result in results), strict=True))
    rows.sort(key=lambda row: (len({each.passed for each in row}) == 1, all(each.passed for each in row)))
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            found=found, rows=rows[:MAX_SHOWN], left_out=max(len(rows) - MAX_SHOWN, 0), signed=_signed, seconds=_seconds
        )
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
