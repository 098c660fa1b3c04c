"""`orchestrator feedback`: what became known of an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("feedback")
@click.argument("answer_id")
@click.option("--score", type=float, help="How right the answer was, 0 to 1.")
@click.option("--expected", help="The right answer: every draft is compared with it.")
@click.option("--reliability", type=float, default=1.0, show_default=True, help="Probability that this grade is right.")
@click.option("--source", default="user", show_default=True, help="Who says so.")
@config_option
@as_json
@reports_errors
def command(
    answer_id: str,
    score: float | None,
    expected: str | None,
    reliability: float,
    source: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Say how right the answer ANSWER_ID was, so that the router learns from it.

    Needs a decision log (`online: {}` in the configuration); `orchestrator ask` prints the id of its answer then.
    """

    async def job(orchestrator: Orchestrator) -> None:
        graded = await orchestrator.feedback(
            answer_id, score, expected=expected, reliability=reliability, source=source
        )
        if as_json:
            click.echo(json.dumps({"answer": answer_id, "graded": graded}, indent=2))
        else:
            click.echo("graded " + ", ".join(f"{model}: {value:g}" for model, value in graded.items()))

    run_with(config, None, job)
