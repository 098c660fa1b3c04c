"""`orchestrator remember`: texts and files into memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import engine_options, read_text, run_with, time_option

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.memory import Memory, NewRecord, Record
    from orchestrator.memory.record import ExportedRecord


@click.command("remember")
@click.argument("texts", nargs=-1)
@click.option("--speaker", default="", help="Who said it.")
@click.option("--time", "when", help="When it was said or happened: 2025-03-04 or 2025-03-04T10:00.")
@click.option("--encoding", help="Of files whose bytes do not tell it: cp1252, gb18030, ... [default: UTF-8 or proven]")
@engine_options
def command(
    texts: tuple[str, ...],
    speaker: str,
    when: str | None,
    encoding: str | None,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Store TEXTS in memory.

    A text that names a file stores its parts: documents (.txt, .md, .html, .pdf, .docx, .pptx, .xlsx, .csv, .epub,
    .eml, .srt, ...), records (.jsonl), and what ChatGPT, Claude or mem0 exported (.json, .zip). A folder or a
    pattern ("notes/**/*.md") stands for its documents. All is read before anything is stored; durable when the
    command returns.
    """
    from orchestrator.errors import InvalidQuery

    time = time_option(when) if when else None

    async def job(orchestrator: Orchestrator) -> None:
        memory, stored = orchestrator.need_memory(), []
        given = texts or (_decoded(read_text(None, what="a text")),)
        if not any(text.strip() for text in given):
            raise InvalidQuery("there is nothing to remember", remedy="Write a text, name a file, or pipe one in")
        parts = await asyncio.to_thread(
            lambda: [part for text in given for part in _parts(text, speaker, time, encoding)]
        )
        for part in parts:
            stored += await asyncio.to_thread(part.store, memory, scope)
        if as_json:
            click.echo(json.dumps({"remembered": [record.citation for record in stored], "scope": scope}))
        else:
            repeats = sum(record.said > 1 for record in stored)
            known = f" ({repeats} of them said before)" if repeats else ""
            click.echo(
                f"remembered {len(stored)} {'record' if len(stored) == 1 else 'records'}{known} in scope {scope}"
            )

    run_with(config, memory_path, job)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one text or file gives."""

    records: list[NewRecord]
    exported: list[ExportedRecord] | None = None
    holds_everything: bool = False  # exports of chats hold all that earlier ones held

    def store(self, memory: Memory, scope: str) -> list[Record]:
        """Stores it; returns what is held of it now."""
        from orchestrator.memory.ingest.chats import unheard, unrestored

        if self.exported is not None:
            return memory.restore(unrestored(memory, scope, self.exported), scope)
        records = unheard(memory, scope, self.records) if self.holds_everything else self.records
        return memory.remember_many(records, scope)


def _parts(text: str, speaker: str, time: datetime | None, encoding: str | None) -> Iterator[_Part]:
    from orchestrator.errors import InvalidQuery
    from orchestrator.memory import InvalidRecord, NewRecord
    from orchestrator.memory.ingest.documents import DOCUMENT_SUFFIXES, document_paths

    suffixes = DOCUMENT_SUFFIXES | {".jsonl", ".json", ".zip"}
    if not _names_files(text, suffixes):
        yield _Part([NewRecord(text, speaker, time)])
        return
    try:
        paths, left_out = document_paths(text, suffixes)
    except FileNotFoundError as error:
        remedy = "Check the path; to remember these very words, pipe them in"
        raise InvalidQuery(str(error), remedy=remedy) from None
    if left_out:
        names = ", ".join(path.name for path in left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        _tell(f"{text}: {len(left_out)} files of other kinds are left out: {names}")
    for path in paths:
        try:
            found = _read(path, time, encoding)
            if not (found.records or found.exported):
                _tell(f"{path}: there is no text in it")
            yield found
        except InvalidRecord as error:
            if paths == [Path(text)]:
                raise
            _tell(f"not remembered: {error}")  # of many files, one does not keep the others out


def _names_files(text: str, suffixes: frozenset[str]) -> bool:
    """Whether a text is a path rather than words: a file or folder that is there, or something like `notes/*.md`."""
    if len(text) >= 1_000 or "\n" in text or not text.strip():
        return False
    if "://" in text or " " in text:
        return Path(text).is_file()
    path = Path(text)
    return path.exists() or text.endswith("/") or ("*" in text and "/" in text) or path.suffix.lower() in suffixes


def _read(path: Path, time: datetime | None, encoding: str | None) -> _Part:
    from orchestrator.memory.ingest.chats import read_chats
    from orchestrator.memory.ingest.documents import read_document
    from orchestrator.memory.ingest.jsonl import read_export, read_records

    suffix = path.suffix.lower()
    if suffix in (".json", ".zip"):
        return _Part(read_chats(path), holds_everything=True)
    if suffix == ".jsonl":
        exported = read_export(path, encoding)
        return _Part([], exported) if exported is not None else _Part(read_records(path, encoding))
    return _Part(read_document(path, time=time, encoding=encoding, on_note=_tell))


def _tell(note: str) -> None:
    click.echo(f"note: {note}", err=True)


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
