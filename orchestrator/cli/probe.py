"""`orchestrator probe MODEL`: a small benchmark of one model, written into its profile."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with, stated_config

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator
    from orchestrator.probing import Point


@click.command("probe")
@click.argument("model")
@click.option("--usd", type=float, default=0.10, show_default=True, help="What it may cost at most.")
@click.option("--longest", type=int, help="The longest prompt, in tokens [default: the model's context].")
@click.option("--no-context", is_flag=True, help="Leave out the effective context: it takes by far the most tokens.")
@click.option("--no-save", is_flag=True, help="Only print what was measured.")
@config_option
@as_json
@reports_errors
def command(model: str, usd: float, longest: int | None, no_context: bool, no_save: bool, config: Path | None, as_json: bool) -> None:
    """Measure MODEL (its name in the fleet): time to the first token over the prompt's length, speed of writing, what the prefix cache saves, and how
    much of its context it really uses. The figures go into its profile, where the configuration does not state them.
    """

    stated = stated_config(config)

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.backends.measured import DEFAULT_PATH, save_measured
        from orchestrator.budget import Budget, Ledger
        from orchestrator.errors import UnknownModel
        from orchestrator.probing import Probe

        if model not in orchestrator.backends:
            raise UnknownModel(f"unknown model {model!r}", remedy=f"This fleet has: {', '.join(orchestrator.backends)}")
        path = stated.profiles if stated is not None else DEFAULT_PATH
        backend, ledger = orchestrator.backends[model], Ledger(Budget(usd=usd))
        probe = Probe(backend, ledger, longest=longest, report=lambda point: None if as_json else _show(point))
        found = await probe.run(context=not no_context)
        if not no_save:
            save_measured(model, found, path)
        if as_json:
            click.echo(
                json.dumps(
                    {
                        "model": model,
                        "simulated": probe.simulated,
                        **asdict(found),
                        "cost_usd": ledger.spent_usd,
                        "saved": None if no_save else path,
                    },
                    indent=2,
                )
            )
            return
        simulated = " (SIMULATED: no real model)" if probe.simulated else ""
        click.echo(f"\n{model}{simulated}: {ledger.calls} calls, {ledger.spent_usd:.6f} USD")
        for name, value in asdict(found).items():
            click.echo(f"  {name:26} {'not measured' if value is None else f'{value:,.4g}' if isinstance(value, float) else value}")
        click.echo("not saved" if no_save else f"saved in {path}; it fills in what the configuration does not state")

    run_with(config, None, job, memory=None)


def _show(point: Point) -> None:
    value = f"{point.value * 1e3:,.1f} ms" if point.what == "first token" else f"{point.value:,.2f}"
    click.echo(point.what if point.what.startswith("stopped") else f"{point.what:20} {point.tokens:>8,} tokens   {value}")
