"""`orchestrator probe MODEL`: a small benchmark of one model, written into its profile."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with, stated_config
from orchestrator.cli.values import FiniteRange

if TYPE_CHECKING:
    from orchestrator.budget import Ledger
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.offline.probe import Probe, ProbePoint


@click.command("probe")
@click.argument("model")
@click.option("--usd", type=float, default=0.10, show_default=True, help="What it may cost at most.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    help="How long it may take at most [default: as long as it takes].",
)
@click.option("--longest", type=int, help="The longest prompt, in tokens [default: the model's context].")
@click.option("--no-context", is_flag=True, help="Leave out the effective context: it takes by far the most tokens.")
@click.option("--no-save", is_flag=True, help="Only print what was measured.")
@config_option
@as_json
@reports_errors
def command(
    model: str,
    usd: float,
    seconds: float | None,
    longest: int | None,
    no_context: bool,
    no_save: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (its name in the fleet).

    Time to the first token over the prompt's length, speed of writing, what the prefix cache saves, and how much of its
    context it really uses. The figures go into its profile, where the configuration does not state them; where it is
    stopped (Ctrl-C, --seconds, --usd), those measured by then. Progress is told on standard error.
    """
    stated = stated_config(config)

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.budget import Budget, Ledger
        from orchestrator.errors import ConfigError, UnknownModel
        from orchestrator.fleet.measured_profiles import DEFAULT_PATH, load_measured, save_measured
        from orchestrator.offline.probe import Probe

        if model not in orchestrator.backends:
            raise UnknownModel(f"unknown model {model!r}", remedy=f"This fleet has: {', '.join(orchestrator.backends)}")
        if not hasattr(orchestrator.backends[model], "upstream"):
            raise ConfigError(
                f"{model} runs in this process: there is nothing to measure", remedy="Probe a model behind a server"
            )
        path = stated.profiles if stated is not None else DEFAULT_PATH
        backend, ledger = orchestrator.backends[model], Ledger(Budget(usd=usd))
        probe = Probe(backend, ledger, longest=longest, seconds=seconds, report=_show)
        try:
            await probe.run(context=not no_context)
        finally:  # also what was measured before it was stopped
            found = probe.found
            if found.measured_at and not no_save:
                save_measured(model, found, path, earlier=load_measured(path).get(model))
            if found.measured_at:
                _tell(model, probe, ledger, None if no_save else path, as_json=as_json)

    run_with(config, None, job, memory=None)


def _tell(model: str, probe: Probe, ledger: Ledger, path: str | None, *, as_json: bool) -> None:
    found = asdict(probe.found)
    if as_json:
        told = {"model": model, "simulated": probe.simulated, **found, "cost_usd": ledger.spent_usd, "saved": path}
        click.echo(json.dumps(told, indent=2))
        return
    simulated = " (SIMULATED: no real model)" if probe.simulated else ""
    click.echo(f"\n{model}{simulated}: {ledger.calls} calls, {ledger.spent_usd:.6f} USD")
    for name, value in found.items():
        click.echo(
            f"  {name:26} {'not measured' if value is None else f'{value:,.4g}' if isinstance(value, float) else value}"
        )
    click.echo("not saved" if path is None else f"saved in {path}; it fills in what the configuration does not state")


def _show(point: ProbePoint) -> None:
    value = f"{point.value * 1e3:,.1f} ms" if point.what == "first token" else f"{point.value:,.2f}"
    told = point.what if not point.tokens else f"{point.what:20} {point.tokens:>8,} tokens   {value}"
    click.echo(told, err=True)
