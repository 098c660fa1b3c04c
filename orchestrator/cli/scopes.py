"""`orchestrator scopes`: whose memories there are, and how many each scope holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    as_json,
    config_option,
    memory_option,
    quiet_option,
    reports_errors,
    run_with_memory,
)

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("scopes")
@memory_option
@config_option
@as_json
@quiet_option
@reports_errors
def command(memory_path: Path | None, config: Path | None, as_json: bool) -> None:
    """List the scopes of memory, with how many records each holds. What a scope holds: orchestrator export --scope."""

    async def job(orchestrator: Orchestrator) -> None:
        memory = orchestrator.need_memory()
        counts = {scope: memory.count(scope) for scope in memory.scopes()}
        if as_json:
            click.echo(json.dumps([{"scope": scope, "records": count} for scope, count in counts.items()], indent=2))
            return
        if not counts:
            click.echo('no scopes yet. Store a text: orchestrator remember "..." --scope shop/ann')
        width = max(map(len, counts), default=0)
        for scope, count in counts.items():
            click.echo(f"{scope:{width}}  {count:,} record{'s' * (count != 1)}")

    run_with_memory(config, memory_path, job)
