"""`orchestrator remember`: texts and files into memory."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, read_text, run_with, time_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.memory import NewRecord


@click.command("remember")
@click.argument("texts", nargs=-1)
@click.option("--speaker", default="", help="Who said it.")
@click.option("--time", "when", help="When it was said or happened: 2025-03-04 or 2025-03-04T10:00.")
@engine_options
def command(
    texts: tuple[str, ...],
    speaker: str,
    when: str | None,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Store TEXTS in memory.

    A text that names an existing .txt, .md, .html, .pdf or .docx file stores its parts, one that names a .jsonl file
    the records in it, a .json file the conversations that ChatGPT, Claude or mem0 exported; each file whole or not at
    all. Durable when the command returns.
    """
    time = time_option(when) if when else None

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.memory.ingest.chats import unheard

        memory, stored = orchestrator.need_memory(), []
        read = [
            (text, await asyncio.to_thread(_records, text, speaker, time))
            for text in texts or (_decoded(read_text(None, what="a text")),)
        ]  # all are read before anything is stored
        for text, records in read:
            if text.lower().endswith(".json"):  # exports hold everything each time
                records = await asyncio.to_thread(unheard, memory, scope, records)
            stored += await asyncio.to_thread(memory.remember_many, records, scope)
        if as_json:
            click.echo(json.dumps({"remembered": [record.citation for record in stored], "scope": scope}))
        else:
            repeats = sum(record.said > 1 for record in stored)
            known = f" ({repeats} of them said before)" if repeats else ""
            click.echo(
                f"remembered {len(stored)} {'record' if len(stored) == 1 else 'records'}{known} in scope {scope}"
            )

    run_with(config, memory_path, job)


def _records(text: str, speaker: str, time: datetime | None) -> list[NewRecord]:
    from orchestrator.errors import InvalidQuery
    from orchestrator.memory import NewRecord
    from orchestrator.memory.ingest.chats import read_chats
    from orchestrator.memory.ingest.documents import DOCUMENT_SUFFIXES, read_document
    from orchestrator.memory.ingest.jsonl import read_records

    path = Path(text) if len(text) < 1_000 and "\n" not in text else None
    if (
        path is None
        or not path.suffix
        or not (
            path.is_file() or (path.suffix.lower() in {*DOCUMENT_SUFFIXES, ".jsonl", ".json"} and not text.count(" "))
        )
    ):
        return [NewRecord(text, speaker, time)]
    if not path.is_file():
        raise InvalidQuery(f"no such file: {path}", remedy="Check the path; to remember these very words, pipe them in")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_chats(path)
    return read_records(path) if suffix == ".jsonl" else read_document(path, time=time)


def _decoded(raw: str | bytes) -> str:
    from orchestrator.errors import InvalidQuery

    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidQuery(
            f"standard input is not UTF-8 (byte {error.start})", remedy="Extract the text first"
        ) from None
