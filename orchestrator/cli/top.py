"""`orchestrator top`: what the fleet does at the moment, in a terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from orchestrator.cli.options import as_json, config_option, printable, reports_errors
from orchestrator.cli.stores import open_requests, store_option
from orchestrator.cli.values import FiniteRange
from orchestrator.jsontypes import JsonObject

NEWEST = 12


@click.command("top")
@config_option
@store_option
@click.option("--minutes", type=FiniteRange(1, 100_000), default=60.0, show_default=True, help="Of so long ago.")
@click.option("--every", type=FiniteRange(0.5), help="Show it again every so many seconds, until Ctrl-C.")
@as_json
@reports_errors
def command(config: Path | None, store: str | None, minutes: float, every: float | None, as_json: bool) -> None:
    """Show requests, money, times and errors by model, and the newest requests."""
    requests = open_requests(config, store)

    def told() -> JsonObject:
        now = time.time()
        rows = requests.usage(None, since=now - 60 * minutes, until=now + 1, by="model")
        return {"minutes": minutes, "models": rows, "newest": requests.newest(NEWEST, since=now - 60 * minutes)}

    while True:
        found = told()
        if as_json:
            click.echo(json.dumps(found))
        else:
            if every is not None:
                click.clear()
            show(found)
        if every is None:
            return
        time.sleep(every)


def show(found: JsonObject) -> None:
    """Prints it for people, within 80 columns."""
    from orchestrator.dashboard import formats

    if not found["models"]:
        click.echo(f"nothing was asked in the last {found['minutes']:g} minutes")
        return
    click.echo(click.style(f"{'model':<26} {'requests':>8} {'failed':>7} {'spent':>11} {'mean time':>10}", bold=True))
    for row in sorted(found["models"], key=lambda row: -row["cost_usd"]):
        failed = formats.share(row["errors"] / row["requests"])
        name = printable(row["model"] or "none")[:26]
        click.echo(
            f"{name:<26} {row['requests']:>8,} {failed:>7} {formats.usd(row['cost_usd']):>11} "
            f"{formats.seconds(row['mean_latency_s']):>10}"
        )
    click.echo()
    for row in found["newest"]:
        when = time.strftime("%H:%M:%S", time.gmtime(row["at"]))
        ended = row["error"] or ("cached" if row["cached"] else "escalated" if row["escalated"] else "ok")
        click.echo(
            f"{when}  {row['id'][:12]}  {printable(row['model'] or 'none')[:16]:<16} {printable(ended)[:18]:<18} "
            f"{formats.usd(row['cost_usd']):>9} {formats.seconds(row['latency_s']):>8}"
        )
