"""`orchestrator calibrate-search EXAMPLES`: whom to ask, in which order, and when to stop, for a price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator
    from orchestrator.grading import Graded
    from orchestrator.search.calibration import Calibration

FEWEST = 30
DEFAULT_FILE = Path(".orchestrator/search.json")


@click.command("calibrate-search")
@click.argument("examples", type=click.Path(path_type=Path))
@click.option("--price", type=float, required=True, help="What a question may cost in the mean, in USD.")
@click.option("--usd", type=float, default=1.0, show_default=True, help="What the calibration itself may cost at most.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_FILE, show_default=True, help="Where to keep it.")
@config_option
@as_json
@reports_errors
def command(examples: Path, price: float, usd: float, out: Path, config: Path | None, as_json: bool) -> None:
    """Ask every model of the fleet questions whose answers are known, and keep the policy that is right most often for
    a mean price.

    EXAMPLES is a file of JSON lines: {"question": "What is 6 * 7?", "answer": "42"}. Thirty are needed, three hundred
    are good. Every model is asked every question once; what is kept counts for questions of the same kind. Name the
    file under `search:` in orchestrator.yaml to use it.
    """

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.errors import ConfigError
        from orchestrator.grading import grade_fleet, read_examples
        from orchestrator.search import calibrate

        if not (price >= 0 and usd > 0):
            raise ConfigError(f"prices must be numbers of USD above 0, not --price {price:g} --usd {usd:g}", remedy="--price 0.001 --usd 2")
        rows = read_examples(examples)
        graded = await grade_fleet(orchestrator, rows, usd=usd, on_graded=lambda done: _progress(done, len(rows), as_json))
        if len(graded.questions) < FEWEST:
            raise ConfigError(
                f"{len(graded.questions)} questions were graded for {graded.usd:.4f} USD, {FEWEST} are needed",
                remedy=f"Allow more than --usd {usd:g}" if graded.left else f"Add examples to {examples}",
            )
        found = calibrate(graded.questions, max_usd_per_query=price)
        found.save(out)
        click.echo(json.dumps(_as_json(found, graded, out), indent=2) if as_json else _as_text(found, graded, out))

    run_with(config, None, job, memory=None)


def _progress(done: int, of: int, as_json: bool) -> None:
    if not as_json and (done % 10 == 0 or done == of):
        click.echo(f"{done} of {of} questions graded", err=True)


def _as_json(found: Calibration, graded: Graded, out: Path) -> dict[str, Any]:
    return {
        "questions": len(graded.questions),
        "left": graded.left,
        "cost_usd": graded.usd,
        "failures": graded.failures,
        "p_success": dict(found.p_success),
        "model_cost_usd": dict(found.cost_usd),
        "policy": str(found.policy),
        "expected_accuracy": found.expected_accuracy,
        "expected_usd": found.expected_usd,
        "saved": str(out),
    }


def _as_text(found: Calibration, graded: Graded, out: Path) -> str:
    lines = [f"{len(graded.questions)} questions, {graded.usd:.6f} USD"]
    if graded.left:
        lines.append(f"{graded.left} more could not be afforded: allow more with --usd")
    width = max(map(len, found.p_success))
    for model, p in sorted(found.p_success.items(), key=lambda pair: -pair[1]):
        failed = f", {graded.failures[model]} calls failed" if graded.failures.get(model) else ""
        lines.append(f"  {model:<{width}}  right {p:6.1%}  {found.cost_usd[model]:.6f} USD{failed}")
    lines.append(f"policy: {found.policy.in_words}")
    lines.append(f"expected: right {found.expected_accuracy:.1%} for {found.expected_usd:.6f} USD a question")
    lines.append(f"saved in {out}; use it with  search: {out}  in orchestrator.yaml")
    return "\n".join(lines)
