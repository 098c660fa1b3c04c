"""`orchestrator serve-fleet`: simulated or recorded models behind an OpenAI-compatible server."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json, reports_errors
from orchestrator.cli.values import FiniteRange
from orchestrator.providers.addresses import is_loopback


@click.command("serve-fleet")
@click.option(
    "--recorded",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with recorded answers; without it, simulated models are served.",
)
@click.option("--task", default="gsm", show_default=True, help="Which recordings: the part before _answers.parquet.")
@click.option(
    "--problems",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="How many generated problems the simulated models know.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated problems.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on (loopback only).")
@click.option("--port", type=click.IntRange(0, 65_535), default=8089, show_default=True)
@click.option(
    "--time-scale",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="Multiplies every simulated latency.",
)
@as_json
@reports_errors
def command(
    recorded: Path | None, task: str, problems: int, seed: int, host: str, port: int, time_scale: float, as_json: bool
) -> None:
    """Serve models for tests and experiments: POST /v1/chat/completions (JSON and SSE), GET /v1/models.

    Simulated models are simulations: every answer says so, in its text, in the JSON and in a header.
    """
    from orchestrator.backends.testing.fleet_server import FleetApp, ServedModel, serve
    from orchestrator.errors import ConfigError

    if not is_loopback(host):
        message = f"{host} is not a loopback address"
        raise ConfigError(message, remedy="This server has no authentication: use 127.0.0.1 or ::1")
    models: list[ServedModel]
    if recorded is not None:
        from orchestrator.backends.testing.recorded import load_recorded

        models = list(load_recorded(recorded, task))
    else:
        from orchestrator.demo.problems import generate_problems
        from orchestrator.demo.simulated_fleet import simulated_fleet

        models = list(simulated_fleet(generate_problems(problems, seed=seed)))
    names = [model.profile.name for model in models]
    kind = "recorded" if recorded else "SIMULATED"
    url = f"http://{host}:{port}/v1"
    if as_json:
        click.echo(json.dumps({"url": url, "models": names, "simulated": recorded is None}))
    else:
        click.echo(f"{kind} models on {url}: {', '.join(names)}\nStop with Ctrl-C.", err=True)
    serve(FleetApp(models, time_scale=time_scale), host=host, port=port)
