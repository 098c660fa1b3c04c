"""`orchestrator route`: the decision alone, without asking any model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, run_with

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("route")
@click.argument("question")
@click.option("--quality", type=float, help="The P(correct) that a model must reach, 0 to 1.")
@click.option("--explain", is_flag=True, help="Also show what the decision rests on.")
@engine_options
def command(
    question: str,
    quality: float | None,
    explain: bool,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show which model QUESTION would go to, what each would cost, and why the others were rejected.

    No model is asked.
    """

    async def job(orchestrator: Orchestrator) -> None:
        route = orchestrator.route(question, scope=scope, quality=quality)
        if as_json:
            rests_on = {"explanation": asdict(orchestrator.explain(question))} if explain else {}
            click.echo(json.dumps({"using": orchestrator.origin, **route.as_dict(), **rests_on}, indent=2))
            return
        from orchestrator.cli.show import messages, show_route

        messages.print(f"[dim]using {orchestrator.origin}[/dim]")
        show_route(route)
        if explain:
            found = orchestrator.explain(question)
            click.echo(f"judged: {found.query[:200]!r}; ease {found.ease:+.2f}, familiarity {found.familiarity:.2f}")
            for name, source in found.sources.items():
                click.echo(
                    f"  {name}: P(correct) from {source}; about {found.expected_tokens[name]:.0f} tokens expected"
                )

    run_with(config, memory_path, job)
