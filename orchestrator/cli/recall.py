"""`orchestrator recall`: what memory holds for a query."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, run_with_memory, time_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("recall")
@click.argument("query")
@click.option(
    "--tokens", type=click.IntRange(min=0), default=400, show_default=True, help="Token budget of the packed context."
)
@click.option("--as-of", help="What was known and true at this date: 2025-03-04.")
@click.option("--history", is_flag=True, help="Also what newer records have superseded.")
@engine_options
def command(
    query: str,
    tokens: int,
    as_of: str | None,
    history: bool,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show the facts that QUERY would be given, best first, and why each was recalled."""
    from orchestrator.memory.retrieval.packing import when_of

    moment = time_option(as_of) if as_of else None

    async def job(orchestrator: Orchestrator) -> None:
        recall = orchestrator.need_memory().recall
        found = await asyncio.to_thread(
            recall, query, scope, token_budget=tokens, as_of=moment, history=history or None
        )
        if as_json:
            items = [
                {
                    "citation": i.record.citation,
                    "text": i.record.text,
                    "score": round(i.score, 4),
                    "reason": i.reason,
                    "source": i.record.source,
                }
                for i in found.items
            ]
            click.echo(
                json.dumps(
                    {
                        "query": query,
                        "scope": scope,
                        "tokens": found.tokens,
                        "searched": found.searched,
                        "items": items,
                    },
                    indent=2,
                )
            )
            return
        for item in found.items:
            click.echo(
                f"[{item.record.citation}]{when_of(item.record)} {item.record.key}\n    "
                f"{click.style(item.reason, dim=True)}"
            )
        click.echo(f"{len(found.items)} of {found.searched} records, {found.tokens} tokens", err=True)

    run_with_memory(config, memory_path, job)
