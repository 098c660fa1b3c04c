"""`orchestrator remember`: texts and files into memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, read_text, run_with

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator


@click.command("remember")
@click.argument("texts", nargs=-1)
@click.option("--speaker", default="", help="Who said it.")
@click.option("--time", "when", help="When it was said or happened: 2025-03-04 or 2025-03-04T10:00.")
@engine_options
def command(
    texts: tuple[str, ...], speaker: str, when: str | None, scope: str, memory_path: Path | None, config: Path | None, as_json: bool
) -> None:
    """Store TEXTS in memory. A text that names an existing .txt or .md file stores its paragraphs, one that names a .jsonl
    file the records in it, all or none. Durable when the command returns."""
    from orchestrator.documents import read_document, read_records, read_time

    time = read_time(when) if when else None

    async def job(orchestrator: Orchestrator) -> None:
        stored = []
        for text in texts or (_decoded(read_text(None, what="a text")),):
            path = Path(text) if len(text) < 1_000 and "\n" not in text else None
            if path is not None and path.suffix == ".jsonl" and path.is_file():
                records = await asyncio.to_thread(read_records, path)
                stored += await asyncio.to_thread(orchestrator.need_memory().remember_many, records, scope)
                continue
            if path is not None and path.suffix in (".txt", ".md") and path.is_file():
                pieces = [(piece.text, piece.time or time, path.name) for piece in read_document(path)]
            else:
                pieces = [(text, time, "")]
            for piece, piece_time, source in pieces:
                stored.append(await orchestrator.remember(piece, scope, speaker=speaker, time=piece_time, source=source))
        if as_json:
            click.echo(json.dumps({"remembered": [record.citation for record in stored], "scope": scope}))
        else:
            click.echo(f"remembered {len(stored)} {'record' if len(stored) == 1 else 'records'} in scope {scope}")

    run_with(config, memory_path, job)


def _decoded(raw: str | bytes) -> str:
    from orchestrator.errors import InvalidQuery

    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidQuery(f"standard input is not UTF-8 (byte {error.start})", remedy="Extract the text first") from None
