"""`orchestrator export`: everything that memory holds of a scope, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json as json_option
from orchestrator.cli.options import config_option, memory_option, reports_errors, run_with_memory, scope_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("export")
@scope_option
@memory_option
@config_option
@json_option
@reports_errors
def command(scope: str, memory_path: Path | None, config: Path | None, as_json: bool) -> None:
    """Print every record of a scope as JSON lines, in order; `orchestrator remember FILE.jsonl` reads them back.

    With --json all of it is one list.
    """
    from orchestrator.memory.ingest.jsonl import as_json as line_of

    async def job(orchestrator: Orchestrator) -> None:
        lines = (line_of(each.record, each.mentions) for each in orchestrator.need_memory().exported(scope))
        if as_json:
            click.echo(f"[{','.join(lines)}]")
            return
        for line in lines:
            click.echo(line)

    run_with_memory(config, memory_path, job)
