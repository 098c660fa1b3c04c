"""`orchestrator ui`: the dashboard over what programs and commands kept on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, stated_config
from orchestrator.cli.pipelines import RUNS_PATH
from orchestrator.cli.stores import TRACES_PATH, find_store, open_requests, whole_id

if TYPE_CHECKING:
    from orchestrator.dashboard.local import LocalDashboardHost

traces_option = click.option(
    "--traces", help=f"Where traces are: a file, or postgresql://... [default: traces.path, else {TRACES_PATH}]."
)
runs_option = click.option("--runs", "runs_at", default=RUNS_PATH, show_default=True, help="Where runs are kept.")


@click.group("ui", invoke_without_command=True)
@config_option
@traces_option
@runs_option
@click.option("--port", type=click.IntRange(1, 65_535), default=8095, show_default=True)
@click.pass_context
@reports_errors
def command(context: click.Context, config: Path | None, traces: str | None, runs_at: str, port: int) -> None:
    """Show traces, memory, decisions and runs of this machine in a browser. Nobody has to sign in; nobody else can.

    A program keeps its traces with `Orchestrator(..., traces="traces.db")`, commands with `traces: {path: ...}` in the
    configuration. A gateway shows its own at its address.
    """
    if context.invoked_subcommand is not None:
        return
    check_pages()
    import uvicorn  # heavy

    from orchestrator.dashboard.app import Dashboard
    from orchestrator.gateway.serve import check_port

    check_port("127.0.0.1", port)
    host = local_host(config, traces, runs_at)
    click.echo(f"http://127.0.0.1:{port}/ui/ (this machine only; Ctrl-C ends it)", err=True)
    uvicorn.run(Dashboard(host), host="127.0.0.1", port=port, log_level="warning", lifespan="off", ws="none")


def check_pages() -> None:
    """What pages are built on comes with an extra."""
    from orchestrator.packages import need_packages

    need_packages("the dashboard", "ui", ["starlette"])


def local_host(config: Path | None, traces: str | None, runs_at: str) -> LocalDashboardHost:
    """What is kept on this machine. Raises `ConfigError`, `StorageError`."""
    from orchestrator.dashboard.local import LocalDashboardHost
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.storage.database import open_database
    from orchestrator.storage.runs import Runs

    stated = stated_config(config)
    where = traces or (stated.traces.path if stated is not None else None) or TRACES_PATH
    engine = None if stated is None else Orchestrator.from_config(stated, traces=None)
    has_runs = runs_at.startswith("postgres") or Path(runs_at).exists()
    return LocalDashboardHost(
        open_database(where),
        engine,
        Runs(open_database(runs_at)) if has_runs else None,
        keeps_content=stated is not None and stated.traces.content,
    )


@command.command("bundle")
@click.option("--trace", "ids", multiple=True, help="A trace, by its id or its beginning; may be repeated.")
@click.option("--newest", type=click.IntRange(0, 1_000), default=0, help="The newest traces, so many.")
@click.option("--range", "span", default="30d", show_default=True, help="Of reports: 1h, 24h, 7d, 30d, 90d.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="An empty folder.")
@config_option
@traces_option
@runs_option
@as_json
@reports_errors
def bundle(
    ids: tuple[str, ...],
    newest: int,
    span: str,
    out: Path,
    config: Path | None,
    traces: str | None,
    runs_at: str,
    as_json: bool,
) -> None:
    """Write chosen traces and reports as a site that needs no server: for a pull request or an incident.

    Texts of traces are in it where they were kept.
    """
    from orchestrator.dashboard.bundle import write_bundle

    where = traces or find_store(config)
    requests = open_requests(config, where)
    host = local_host(config, where, runs_at)
    chosen = [whole_id(requests, id) for id in ids]
    chosen += [row["id"] for row in host.requests.newest(newest, since=0.0) if row["id"] not in chosen]
    if not chosen:
        raise click.UsageError("name traces with --trace ID, or say --newest 20")
    written = write_bundle(host, chosen, out, span=span)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in written], "traces": chosen}, indent=2))
        return
    click.echo(f"{len(written)} files in {out}: open {out / 'index.html'}", err=True)
