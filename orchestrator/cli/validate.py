"""`orchestrator validate`: every mistake in a pipeline, in one pass. Exit code 2 if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import reports_errors
from orchestrator.cli.pipelines import (
    config_option,
    file_argument,
    format_option,
    loaded,
    python_option,
    show_mistakes,
    watch_option,
    watching,
)

if TYPE_CHECKING:
    from orchestrator.pipeline.language.diagnostics import Format


@click.command("validate")
@file_argument
@config_option
@format_option
@click.option("--json", "in_json", is_flag=True, help="The same as --format json.")
@python_option
@watch_option
@reports_errors
def command(file: Path, config: Path | None, form: Format, in_json: bool, allow_python: bool, watch: bool) -> None:
    """Check FILE: what is wrong with it, where, and what to write instead. Nothing is run and no model is asked."""
    form = "json" if in_json else form
    watching(watch, file, lambda: _once(file, config, form, allow_python))


def _once(file: Path, config: Path | None, form: Format, allow_python: bool) -> list[Path]:
    from orchestrator.pipeline.language.diagnostics import Diagnostic, InvalidPipeline

    warnings: list[Diagnostic] = []
    try:
        pipeline = loaded(file, config, allow_python=allow_python, warnings=warnings)
    except InvalidPipeline as invalid:
        if form == "text":
            raise
        show_mistakes(invalid.diagnostics, form)
        raise SystemExit(2) from None
    show_mistakes(warnings, form)
    if form == "text":
        steps = sum(1 for _ in pipeline.block.walk())
        tests = len(pipeline.document.tests)
        click.echo(
            f"{file}: {pipeline.name} is valid: {steps} step{'s' * (steps != 1)}, {tests} test{'s' * (tests != 1)}"
        )
    return [file, *pipeline.files]
