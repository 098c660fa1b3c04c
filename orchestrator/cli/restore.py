"""`orchestrator restore`: brings back what `orchestrator backup` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json, config_option, reports_errors


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--replace", "replaces", is_flag=True, help="Move aside what is there already.")
@config_option
@as_json
@reports_errors
def command(folder: Path, replaces: bool, config: Path | None, as_json: bool) -> None:
    """Bring back the backup in FOLDER to where the configuration keeps things; without one, that of the backup counts.

    Stop the gateway before. A database on PostgreSQL must be empty. Nothing is changed unless the backup is whole.
    """
    from orchestrator.cli.options import kept_config
    from orchestrator.offline.backup import restore

    within = folder / "configuration"
    done = restore(kept_config(config, otherwise=within if within.is_file() else None), folder, replaces=replaces)
    click.echo(json.dumps({"restored": done}) if as_json else "\n".join(done))
