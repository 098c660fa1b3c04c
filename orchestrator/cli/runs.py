"""`orchestrator runs`: the runs of pipelines that are kept: list them, look at one, cancel, replay or delete it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import as_json, config_option, reports_errors
from orchestrator.cli.pipelines import database_option, loaded, open_runs, python_option
from orchestrator.cli.values import FiniteRange
from orchestrator.jsontypes import JsonValue

if TYPE_CHECKING:
    from orchestrator.storage.runs import Runs, StoredRun


@click.group("runs", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Runs of pipelines. Without a command, the newest are listed."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs)


@command.command("list")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@database_option
@as_json
@reports_errors
def list_runs(
    pipeline: str | None = None, limit: int = 20, runs_at: str = ".orchestrator/runs.db", as_json: bool = False
) -> None:
    """List the newest runs."""
    runs = open_runs(runs_at)
    found = runs.recent("", pipeline=pipeline, limit=limit)
    if as_json:
        click.echo(json.dumps([run.as_dict() for run in found], indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("no runs are kept here. Start one: orchestrator run FILE -i NAME=VALUE")
    for run in found:
        spent = runs.spent(run.id)[0] / 1e9
        began = datetime.fromtimestamp(run.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(
            f"{run.id}  {run.status:<10} {began}  {run.pipeline}  {spent:.6f} "
            f"USD{'  ' + run.error[:80] if run.error else ''}"
        )


@command.command("show")
@click.argument("run")
@database_option
@as_json
@reports_errors
def show(run: str, runs_at: str, as_json: bool) -> None:
    """Show what each step of RUN gave."""
    runs = open_runs(runs_at)
    found = _found(runs, run)
    steps = runs.steps(run)
    if as_json:
        told = [
            {"path": s.path, "status": s.status, "value": s.value, "cost_usd": s.cost_usd, "seconds": s.seconds}
            for s in steps
        ]
        click.echo(json.dumps({**found.as_dict(), "steps": told}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{found.pipeline}  {found.status}  {found.file}")
    for step in steps:
        click.echo(f"  {step.status:<8} {step.path}  {step.seconds:.2f} s  {_short(step.value)}")
    if found.error:
        click.echo(f"error: {found.error}")
    click.echo(f"output: {_short(found.output, 2_000)}")


@command.command("cancel")
@click.argument("run")
@database_option
@as_json
@reports_errors
def cancel(run: str, runs_at: str, as_json: bool) -> None:
    """Ask the process that works on RUN to end it. It can be resumed later."""
    runs = open_runs(runs_at)
    found = _found(runs, run)
    is_asked = not found.has_ended and runs.cancel("", run)
    if as_json:
        click.echo(json.dumps({"run": run, "status": found.status, "is_asked_to_end": is_asked}))
    elif found.has_ended:
        click.echo(f"{run} has ended already: {found.status}")
    elif is_asked:
        click.echo(f"{run} is asked to end")


@command.command("replay")
@click.argument("run")
@click.option(
    "--from",
    "begin",
    metavar="STEP",
    help="Do this step, and all that follows from it, anew; the others give what they gave.",
)
@database_option
@config_option
@python_option
@as_json
@reports_errors
def replay(run: str, begin: str | None, runs_at: str, config: Path | None, allow_python: bool, as_json: bool) -> None:
    """Run RUN again with what its steps gave: no model is asked for what is there.

    With --from, a new run is made from that step on.
    """
    from orchestrator.cli.run import _engine
    from orchestrator.pipeline import Runtime

    runs = open_runs(runs_at)
    stored = _found(runs, run)
    pipeline = loaded(Path(stored.file), config, allow_python=allow_python)

    async def go() -> Any:
        engine = await asyncio.to_thread(_engine, config)
        try:
            async with Runtime(engine, runs=runs) as host:
                found = await pipeline.replay(run, host=host, begin=begin)
                await found.settled()
                return found
        finally:
            if engine is not None:
                await engine.aclose()

    found = asyncio.run(go())
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(
            found.output if isinstance(found.output, str) else json.dumps(found.output, indent=2, ensure_ascii=False)
        )
        kept = sum(step.status == "kept" for step in found.steps)
        click.echo(click.style(f"run {found.id}: {kept} steps as they were, {found.calls} calls", dim=True), err=True)


@command.command("delete")
@click.argument("run")
@database_option
@as_json
@reports_errors
def delete(run: str, runs_at: str, as_json: bool) -> None:
    """Delete RUN and what its steps gave, for good."""
    runs = open_runs(runs_at)
    _found(runs, run)
    runs.delete("", run)
    click.echo(json.dumps({"deleted": run}) if as_json else f"{run} is deleted")


@command.command("prune")
@click.option(
    "--days", type=FiniteRange(0), default=30.0, show_default=True, help="Runs that ended longer ago are deleted."
)
@database_option
@as_json
@reports_errors
def prune(days: float, runs_at: str, as_json: bool) -> None:
    """Delete old runs, with what their steps gave, and what is cached no longer."""
    runs = open_runs(runs_at)
    count = runs.forget(before=runs.clock() - 86_400 * days)
    click.echo(json.dumps({"deleted": count}) if as_json else f"{count} run{'s' * (count != 1)} deleted")


def _found(runs: Runs, id: str) -> StoredRun:
    from orchestrator.pipeline.execution.result import UnknownRun

    found = runs.find("", id)
    if found is None:
        raise UnknownRun(f"there is no run {id!r}", remedy="orchestrator runs lists them")
    return found


def _short(value: JsonValue, most: int = 100) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 3]}..."
