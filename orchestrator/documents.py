"""Documents for memory: paragraphs of .txt and .md files, with the date that a file states about itself, and .jsonl files of records."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidQuery

if TYPE_CHECKING:
    from memory import NewRecord

MAX_PARAGRAPH_CHARS = 1_200


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    time: datetime | None
    heading: str


def read_document(path: Path) -> list[Paragraph]:
    """Paragraphs in order, long ones split at sentence ends. A line `date: 2025-03-04` at the top dates the whole file.

    Raises `InvalidQuery` on a file that is not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidQuery(f"{path} is not UTF-8 text (byte {error.start})", remedy="Convert it to text first") from None
    dated = re.match(r"\s*(?:---\s*\n)?date:\s*(\S+)\s*\n(?:---\s*\n)?", text)
    time = read_time(dated[1]) if dated else None
    heading = ""
    paragraphs: list[Paragraph] = []
    for block in re.split(r"\n\s*\n", text[dated.end() :] if dated else text):
        stripped = block.strip()
        if stripped.startswith("#"):
            first, _, stripped = stripped.partition("\n")
            heading = first.lstrip("# ").strip()
        if stripped.strip():
            joined = " ".join(stripped.split())
            paragraphs.extend(Paragraph(part, time, heading) for part in _split(joined))
    return paragraphs


def read_records(path: Path) -> list[NewRecord]:
    """Records of a .jsonl file as `orchestrator export` writes them: {"text", "speaker", "time", "session", "source"}, all but the text optional.

    Raises `InvalidQuery` with the line that cannot be read.
    """
    from memory import InvalidRecord, NewRecord

    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            time = datetime.fromisoformat(row["time"]) if row.get("time") else None
            records.append(NewRecord(row["text"], row.get("speaker") or "", time, row.get("session") or "", row.get("source") or ""))
        except (ValueError, TypeError, KeyError, AttributeError, InvalidRecord) as error:
            raise InvalidQuery(
                f"{path}:{number}: no record: {error!r}", remedy='Each line is {"text": ..., "speaker": ..., "time": ...}'
            ) from None
    return records


def read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidQuery(f"{text!r} is not a date", remedy="Write it like 2025-03-04 or 2025-03-04T10:00") from None


def _split(text: str) -> list[str]:
    """Sentences packed into pieces of at most `MAX_PARAGRAPH_CHARS`, where sentences allow it."""
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        if pieces and len(pieces[-1]) + len(sentence) < MAX_PARAGRAPH_CHARS:
            pieces[-1] += " " + sentence
        else:
            pieces.append(sentence)
    return pieces
