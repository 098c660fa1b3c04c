"""`orchestrator plan`.

The checked graph of a pipeline with what each step will probably cost and how long it will take. No model is asked.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import reports_errors, run_with
from orchestrator.cli.pipelines import (
    config_option,
    file_argument,
    input_option,
    inputs_option,
    loaded,
    python_option,
    read_inputs,
    show_mistakes,
    watch_option,
    watching,
)
from orchestrator.cli.values import OutputFile
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.pipeline import Diagnostic, Pipeline
    from orchestrator.pipeline.analysis.forecast import Outline
    from orchestrator.pipeline.language.estimates import Forecast


@click.command("plan")
@file_argument
@input_option
@inputs_option
@click.option("--svg", type=OutputFile(), help="Write the graph here, as a picture.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print the graph as Mermaid text.")
@click.option(
    "--runs",
    "count",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    help="For how many runs the cost is told.",
)
@config_option
@python_option
@watch_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@reports_errors
def command(
    file: Path,
    inputs: tuple[str, ...],
    inputs_file: Path | None,
    svg: Path | None,
    as_mermaid: bool,
    count: int,
    config: Path | None,
    allow_python: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Check FILE and show its steps: what each gives, costs and takes, and which of them the run waits for."""

    def once() -> list[Path]:
        warnings: list[Diagnostic] = []
        pipeline = loaded(file, config, allow_python=allow_python, warnings=warnings)
        show_mistakes(warnings, "text")
        given = pipeline.inputs_of(read_inputs(pipeline, inputs, inputs_file), whole=False)
        outline = _outlined(pipeline, given, config)
        _show(pipeline, outline, svg, as_mermaid, as_json, count)
        return [file, *pipeline.files]

    watching(watch, file, once)


def _outlined(pipeline: Pipeline, given: JsonObject, config: Path | None) -> Outline:
    from orchestrator.pipeline.analysis.forecast import outlined

    found: list[Outline] = []

    async def job(engine: Any) -> None:
        found.append(await asyncio.to_thread(outlined, pipeline, engine, given))

    run_with(config, None, job)
    return found[0]


def _show(pipeline: Pipeline, outline: Outline, svg: Path | None, as_mermaid: bool, as_json: bool, count: int) -> None:
    from orchestrator.pipeline.analysis import diagram

    if svg is not None:
        notes = {row.path: _notes(row.forecast) for row in outline.rows}
        critical = frozenset(row.path for row in outline.rows if row.is_critical)
        svg.write_text(diagram.svg(pipeline, notes=notes, critical=critical), encoding="utf-8")
    if as_json:
        click.echo(
            json.dumps(
                {**pipeline.as_dict(), **outline.as_dict(), "mermaid": diagram.mermaid(pipeline)},
                indent=2,
                ensure_ascii=False,
            )
        )
    elif as_mermaid:
        click.echo(diagram.mermaid(pipeline), nl=False)
    else:
        _table(pipeline, outline, count)
        if svg is not None:
            click.echo(f"graph: {svg}")


def _notes(one: Forecast) -> list[str]:
    if not one.calls:
        return []
    return [f"{one.model or 'models'}: {_usd(one.usd)} USD, {one.seconds:.1f} s"]


def _table(pipeline: Pipeline, outline: Outline, count: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from orchestrator.cli.show import cell

    table = Table(
        title=f"{pipeline.name}: expected, no model was asked", title_justify="left", box=None, header_style="bold"
    )
    for name in ("step", "verb", "calls", "model", "expected USD", "at most USD", "from s", "takes s", "gives"):
        table.add_column(
            name, justify="right" if name in ("calls", "expected USD", "at most USD", "from s", "takes s") else "left"
        )
    for row in outline.rows:
        one = row.forecast
        mark = "→ " if row.is_critical else "  "
        table.add_row(
            mark + "  " * row.depth + row.path.rpartition(".")[2],
            row.verb,
            f"{one.calls:.1f}" if one.calls else "",
            cell(one.model),
            _usd(one.usd) if one.calls else "",
            _usd(one.worst_usd) if one.calls else "",
            f"{row.starts_s:.2f}",
            f"{one.seconds:.2f}",
            row.gives,
        )
    Console(width=None if Console().is_terminal else 140).print(table)
    total = outline.total
    click.echo(
        f"a run: {_usd(total.usd)} USD expected, {_usd(total.worst_usd)} at most, {total.seconds:.2f} s (→ is what it "
        "waits for)"
    )
    if total.usd is not None:
        click.echo(f"{count:,} runs: {total.usd * count:.4f} USD expected")
    limit = outline.budget_usd
    if limit is not None and (total.worst_usd is None or total.worst_usd > limit):
        click.echo(f"the budget holds a run to {limit} USD: it may be cut short")
    if total.guesses:
        click.echo(f"guessed: {', '.join(total.guesses)}")


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"
