"""`orchestrator backup`: a copy of everything that a configuration keeps, taken while it is in use."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json, config_option, reports_errors
from orchestrator.jsontypes import JsonObject


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@config_option
@as_json
@reports_errors
def command(folder: Path, config: Path | None, as_json: bool) -> None:
    """Write a backup into FOLDER: databases (SQLite, PostgreSQL), the configuration, routers, students, pipelines.

    Each database is copied as it is at one moment, while the gateway serves. FOLDER appears when the backup is whole;
    `orchestrator restore FOLDER` brings it back. It holds what the databases hold: keep it as safe as them.
    """
    from orchestrator.cli.options import kept_config
    from orchestrator.offline.backup import back_up

    manifest = back_up(kept_config(config), folder)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **manifest}))
        return
    parts: list[JsonObject] = manifest["parts"]
    for part in parts:
        click.echo(f"{part['name']:24} {part['kind']:9} {part['at'] or 'PostgreSQL'}")
    click.echo(f"{len(parts)} parts in {folder}")
