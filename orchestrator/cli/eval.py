"""`orchestrator eval`: configurations against examples whose answers are known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.options import (
    DefaultGroup,
    as_json,
    config_option,
    hint,
    is_quiet,
    quiet_option,
    reports_errors,
)
from orchestrator.cli.stores import open_requests, store_option
from orchestrator.cli.values import FiniteRange, OutputFile


@click.group("eval", cls=DefaultGroup)
def command() -> None:
    """Compare configurations on examples: `orchestrator eval SUITE.yaml`; on live traffic: `orchestrator eval ab NAME`.

    Figures have intervals that hold whenever one looks, so that ending early is honest (docs/evaluate.md).
    """


@command.command("run")
@click.argument("suite", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--html",
    type=OutputFile(),
    help="Also write a page with all figures and every answer.",
)
@click.option("--out", type=OutputFile(), help="Also write all of it as JSON.")
@quiet_option
@as_json
@reports_errors
def run(suite: Path, html: Path | None, out: Path | None, as_json: bool) -> None:
    """Ask every configuration of SUITE the same examples, and say which is better, by how much, and how sure that is.

    SUITE is a YAML file: data (JSON lines, CSV, tests of promptfoo, samples of inspect_ai), configurations, and what is
    expected of them. The run ends as soon as that is decided; looking early does not make it less sure. Exit code 0
    where every expectation is met, 1 where one failed or could not be shown.
    """
    import asyncio

    from orchestrator.evaluation import report
    from orchestrator.evaluation.run import evaluate
    from orchestrator.evaluation.suite import load_suite

    found = asyncio.run(evaluate(load_suite(suite), on_asked=lambda done, of: _progress(done, of, as_json)))
    if html is not None:
        html.write_text(report.as_html(found), encoding="utf-8")
    if out is not None:
        out.write_text(json.dumps(report.as_json(found), indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(report.as_json(found), indent=2) if as_json else report.as_text(found))
    raise SystemExit(0 if found.passed else 1)


@command.command("ab")
@click.argument("name")
@config_option
@store_option
@click.option("--days", type=FiniteRange(0, 3_650, min_open=True), default=30.0, show_default=True)
@click.option(
    "--max-loss",
    type=FiniteRange(0.0, 0.5),
    default=0.03,
    show_default=True,
    help="What the variant may lose of the mean score.",
)
@as_json
@reports_errors
def ab(name: str, config: Path | None, store: str | None, days: float, max_loss: float, as_json: bool) -> None:
    """What the experiment NAME of `gateway.experiments` shows by now.

    Each key (or scope) counts once, by the first of its answers that was graded by feedback: so the bounds hold however
    often one looks, and ending as soon as they part is honest. Costs and times are of all requests.
    """
    import time

    from orchestrator.cli.options import kept_config
    from orchestrator.errors import ConfigError
    from orchestrator.evaluation.experiment import Observed, analyse
    from orchestrator.storage import DecisionLog

    stated = kept_config(config)
    if name not in stated.gateway.experiments:
        known = ", ".join(stated.gateway.experiments) or "none"
        raise ConfigError(f"there is no experiment {name!r}", remedy=f"gateway.experiments has: {known}")
    rows = list(open_requests(config, store).of_experiment(name, since=time.time() - 86_400 * days))
    grades: dict[str, dict[str, float]] = {}
    if stated.online is not None:
        grades = DecisionLog(stated.online.path).grades([row["id"] for row in rows])
    found = analyse(
        [
            Observed(
                row["unit"],
                row["arm"],
                row["at"],
                row["cost_usd"],
                row["seconds"],
                grades.get(row["id"], {}).get(row["model"]),
            )
            for row in rows
        ],
        max_loss=max_loss,
    )
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{'arm':8}  {'units':>6}  {'graded':>6}  {'score':>5}  95 % bounds     {'USD':>9}  {'time':>7}")
    for arm in (found.control, found.variant):
        usd = "unknown" if arm.usd is None else f"{arm.usd:.6f}"
        score = f"{arm.score.value:5.3f}" if arm.graded_units else "    -"
        click.echo(
            f"{arm.arm:8}  {arm.units:6}  {arm.graded_units:6}  {score}  {arm.score.low:.3f} to {arm.score.high:.3f}  "
            f"{usd:>9}  {arm.seconds:6.2f}s"
        )
    click.echo(f"{found.verdict} (by at most {max_loss:g})" if found.verdict != "not decided" else found.verdict)
    if stated.online is None:
        hint("no answer is graded: write online: {} in the configuration, and send feedback")


def _progress(done: int, of: int, as_json: bool) -> None:
    if not as_json and not is_quiet():
        hint(f"{done} of {of} examples asked")
