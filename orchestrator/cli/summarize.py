"""`orchestrator summarize`: what a scope of the memory is about."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, run_with_memory

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("summarize")
@click.option("--session", help="Only this session of the scope.")
@click.option(
    "--tokens", type=click.IntRange(min=0), default=300, show_default=True, help="Token budget of the summary."
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="Let the cheapest adequate of these write it [default: sentences of the records].",
)
@engine_options
def command(
    session: str | None,
    tokens: int,
    models: tuple[str, ...],
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Sum up a scope, or one session of it, with citations.

    What a model writes is kept as far as the records that it cites support it.
    """

    async def job(orchestrator: Orchestrator) -> None:
        summary = await orchestrator.summarize(scope, session=session, token_budget=tokens, models=models or None)
        if as_json:
            click.echo(json.dumps({**asdict(summary), "scope": scope}, ensure_ascii=False, indent=2))
        else:
            click.echo(summary.text or f"nothing is remembered in scope {scope}")

    run_with_memory(config, memory_path, job)
