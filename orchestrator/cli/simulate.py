"""`orchestrator simulate`: what a fleet of serving engines would do, before anybody pays for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, hint, quiet_option, reports_errors
from orchestrator.cli.values import FiniteRange, OutputFile
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.simulation.compare import PolicyComparison


@click.command("simulate")
@click.argument("fleet", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), help="Requests as they came: JSON lines or CSV, or .gz."
)
@click.option("--rate", type=FiniteRange(min=0, min_open=True), help="Requests a second, of the workload in the file.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="How long they come at that rate.",
)
@click.option("--speed", type=FiniteRange(min=0, min_open=True), default=1.0, help="Play a trace so much faster.")
@click.option(
    "--replicas", type=click.IntRange(1), help="How many replicas [default: the file's, or as many as needed]."
)
@click.option(
    "--policy", "policies", multiple=True, help="How requests are placed (may be repeated) [default: the file's]."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn by chance.")
@click.option("--chart", type=OutputFile(), help="Write a chart here, as SVG.")
@quiet_option
@as_json
@reports_errors
def command(
    fleet: Path,
    trace: Path | None,
    rate: float | None,
    seconds: float,
    speed: float,
    replicas: int | None,
    policies: tuple[str, ...],
    seed: int,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Predict times, replicas and cost of the engines that FLEET describes. This is a simulation.

    The engine is learned from at most 100 of its own requests (engine: {learn: FILE}), or stated in numbers. No engine
    is asked. Policies: random, round_robin, least_loaded, session, cache_aware, precise, disaggregated.
    """
    from orchestrator.errors import InvalidArgument
    from orchestrator.simulation.compare import compare_on_rate, compare_on_trace
    from orchestrator.simulation.fleet_file import engine_of, load_fleet

    if (trace is None) == (rate is None):
        wrong = "nothing says what is asked of the fleet" if trace is None else "a trace and a rate exclude each other"
        raise InvalidArgument(wrong, remedy="Give --trace FILE or --rate NUMBER")
    if trace is None and speed != 1.0:
        raise InvalidArgument("--speed plays a trace faster, and there is none", remedy="Give a higher --rate")
    stated = load_fleet(fleet).with_options(replicas, policies)
    engine, learned = engine_of(stated, fleet)
    if trace is not None:
        found = compare_on_trace(stated, engine, trace, speed=speed, seed=seed)
    else:
        found = compare_on_rate(stated, engine, rate or 0.0, seconds, seed=seed)
    if chart is not None:
        chart.write_text(found.chart(), encoding="utf-8")
    told: JsonObject = {} if learned is None else {"learned": learned.as_dict()}
    if as_json:
        click.echo(json.dumps({"simulation": True, **told, **found.as_dict()}))
        return
    if learned is not None:
        hint(learned.describe())
    _show(found, chart)


def _show(found: PolicyComparison, chart: Path | None) -> None:
    click.echo(f"SIMULATION of {found.what}")
    for line in found.table():
        click.echo(line)
    for note in found.notes:
        hint(note)
    if chart is not None:
        hint(f"chart: {chart}")
