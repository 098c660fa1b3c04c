"""`orchestrator salvage`: what can still be read of a damaged memory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.options import as_json, config_option, memory_config, reports_errors


@click.command("salvage")
@click.argument("damaged", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), required=True, help="The new memory file.")
@config_option
@as_json
@reports_errors
def command(damaged: Path, into: Path, config: Path | None, as_json: bool) -> None:
    """Copy every readable record of the memory file DAMAGED to a new one.

    DAMAGED is only read; records get new ids. Encoder and key are those of the configuration.
    """
    from orchestrator.fleet.memory import cipher_of, encoder_of
    from orchestrator.memory.salvage import salvage

    wanted = memory_config(config, None)
    found = salvage(damaged, into, encoder=encoder_of(wanted), cipher=cipher_of(wanted))
    if as_json:
        click.echo(json.dumps({**asdict(found), "into": str(into)}))
    else:
        click.echo(
            f"{found.records} records saved to {into}; {found.unreadable} could not be read, or had been deleted before"
        )
