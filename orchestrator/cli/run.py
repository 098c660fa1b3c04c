"""`orchestrator run`: runs a pipeline, with a live tree of its steps on a terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import reports_errors
from orchestrator.cli.pipelines import (
    config_option,
    database_option,
    file_argument,
    input_option,
    inputs_option,
    loaded,
    open_runs,
    python_option,
    read_inputs,
    show_mistakes,
)
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline import Diagnostic, Pipeline, RunResult


@click.command("run")
@file_argument
@input_option
@inputs_option
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted: what finished is not done again.")
@click.option("--changed", is_flag=True, help="Resume although the files were changed since the run began.")
@click.option("--no-runs", is_flag=True, help="Keep nothing of this run.")
@database_option
@config_option
@python_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: output, cost, steps.")
@reports_errors
def command(
    file: Path,
    inputs: tuple[str, ...],
    inputs_file: Path | None,
    resume: str | None,
    changed: bool,
    no_runs: bool,
    runs_at: str,
    config: Path | None,
    allow_python: bool,
    as_json: bool,
) -> None:
    """Run the pipeline in FILE and print its output. Every finished step is kept, so that a run can be resumed.

    Exits with 1 where a step failed, and where a budget ended the run before all steps were done.
    """
    warnings: list[Diagnostic] = []
    pipeline = loaded(file, config, allow_python=allow_python, warnings=warnings)
    show_mistakes(warnings, "text")
    given = {} if resume else pipeline.inputs_of(read_inputs(pipeline, inputs, inputs_file))
    found = asyncio.run(_run(pipeline, given, resume, changed, None if no_runs else runs_at, config, as_json))
    _show(found, as_json=as_json)
    if found.partial:
        raise SystemExit(1)


def _show(found: RunResult, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    output = found.output
    click.echo(output if isinstance(output, str) else json.dumps(output, indent=2, ensure_ascii=False))
    click.echo(click.style(_told(found), dim=True), err=True)


async def _run(
    pipeline: Pipeline,
    given: JsonObject,
    resume: str | None,
    may_differ: bool,
    runs_at: str | None,
    config: Path | None,
    as_json: bool,
) -> RunResult:
    from orchestrator.pipeline import Runtime

    runs = None if runs_at is None else await asyncio.to_thread(open_runs, runs_at)
    engine = await asyncio.to_thread(_engine, config)
    try:
        async with Runtime(engine, runs=runs) as host:
            if as_json:
                found = await _go(pipeline, given, host, resume, may_differ, None)
            else:
                from orchestrator.cli.tree import Tree

                with Tree(pipeline) as tree:
                    found = await _go(pipeline, given, host, resume, may_differ, tree.event)
                    await found.settled()
            await found.settled()
            return found
    finally:
        if engine is not None:
            await engine.aclose()
        if runs is not None:
            await asyncio.to_thread(runs.database.close)


async def _go(
    pipeline: Pipeline, given: JsonObject, host: Any, resume: str | None, may_differ: bool, on_event: Any
) -> RunResult:
    if resume is not None:
        return await pipeline.resume(resume, host=host, on_event=on_event, may_differ=may_differ)
    return await pipeline.run(given, host=host, on_event=on_event)


def _engine(config: Path | None) -> Orchestrator | None:
    """The configured engine; without a configuration, the host makes one when a step needs it."""
    from orchestrator.cli.pipelines import configured
    from orchestrator.engine.orchestrator import Orchestrator

    found = configured(config)
    return Orchestrator.from_config(found) if found is not None else None


def _told(found: RunResult) -> str:
    cost = "of unknown price" if found.cost_usd is None else f"{found.cost_usd:.6f} USD"
    parts = [f"{found.calls} call{'s' * (found.calls != 1)}, {cost}, {found.seconds:.2f} s", f"run {found.id}"]
    if found.partial:
        parts.insert(0, f"partial: {found.why_partial}")
    if found.simulated:
        parts.insert(0, "SIMULATED models answered")
    return "; ".join(parts)
