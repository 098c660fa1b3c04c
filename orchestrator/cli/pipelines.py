"""What the commands about pipelines share: loading with the fleet's names, the store of runs, watching files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import config_option
from orchestrator.config.names import DEFAULT_NAME
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.config.models import Config
    from orchestrator.pipeline import Diagnostic, Pipeline
    from orchestrator.pipeline.language.diagnostics import Format
    from orchestrator.router import ModelProfile
    from orchestrator.storage.runs import Runs

RUNS_PATH = ".orchestrator/runs.db"
WATCH_S = 0.3

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How mistakes are told.",
)
python_option = click.option(
    "--allow-python", is_flag=True, help="Let tools call Python functions of installed modules."
)
watch_option = click.option("--watch", is_flag=True, help="Do it again whenever one of the files changes.")
database_option = click.option(
    "--runs", "runs_at", default=RUNS_PATH, show_default=True, help="Where runs are kept: a file, or postgresql://..."
)
input_option = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input; may be repeated. @FILE reads a file: .json, .jsonl and .csv (a list of rows) where no text is "
    "wanted.",
)
inputs_option = click.option(
    "--inputs",
    "inputs_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Inputs in JSON or YAML.",
)
__all__ = [
    "config_option",
    "database_option",
    "file_argument",
    "format_option",
    "input_option",
    "inputs_option",
    "python_option",
    "watch_option",
]


def configured(config: Path | None) -> Config | None:
    """The configuration that is named or stands in this folder, without making anything of it."""
    chosen = config or (Path(DEFAULT_NAME) if Path(DEFAULT_NAME).exists() else None)
    if chosen is None:
        return None
    from orchestrator.config.models import load_config

    return load_config(chosen)


def loaded(
    file: Path, config: Path | None, *, allow_python: bool = False, warnings: list[Diagnostic] | None = None
) -> Pipeline:
    """The pipeline, checked against the models of the configuration, if there is one. Raises `InvalidPipeline`."""
    from orchestrator.pipeline.pipeline import Pipeline

    found = configured(config)
    models = list(found.models) if found is not None else None
    return Pipeline.load(file, models=models, allow_python=allow_python, warnings=warnings)


def profiles_of(config: Path | None) -> dict[str, ModelProfile] | None:
    """What is known of the configured models, without their keys; `None` without a configuration."""
    from orchestrator.fleet.build import profile_of

    found = configured(config)
    return None if found is None else {name: profile_of(name, one) for name, one in found.models.items()}


def read_inputs(pipeline: Pipeline, stated: tuple[str, ...], file: Path | None) -> JsonObject:
    """The inputs that the options give. Raises `InvalidInputs` or `click.UsageError`."""
    from orchestrator.pipeline.language.inputs import from_file, from_text
    from orchestrator.pipeline.pipeline import read_inputs as all_from_file

    found = all_from_file(file) if file is not None else {}
    given: set[str] = set()
    for each in stated:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"an input is NAME=VALUE, not {each!r}")
        if name in given:
            raise click.UsageError(f"the input {name!r} is given twice; a list is one value: -i {name}='[1, 2]'")
        given.add(name)
        schema = pipeline.schema["properties"].get(name, {})
        found[name] = from_file(Path(value[1:]), schema) if value.startswith("@") else from_text(value, schema)
    return found


def open_runs(where: str) -> Runs:
    """Raises `StorageError`."""
    from orchestrator.storage.database import open_database
    from orchestrator.storage.runs import Runs

    return Runs(open_database(where))


def show_mistakes(diagnostics: Iterable[Diagnostic], form: Format) -> None:
    """Mistakes as they are asked for: for people to standard error, for programs to standard output."""
    from orchestrator.pipeline.language.diagnostics import rendered

    text = rendered(diagnostics, form)
    if text:
        click.echo(text, err=form == "text")


def watching(is_on: bool, file: Path, once: Callable[[], list[Path] | None]) -> None:
    """Does it once, or again and again as the files change that it tells of, until it is interrupted."""
    if not is_on:
        once()
        return
    from orchestrator.errors import OrchestratorError
    from orchestrator.pipeline.language.diagnostics import InvalidPipeline

    seen = _times([file])
    while True:
        files: list[Path] = [file]
        try:
            files += once() or []
        except InvalidPipeline as invalid:
            files += invalid.files
            click.echo(str(invalid), err=True)
        except OrchestratorError as error:
            click.echo(f"error: {error}", err=True)
        now = _times(files)
        seen = {path: seen.get(path, now[path]) for path in now}  # what was changed meanwhile is noticed, too
        click.echo(click.style(f"watching {len(seen)} files; Ctrl-C ends", dim=True), err=True)
        while (now := _times(list(seen))) == seen:
            time.sleep(WATCH_S)
        seen = now


def _times(files: list[Path]) -> dict[Path, float]:
    return {(found := path.resolve()): found.stat().st_mtime if found.exists() else 0.0 for path in files}
