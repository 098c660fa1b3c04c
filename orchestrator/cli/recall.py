"""`orchestrator recall`: what memory holds for a query."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, run_with

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator


@click.command("recall")
@click.argument("query")
@click.option("--tokens", type=click.IntRange(min=0), default=400, show_default=True, help="Token budget of the packed context.")
@engine_options
def command(query: str, tokens: int, scope: str, memory_path: Path | None, config: Path | None, as_json: bool) -> None:
    """Show the facts that QUERY would be given, best first, and why each was recalled."""

    async def job(orchestrator: Orchestrator) -> None:
        found = await orchestrator.recall(query, scope, token_budget=tokens)
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
                json.dumps({"query": query, "scope": scope, "tokens": found.tokens, "searched": found.searched, "items": items}, indent=2)
            )
            return
        for item in found.items:
            date = f" ({item.record.time:%Y-%m-%d})" if item.record.time else ""
            click.echo(f"[{item.record.citation}]{date} {item.record.key}\n    {click.style(item.reason, dim=True)}")
        click.echo(f"{len(found.items)} of {found.searched} records, {found.tokens} tokens", err=True)

    run_with(config, memory_path, job)
