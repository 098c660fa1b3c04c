"""`orchestrator config`: is the configuration right, and what does it amount to?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json, config_option, reports_errors


@click.group("config")
def command() -> None:
    """Check orchestrator.yaml."""


@command.command("check")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@config_option
@as_json
@reports_errors
def check(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check FILE, or orchestrator.yaml: every mistake in one pass, with its place, and whether each model can be built.

    Nothing is contacted, written or made. Exit code 2 if there is a mistake.
    """
    from orchestrator.config.distill_job import load_job
    from orchestrator.config.models import DEFAULT_NAME, load_config
    from orchestrator.engine.orchestrator import Orchestrator

    path = file or config or Path(DEFAULT_NAME)
    stated = load_config(path)
    # All that it takes to answer, without opening what is kept: router, search, promise, checks, tools.
    with Orchestrator.from_config(stated, memory=None, storage=None, traces=None, online=None, distill=None) as fleet:
        backends = fleet.backends
    if stated.pipelines:
        from orchestrator.gateway.chat.pipeline_models import loaded

        loaded(stated.pipelines, list(stated.models))
    for job in [] if stated.distill is None else stated.distill.jobs:
        load_job(job)
    unpriced = [name for name, each in backends.items() if each.profile.input_usd_per_mtok is None]
    refused = unpriced if stated.budget.usd is not None else []
    if as_json:
        told = {"file": str(path), "models": list(backends), "without_price": unpriced, "ok": True}
        click.echo(json.dumps(told, indent=2))
        return
    models = f"{len(backends)} model{'s' * (len(backends) != 1)}"
    click.echo(f"{path} is valid: {models} ({', '.join(backends)})")
    if refused:
        click.echo(
            f"note: {', '.join(refused)} will never be asked: the price is unknown and budget.usd is set. "
            "State input_usd_per_mtok and output_usd_per_mtok",
            err=True,
        )
