"""`orchestrator schema`: the JSON Schema of pipeline files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import config_option, reports_errors
from orchestrator.cli.pipelines import configured


@click.command("schema")
@click.option("--print", "--json", "to_stdout", is_flag=True, help="Print it instead of writing it.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".orchestrator"),
    show_default=True,
    help="Where to write it.",
)
@config_option
@reports_errors
def command(to_stdout: bool, folder: Path, config: Path | None) -> None:
    """Write the JSON Schema of pipeline files.

    An editor with YAML's language server completes and checks files that begin with the line printed.
    """
    from orchestrator.pipeline.analysis.json_schema import NAME, pipeline_schema

    found = configured(config)
    schema = json.dumps(
        pipeline_schema(list(found.models) if found is not None else None), indent=1, ensure_ascii=False
    )
    if to_stdout:
        click.echo(schema)
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.write_text(schema, encoding="utf-8")
    click.echo(f"# yaml-language-server: $schema=./{path.as_posix()}")
