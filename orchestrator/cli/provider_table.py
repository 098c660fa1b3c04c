"""`orchestrator doctor --providers`: the provider table, and what came of trying each.

Listing models costs nothing; keys are never printed.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.fleet.discovery import Reached
    from orchestrator.providers.provider import Provider

MAX_SHOWN = 3


def show(*, as_json: bool) -> None:
    """Prints every row, with what is at hand."""
    from orchestrator.providers.table import PROVIDERS

    rows = [row for row in PROVIDERS.values() if row.base_url]
    reached = asyncio.run(_tried(rows))
    if as_json:
        told = [{**_row(row), **_outcome(row, reached.get(row.name))} for row in PROVIDERS.values()]
        click.echo(json.dumps({"providers": told}, indent=2))
        return
    width = max(len(row.name) for row in PROVIDERS.values())
    for row in PROVIDERS.values():
        outcome = _outcome(row, reached.get(row.name))
        mark = {
            True: click.style("ok  ", fg="green"),
            False: click.style("fix ", fg="red"),
            None: click.style("none", dim=True),
        }[outcome["ok"]]
        click.echo(
            f"{mark} {row.name:{width}}  {row.dialect:9}  {row.base_url or '(your address)':50}  {outcome['detail']}"
        )


async def _tried(rows: list[Provider]) -> dict[str, Reached]:
    """What each gave that has a key, or whose port answers."""
    from orchestrator.fleet.discovery import key_of, port_answers, reach

    async def one(row: Provider) -> Reached | None:
        if row.port is not None:
            return await reach(row) if await port_answers(row.port) else None
        return await reach(row) if key_of(row) else None

    found = await asyncio.gather(*map(one, rows))
    return {row.name: reached for row, reached in zip(rows, found, strict=True) if reached is not None}


def _row(row: Provider) -> JsonObject:
    return {
        "name": row.name,
        "title": row.title,
        "dialect": row.dialect,
        "base_url": row.base_url,
        "key_variable": row.key_variable,
        "port": row.port,
        "cache": row.cache,
        "decisions": row.decisions,
        "batches": row.batches,
    }


def _outcome(row: Provider, reached: Reached | None) -> JsonObject:
    if reached is None:
        if row.port is not None:
            return {"ok": None, "detail": f"nothing answers on port {row.port}", "models": []}
        needed = [f"export {row.key_variable}=..."] if row.key_variable else []
        needed += [] if row.base_url else ["state base_url in the configuration"]
        return {"ok": None, "detail": ", and ".join(needed), "models": []}
    if reached.problem:
        return {"ok": False, "detail": reached.problem, "models": []}
    some = ", ".join(reached.models[:MAX_SHOWN]) + (
        f" and {len(reached.models) - MAX_SHOWN} more" if len(reached.models) > MAX_SHOWN else ""
    )
    limits = "".join(f"; {name}: {value}" for name, value in reached.limits if "remaining" in name)
    return {"ok": True, "detail": f"{some or 'no models'}{limits}", "models": list(reached.models)}
