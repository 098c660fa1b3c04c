"""`orchestrator mcp`: the fleet and its memory as a server of the Model Context Protocol, over stdio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import config_option, memory_option, reports_errors, run_with, scope_option, usd_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("mcp")
@usd_option
@scope_option
@memory_option
@config_option
@reports_errors
def command(usd: float | None, scope: str, memory_path: Path | None, config: Path | None) -> None:
    """Serve `answer`, `recall`, `remember`, `forget` and `route` to an MCP client that starts this command.

    The scope is this server's: its client sees no other. Nothing but the protocol is printed.

    \b
    In Claude Desktop's or Claude Code's configuration:
      {"mcpServers": {"orchestrator": {"command": "orchestrator", "args": ["mcp", "--scope", "me"]}}}
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.budget import Budget
        from orchestrator.mcp import build_server

        await build_server(orchestrator, scope=scope, budget=Budget(usd=usd)).run_stdio_async()

    run_with(config, memory_path, job)
