"""`orchestrator models`: what the fleet has, what it costs, how it is, and how good it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, hint, printable, quiet_option, reports_errors, run_with
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.backends.base import Backend
    from orchestrator.engine.orchestrator import Orchestrator

PROBE_S = 3.0
NUMBERS_WIDTH, MIN_LAST_WIDTH = 46, 10  # what the other columns take, borders included; the narrowest last one


@click.command("models")
@click.option("--check", is_flag=True, help="Also ask each server for its models: costs nothing anywhere.")
@config_option
@as_json
@quiet_option
@reports_errors
def command(check: bool, config: Path | None, as_json: bool) -> None:
    """Show the models of the fleet: prices, window, capabilities, expected success, and with --check their servers."""

    async def job(orchestrator: Orchestrator) -> None:
        health = await health_of(orchestrator.backends) if check else {}
        rows = [{**_row(name, orchestrator), **health.get(name, {})} for name in orchestrator.backends]
        if as_json:
            click.echo(json.dumps({"using": orchestrator.origin, "models": rows}, indent=2))
        else:
            hint(f"using {orchestrator.origin}")
            _show(rows)
        if any(row.get("health") == "down" for row in rows):
            raise SystemExit(1)

    run_with(config, None, job)


def _row(name: str, orchestrator: Orchestrator) -> JsonObject:
    profile = orchestrator.backends[name].profile
    upstream = getattr(orchestrator.backends[name], "upstream", None)
    return {
        "name": name,
        "provider": None if upstream is None else upstream.provider.name,
        "input_usd_per_mtok": profile.input_usd_per_mtok,
        "output_usd_per_mtok": profile.output_usd_per_mtok,
        "context_tokens": profile.context_tokens,
        "effective_context_tokens": profile.effective_context_tokens,
        "capabilities": sorted(profile.capabilities),
        "stated_skill": profile.skill,
        "measured_skill": _measured_skill(name, orchestrator),
        "is_fallback": name in orchestrator.fallbacks,
    }


def _measured_skill(name: str, orchestrator: Orchestrator) -> JsonObject | None:
    """Share of right answers among those that feedback graded, and how many those were; `None` without a log."""
    if orchestrator.decisions is None:
        return None
    graded = [outcome.score for outcome in orchestrator.decisions.outcomes() if outcome.model == name]
    return {"share": round(sum(graded) / len(graded), 4), "graded": len(graded)} if graded else None


async def health_of(backends: dict[str, Backend]) -> dict[str, JsonObject]:
    """What came of asking each model's server for its list."""
    from orchestrator.fleet.discovery import reach

    async def one(name: str, backend: Backend) -> tuple[str, JsonObject]:
        upstream = getattr(backend, "upstream", None)
        if upstream is None:
            return name, {"health": "ok", "detail": "answers in this process"}
        base_url = upstream.replicas.all[0].base_url
        found = await reach(upstream.provider, base_url=base_url, timeout_s=PROBE_S, key=upstream.key)
        if found.problem:
            return name, {"health": "down", "detail": found.problem}
        if found.models and upstream.model not in found.models:
            return name, {"health": "unknown", "detail": f"{base_url} does not list {upstream.model}"}
        return name, {"health": "ok", "detail": base_url}

    return dict(await asyncio.gather(*(one(name, backend) for name, backend in backends.items())))


def _show(rows: list[JsonObject]) -> None:
    from rich.table import Table

    from orchestrator.cli.show import MAX_NAME, cell, console

    table = Table()
    width = min(max(len(row["name"]) for row in rows), MAX_NAME)
    table.add_column("model", overflow="fold", width=max(width, 5))
    table.add_column("USD/M in", justify="right")
    table.add_column("out", justify="right")
    table.add_column("window", justify="right")
    table.add_column("skill", justify="right")
    has_health = any("health" in row for row in rows)
    left = max(console.width - width - NUMBERS_WIDTH, MIN_LAST_WIDTH)
    table.add_column("health" if has_health else "can", overflow="fold", width=left)
    for row in rows:
        measured = row["measured_skill"]
        skill = f"{measured['share']:.2f} ({measured['graded']})" if measured else _or(row["stated_skill"], "{:.2f}")
        last = row["health"] if has_health else ", ".join(row["capabilities"])
        table.add_row(
            cell(row["name"]) + (" (fallback)" if row["is_fallback"] else ""),
            _or(row["input_usd_per_mtok"], "{:g}"),
            _or(row["output_usd_per_mtok"], "{:g}"),
            _short(row["context_tokens"]),
            skill,
            cell(last),
        )
    console.print(table)
    for row in rows:
        if row.get("health", "ok") != "ok":
            click.echo(printable(f"{row['name']}: {row['detail']}"))


def _or(value: float | None, form: str) -> str:
    return "?" if value is None else form.format(value)


def _short(tokens: int) -> str:
    """A window as people say it: 128K, 1M."""
    return f"{tokens / 1_000_000:.3g}M" if tokens >= 1_000_000 else f"{tokens / 1_000:.3g}K"
