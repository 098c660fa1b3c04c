"""`orchestrator mcp`: the fleet and its memory as a server of the Model Context Protocol, over stdio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import config_option, memory_option, reports_errors, run_with, scope_option, usd_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.execution.runtime import Runtime
    from orchestrator.pipeline.pipeline import Pipeline


@click.command("mcp")
@usd_option
@scope_option
@memory_option
@config_option
@reports_errors
def command(usd: float | None, scope: str, memory_path: Path | None, config: Path | None) -> None:
    """Serve `answer`, `recall`, `remember`, `forget`, `route` and the configuration's pipelines to an MCP client.

    The scope is this server's: its client sees no other. Nothing but the protocol is printed.

    \b
    In Claude Desktop's or Claude Code's configuration:
      {"mcpServers": {"orchestrator": {"command": "orchestrator", "args": ["mcp", "--scope", "me"]}}}
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.budget import Budget
        from orchestrator.mcp import LocalHost, build_server

        pipelines, limits = pipelines_of(config, orchestrator), Budget(usd=usd)
        host = LocalHost(
            orchestrator, scope=scope, budget=limits, pipelines=pipelines, runtime=runtime_of(orchestrator)
        )
        await build_server(host).run_stdio_async()

    run_with(config, memory_path, job)


def pipelines_of(config: Path | None, fleet: Orchestrator) -> dict[str, Pipeline]:
    """The pipelines that the configuration names, checked. Raises `InvalidPipeline`."""
    from orchestrator.cli.pipelines import configured
    from orchestrator.pipeline.pipeline import Pipeline

    found = configured(config)
    files = {} if found is None else found.pipelines
    models = list(fleet.backends)
    return {name: Pipeline.load(file, models=models, root=Path(file).resolve().parent) for name, file in files.items()}


def runtime_of(fleet: Orchestrator) -> Runtime:
    """What runs of pipelines share: they are not kept."""
    from orchestrator.pipeline.execution.runtime import Runtime

    return Runtime(fleet)
