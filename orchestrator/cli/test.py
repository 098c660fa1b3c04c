"""`orchestrator test`: runs the tests that stand in a pipeline's file, on stand-ins for models.

Exit code 1 if one fails.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import reports_errors
from orchestrator.cli.pipelines import (
    config_option,
    configured,
    loaded,
    profiles_of,
    python_option,
    watch_option,
    watching,
)

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.testing.testing import TestResult


@click.command("test")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("-k", "pattern", default="", help="Only tests whose names hold this.")
@config_option
@python_option
@watch_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@reports_errors
def command(
    files: tuple[Path, ...], pattern: str, config: Path | None, allow_python: bool, watch: bool, as_json: bool
) -> None:
    """Run the tests in FILES. Models and tools are played by stand-ins unless a test says `fleet: configured`."""

    def once() -> list[Path]:
        read: list[Path] = list(files)
        results = {str(file): _tested(file, pattern, config, allow_python, read) for file in files}
        if as_json:
            click.echo(
                json.dumps(
                    {file: [each.as_dict() for each in found] for file, found in results.items()},
                    indent=2,
                    ensure_ascii=False,
                )
            )
        else:
            _show(results)
        if not all(each.passed for found in results.values() for each in found):
            failed.append(True)
        return read

    failed: list[bool] = []
    watching(watch, files[0], once)
    if failed:
        raise SystemExit(1)


def _tested(file: Path, pattern: str, config: Path | None, allow_python: bool, read: list[Path]) -> list[TestResult]:
    from orchestrator.pipeline.testing.testing import run_test

    pipeline = loaded(file, config, allow_python=allow_python)
    read += pipeline.files
    profiles = profiles_of(config)

    def engine() -> Orchestrator:
        from orchestrator.engine.orchestrator import Orchestrator
        from orchestrator.errors import ConfigError

        found = configured(config)
        if found is None:
            raise ConfigError("a test with fleet: configured needs a configuration", remedy="Name one with --config")
        return Orchestrator.from_config(found)

    tests = [test for test in pipeline.document.tests if pattern in test.name]
    if pattern and not tests:
        names = ", ".join(repr(test.name) for test in pipeline.document.tests) or "none"
        raise click.UsageError(f"no test of {file} has {pattern!r} in its name; there are: {names}")

    async def all_of_them() -> list[TestResult]:
        return [await run_test(pipeline, test, engine=engine, profiles=profiles) for test in tests]

    return asyncio.run(all_of_them())


def _show(results: dict[str, list[TestResult]]) -> None:
    for file, found in results.items():
        click.echo(f"{file}: {'no tests' if not found else ''}".rstrip(": ") if not found else file)
        for each in found:
            mark = click.style("pass", fg="green") if each.passed else click.style("FAIL", fg="red")
            cost = "" if each.cost_usd is None else f", {each.cost_usd:.6f} USD"
            click.echo(f"  {mark}  {each.name}  ({each.seconds:.2f} s{cost}{', simulated' if each.simulated else ''})")
            for problem in each.problems:
                click.echo(f"        {problem}")
