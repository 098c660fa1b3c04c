"""`orchestrator forget`: delete memories for good."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, hint, run_with_memory

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@click.command("forget")
@click.argument("citations", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Forget the whole scope, and the decisions logged for it.")
@engine_options
def command(
    citations: tuple[str, ...],
    everything: bool,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Delete the records CITATIONS (m:12 or 12) of a scope, or with --all the whole scope.

    Their text is no longer in the file then.
    """
    from orchestrator.errors import ConfigError

    if bool(citations) == everything:
        raise ConfigError("say which records to forget", remedy="Name them (m:12), or give --all; never both")
    ids = None if everything else [_id(citation) for citation in citations]

    async def job(orchestrator: Orchestrator) -> None:
        receipt = await orchestrator.forget(scope, ids)
        await asyncio.to_thread(_let_gateways_know, config)
        if as_json:
            click.echo(
                json.dumps(
                    {"scope": scope, "forgotten": [f"m:{i}" for i in receipt.ids], "remaining": receipt.remaining}
                )
            )
        else:
            click.echo(f"forgotten: {len(receipt)} of scope {scope}; {receipt.remaining} remain")
        missing = [f"m:{i}" for i in ids or () if i not in receipt.ids]
        if missing:
            hint(f"scope {scope} held no {', '.join(missing)}; with --scope NAME another one is meant")

    run_with_memory(config, memory_path, job)


def _let_gateways_know(config: Path | None) -> None:
    """Answers that gateways gave before may rest on what is forgotten.

    Those of the configured database give none of them again.
    """
    from orchestrator.cli.accounts import accounts_database
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, None, makes_one=False)
    if found is not None:
        Accounts(found).announce()
        found.close()


def _id(citation: str) -> int:
    from orchestrator.errors import ConfigError

    number = citation.strip("[]").removeprefix("m:")
    if not number.isdecimal():
        raise ConfigError(f"{citation!r} is no record", remedy="Name records as they are cited: m:12")
    return int(number)
