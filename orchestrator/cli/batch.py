"""`orchestrator batch`: a file of rows, each asked or run through a pipeline."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from orchestrator.cli.options import as_json, config_option, connect, hint, is_quiet, quiet_option, reports_errors
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    from orchestrator.batch.job import BatchJobProgress, BatchJobResult
    from orchestrator.batch.output import BatchOutput
    from orchestrator.batch.work import QuestionTemplate, RowWork
    from orchestrator.budget import Budget
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings

EACH_S = 10.0  # between two lines of progress where nobody watches a terminal


@click.command("batch")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--ask", metavar="TEXT", help="The question, with {column} where the values of a row stand.")
@click.option(
    "--pipeline", type=click.Path(dir_okay=False, path_type=Path), help="Run this pipeline with each row as its inputs."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for shards, errors, manifest.",
)
@click.option("--id", "id_column", help="Column of the rows' ids [default: id or custom_id, else their numbers].")
@click.option(
    "--input-format",
    "kind",
    type=click.Choice(["jsonl", "csv", "tsv", "parquet"]),
    help="What FILE is [default: by its name].",
)
@click.option("--encoding", help="Of FILE's text [default: UTF-8, or UTF-16 by its mark].")
@click.option("--with-input", is_flag=True, help="Keep each row's own values beside its result.")
@click.option(
    "-n", "--concurrency", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Rows at once."
)
@click.option("--ordered", is_flag=True, help="Write results in the order of the rows.")
@click.option("--usd", "--budget", "usd", type=float, help="Spend at most this many USD, over all runs of this batch.")
@click.option("--seconds", type=float, help="Take at most this long.")
@click.option("-m", "--model", "models", multiple=True, help="Use only this model (may be repeated).")
@click.option("-s", "--system", help="The rules that stand before each question.")
@click.option("--schema", metavar="FILE|JSON", help="JSON Schema that each answer must satisfy.")
@click.option("--quality", type=float, help="Stop at this P(correct), 0 to 1.")
@click.option("--strategy", help="How to search: adaptive, single, cascade, ... (see orchestrator ask).")
@click.option("--max-tokens", type=int, help="The longest answer, in tokens.")
@click.option("--temperature", type=float, help="0 to 2; 0 is the most predictable.")
@click.option("--scope", help="Whose memory is recalled [default: none is].")
@click.option("--may-wait", is_flag=True, help="Answers may take a day: provider's batches at half the price, with -m.")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--shard-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Rows of one file.")
@click.option("--retry-errors", is_flag=True, help="Also try the rows again that failed in an earlier run.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where rows are worked on: here, or on a Ray cluster (extra `ray`).",
)
@click.option("--address", help="Of the Ray cluster [default: one is started on this machine].")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Actors on Ray.")
@config_option
@quiet_option
@as_json
@reports_errors
def command(file: Path, out: Path, as_json: bool, **options: JsonValue) -> None:
    """Work on each row of FILE (.jsonl, .csv, .tsv, .parquet, also .gz; - for what is piped in).

    Rows are streamed, so FILE may be larger than memory. Run the same command again after an interruption, and it goes
    on: only what was under way is asked again. Without --ask and --pipeline, each row says what is asked:
    {"query": ...} or {"messages": [...]}.
    """
    # Small matrices are multiplied all the time: threads that help with them cost more than they save.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from orchestrator.errors import InvalidArgument

    if options["ask"] is not None and options["pipeline"] is not None:
        raise InvalidArgument("a batch has a question or a pipeline, not both", remedy="Give --ask or --pipeline")
    if file != Path("-") and not file.is_file():
        raise InvalidArgument(f"no such file: {file}", remedy="Check the path")
    result = asyncio.run(_run(file, out, as_json, options))
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    else:
        _show(result, out)
    if result.stopped or result.errors:
        raise SystemExit(1)


async def _run(file: Path, out: Path, as_json: bool, options: dict[str, Any]) -> BatchJobResult:
    from orchestrator.batch.job import BatchJob
    from orchestrator.batch.output import BatchOutput

    _check_question(options)
    output = BatchOutput(out, _identity(file, options), form=options["form"], shard_rows=options["shard_rows"])
    try:
        async with AsyncExitStack() as stack:
            work = await _work(stack, output, options)
            shown = _ProgressLine(as_json=as_json)
            job = BatchJob(
                file,
                output,
                work,
                id_column=options["id_column"],
                kind=options["kind"],
                encoding=options["encoding"],
                retry_errors=options["retry_errors"],
                with_input=options["with_input"],
                on_progress=shown.take,
            )
            with suppress(NotImplementedError, ValueError):  # Windows; a thread that is not the main one
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, _interrupt, job.stop)
            try:
                return await job.run()
            finally:
                shown.end()
    finally:
        output.close()


def _check_question(options: dict[str, Any]) -> None:
    """Raises `InvalidArgument` on what no row could be asked with, before the folder is made."""
    from orchestrator.batch.work import QuestionTemplate
    from orchestrator.errors import InvalidArgument

    if options["ask"] is not None:
        QuestionTemplate(options["ask"])
    if options["pipeline"] is not None and not options["pipeline"].is_file():
        raise InvalidArgument(f"no such file: {options['pipeline']}", remedy="Check the path of --pipeline")
    if options["may_wait"] and (options["ask"] is None or len(options["models"]) != 1):
        raise InvalidArgument("--may-wait needs a question and one model", remedy="Add --ask TEXT and -m MODEL")


def _interrupt(stop: Callable[[], None]) -> None:
    """The first Ctrl-C takes no further rows; the second ends at once."""
    stop()
    hint("\nfinishing the rows that are under way; Ctrl-C again ends at once")
    with suppress(NotImplementedError, ValueError):
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def _identity(file: Path, options: dict[str, Any]) -> JsonObject:
    """What may not change from one run of a batch to the next."""
    pipeline: Path | None = options["pipeline"]
    told = {name: options[name] for name in ("ask", "system", "schema", "scope", "id_column", "form")}
    if pipeline is not None and pipeline.is_file():
        told["pipeline"] = hashlib.sha256(pipeline.read_bytes()).hexdigest()[:16]
    return {"input": file.name, **told, "models": sorted(options["models"])}


async def _work(stack: AsyncExitStack, output: BatchOutput, options: dict[str, Any]) -> RowWork:
    from orchestrator.batch.work import PipelineRuns, Questions, QuestionTemplate

    budget = _left(options, output.spent_usd)
    template = None if options["ask"] is None else QuestionTemplate(options["ask"])
    how: dict[str, Any] = {
        "budget": budget,
        "concurrency": options["concurrency"],
        "ordered": options["ordered"],
    }
    if options["engine"] == "ray":
        return await asyncio.to_thread(_on_ray, template, how, options)
    if options["pipeline"] is not None:
        from orchestrator.cli.pipelines import loaded
        from orchestrator.pipeline import Runtime

        pipeline = loaded(options["pipeline"], options["config"])
        fleet = await stack.enter_async_context(await connect(options["config"], None))
        host = await stack.enter_async_context(Runtime(fleet))
        return PipelineRuns(pipeline, host, **how)
    fleet = await stack.enter_async_context(await connect(options["config"], None, models=options["models"]))
    hint(f"using {fleet.origin}")
    from orchestrator.engine.settings import read_settings

    read_settings("?", _settings_of(options), fleet.backends, fleet.tools, fleet.catalog)  # a mistake is told once
    if options["may_wait"]:
        return _provider_batches(fleet, template, output, budget, options)
    return Questions(fleet, template, _settings_of(options), **how)


def _on_ray(template: QuestionTemplate | None, how: dict[str, Any], options: dict[str, Any]) -> RowWork:
    from orchestrator.cli.options import default_config
    from orchestrator.scale.ray_batch import RayBatchWork

    config = options["config"] or default_config()
    where = {name: options[name] for name in ("address", "workers")}
    return RayBatchWork(template, options["pipeline"], _settings_of(options), config=config, **how, **where)


def _provider_batches(
    fleet: Orchestrator,
    template: QuestionTemplate | None,
    output: BatchOutput,
    budget: Budget,
    options: dict[str, Any],
) -> RowWork:
    from orchestrator.batch.on_provider import ProviderBatchWork
    from orchestrator.errors import InvalidArgument

    assert template is not None
    if options["schema"] or options["strategy"] or options["scope"]:
        raise InvalidArgument(
            "a provider's batch knows no --schema, --strategy or --scope",
            remedy="Leave them out, or leave --may-wait out",
        )
    return ProviderBatchWork(
        fleet,
        options["models"][0],
        template,
        _settings_of(options),
        budget=budget,
        pending=output.pending,
        keep_pending=output.keep_pending,
    )


def _settings_of(options: dict[str, Any]) -> QuerySettings:
    """The settings of each question."""
    from orchestrator.cli.ask import read_schema

    named = ("system", "quality", "strategy", "max_tokens", "temperature", "scope")
    settings: dict[str, Any] = {name: options[name] for name in named if options[name] is not None}
    if options["schema"] is not None:
        settings["schema"] = read_schema(options["schema"])
    if options["models"]:
        settings["models"] = list(options["models"])
    settings["uses_memory"] = options["scope"] is not None
    return cast("QuerySettings", settings)


def _left(options: dict[str, Any], spent_usd: float) -> Budget:
    from orchestrator.budget import Budget
    from orchestrator.errors import BudgetExceeded

    usd = options["usd"]
    if usd is not None and spent_usd >= usd > 0:
        raise BudgetExceeded(
            f"the batch has cost {spent_usd:.4f} USD already, of {usd:g}", limit="usd", remedy="Raise --usd"
        )
    return Budget(usd=None if usd is None else usd - spent_usd, seconds=options["seconds"])


class _ProgressLine:
    """Progress: one line that is written again and again on a terminal, a line now and then elsewhere."""

    def __init__(self, *, as_json: bool) -> None:
        self._is_live = sys.stderr.isatty()
        self._is_on = not is_quiet() and not (as_json and not self._is_live)
        self._told_s = 0.0
        self._has_line = False

    def take(self, progress: BatchJobProgress) -> None:
        """Shows how far the batch is."""
        if not self._is_on:
            return
        if self._is_live:
            click.echo(f"\r\x1b[2K{_told(progress)}", err=True, nl=False)
            self._has_line = True
        elif progress.seconds - self._told_s >= EACH_S:
            self._told_s = progress.seconds
            click.echo(_told(progress), err=True)

    def end(self) -> None:
        """Leaves the line."""
        if self._has_line:
            click.echo("", err=True)


def _told(progress: BatchJobProgress) -> str:
    parts = [f"{progress.done:,} done"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.share is not None:
        parts.append(f"{progress.share:.0%}")
    parts += [f"{progress.rows_per_s:.1f}/s", f"{progress.cost_usd:.4f} USD"]
    if progress.eta_s is not None:
        minutes, seconds = divmod(round(progress.eta_s), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return ", ".join(parts)


def _show(result: BatchJobResult, out: Path) -> None:
    click.echo(f"{result.rows:,} rows in {out}, {result.cost_usd:.4f} USD, {result.seconds:.1f} s")
    if result.errors:
        failed = "1 row" if result.errors == 1 else f"{result.errors:,} rows"
        hint(f"{failed} failed; {out / 'errors.jsonl'} says why. Mend them and run this again, with --retry-errors")
    if result.with_failed_steps:
        rows = "1 row" if result.with_failed_steps == 1 else f"{result.with_failed_steps:,} rows"
        hint(f"{rows} went on after a step had failed (on_error): failed_steps in the results says which, and why")
    if result.first_error:
        hint(f"the first: {result.first_error}")
    if result.stopped == "budget":
        hint("what it may cost or take is used up before all rows are done: a larger --usd or --seconds goes on")
    elif result.stopped == "failing":
        hint("given up: none of the first rows was answered. Mend what is wrong, and run it again with --retry-errors")
    elif result.stopped:
        hint("stopped before all rows are done: the same command goes on")
    elif not result.rows and not result.errors:
        hint("there are no rows in the file")
