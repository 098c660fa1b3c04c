"""`orchestrator trace`: one request as a tree of its steps, from a trace store or a gateway's database."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill

import click

from orchestrator.cli.options import as_json, config_option, printable, reports_errors
from orchestrator.cli.stores import open_requests, store_option, whole_id
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.spans import SPANS_PER_PART

BAR = 20
WIDTH = 80


@click.command("trace")
@click.argument("id")
@config_option
@store_option
@as_json
@reports_errors
def command(id: str, config: Path | None, store: str | None, as_json: bool) -> None:
    """Show what was done for the request ID: its route, its steps with their times and costs, and how it ended.

    ID is what an answer carries (`Answer.id`, or the header x-orchestrator-trace-id); its beginning will do.
    """
    requests = open_requests(config, store)
    found = requests.find(None, whole_id(requests, id))
    assert found is not None
    if as_json:
        click.echo(json.dumps({**found, "rounds": requests.rounds(found["id"])}, indent=2, default=str))
        return
    parts = max(-(-found["spans"] // SPANS_PER_PART), 1)
    spans = [span for part in range(parts) for span in requests.steps(found, part)]
    show(found, spans)


def show(found: JsonObject, spans: list[JsonObject]) -> None:
    """Prints a request and its steps for people."""
    from orchestrator.dashboard import formats
    from orchestrator.dashboard.times import shown_time

    ended = found["error"] or ("from the cache" if found["cached"] else "answered")
    by = f" by {printable(found['model'])}" if found["model"] and not found["error"] else ""
    click.echo(click.style(found["id"], bold=True) + f"  {shown_time(found['at'])}")
    click.echo(
        f"{ended}{by} in {formats.seconds(found['latency_s'])} for {formats.usd(found['cost_usd'])}, "
        f"P(correct) {formats.share(found['confidence'])}{'  (simulated)' if found['simulated'] else ''}"
    )
    click.echo(
        f"key {found['key']}, scope {found['scope'] or 'none'}, {found['prefill_tokens']:,} tokens read "
        f"({found['cached_tokens']:,} cached), {found['output_tokens']:,} written"
    )
    if found["trace"].get("reason"):
        click.echo(fill(printable(found["trace"]["reason"]), WIDTH))
    total = max([found["latency_s"], *(span["start_s"] + span["duration_s"] for span in spans), 1e-9])
    for span in spans:
        told = span.get("attributes", {})
        what = f"{'  ' * span['depth']}{span['name']} {told.get('model') or told.get('verifier') or ''}"[:28]
        cost = formats.usd(told["cost_usd"]) if told.get("cost_usd") is not None else ""
        took, bar = formats.seconds(span["duration_s"]), _bar(span, total)
        click.echo(f"  {what:<28} {bar} {took:>8} {cost:>10} {str(told.get('error', ''))[:9]}".rstrip())
    if not spans:
        click.echo("  no steps are kept of it")


def _bar(span: JsonObject, total: float) -> str:
    began, took = float(span["start_s"]), float(span["duration_s"])
    start, length = min(int(BAR * began / total), BAR - 1), max(round(BAR * took / total), 1)
    return (" " * start + "█" * min(length, BAR - start)).ljust(BAR)
