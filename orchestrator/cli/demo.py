"""`orchestrator demo`: the main job, offline."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json, reports_errors


@click.command("demo")
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/demo.svg"),
    show_default=True,
    help="Where the chart goes.",
)
@click.option("--problems", type=click.IntRange(10, 5_000), default=200, show_default=True, help="How many problems part two generates.")
@as_json
@reports_errors
def command(svg: Path, problems: int, as_json: bool) -> None:
    """Run the main job with no key and no network.

    Part one gives real answers from bundled notes, arithmetic and dates. Part two is a labelled simulation: four simulated models behind a real
    HTTP server answer generated problems.
    """
    from orchestrator.demo.notes import run_notes
    from orchestrator.demo.simulation import run_simulation

    notes = asyncio.run(run_notes(quiet=as_json))
    simulation = run_simulation(problems, svg, quiet=as_json)
    if as_json:
        click.echo(json.dumps({"notes": notes, "simulation": simulation}, indent=2))
