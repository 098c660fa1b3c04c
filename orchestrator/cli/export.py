"""`orchestrator export`: everything that memory holds of a scope, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import config_option, memory_option, reports_errors, run_with, scope_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("export")
@scope_option
@memory_option
@config_option
@reports_errors
def command(scope: str, memory_path: Path | None, config: Path | None) -> None:
    """Print every record of a scope as JSON lines, in order; `orchestrator remember FILE.jsonl` reads them back."""
    from orchestrator.memory.ingest.jsonl import as_json

    async def job(orchestrator: Orchestrator) -> None:
        for record in orchestrator.need_memory().export(scope):
            click.echo(as_json(record))

    run_with(config, memory_path, job)
