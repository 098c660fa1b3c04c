"""Documents for memory: files of many kinds as records of a few sentences each, with the headings above them.

A block (paragraph, list, table, code) is kept whole where it is short enough; a longer one is split at sentence ends,
and its pieces overlap by a sentence. Rows of spreadsheets and of .csv files are records of their own. Plain text,
Markdown, tables and e-mail need nothing; the other kinds the extra `documents`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from glob import glob
from pathlib import Path

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentBlock, DocumentContent
from orchestrator.memory.ingest.books import read_epub
from orchestrator.memory.ingest.mail import read_eml
from orchestrator.memory.ingest.markup import read_html, read_plain, read_text, read_time
from orchestrator.memory.ingest.office import read_csv, read_docx, read_pptx, read_xlsx
from orchestrator.memory.ingest.pdf import read_pdf
from orchestrator.memory.ingest.subtitles import read_subtitles
from orchestrator.memory.record import NewRecord

__all__ = ["DOCUMENT_SUFFIXES", "DocumentBlock", "document_paths", "read_document", "read_time", "split"]

MAX_CHARS, MAX_OVERLAP_CHARS = 1_200, 200
MAX_FILE_BYTES = 200_000_000
MAX_REASON = 200
HEADING_JOIN = " › "
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])")
_UNSPACED_ENDS = ("。", "！", "？")
_GLOB = re.compile(r"[*?\[]")
log = logging.getLogger(__name__)


def read_document(
    path: str | Path,
    *,
    time: datetime | None = None,
    encoding: str | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[NewRecord]:
    """The records of a document in order; their source is the file's name, and they belong together as one session.

    `time` is when it was written; a file may say that itself: a line `date: 2025-03-04` or front matter at the top of a
    text, the date of an e-mail. `encoding` is that of a text which neither proves nor tells its own. What could not be
    read (scanned pages, an attachment of another kind) is told to `on_note`, or logged. Raises `InvalidRecord` with
    what is wrong with the file and what to do, `OSError` if it cannot be opened.
    """
    path = Path(path)
    try:
        read = _content_of(path, encoding)
        pieces = [
            (piece, HEADING_JOIN.join(block.headings), block.speaker)
            for block in read.blocks
            for piece in split(block.text)
        ]
    except InvalidRecord as error:
        raise InvalidRecord(f"{path}: {error}") from None
    for note in read.notes:
        (on_note or log.warning)(f"{path}: {note}")
    session = f"document {path.name}"
    return [
        NewRecord(text, speaker or read.speaker, time or read.time, session, path.name, heading)
        for text, heading, speaker in pieces
        if text.strip()
    ]


def _content_of(path: Path, encoding: str | None) -> DocumentContent:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidRecord(f"documents end with {', '.join(sorted(_READERS))}; convert it to one of these first")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidRecord(f"it has more than {MAX_FILE_BYTES // 1_000_000} MB; split it first")
    try:
        return reader(path.read_bytes(), encoding)
    except InvalidRecord:
        raise
    except RecursionError:
        raise InvalidRecord("its parts nest too deeply to be read") from None
    except ImportError as error:
        message = f"{path.suffix} files need {error.name}: pip install 'compound-orchestrator[documents]'"
        raise InvalidRecord(message) from None
    except Exception as error:  # parsers raise what they like on a broken file
        told = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
        raise InvalidRecord(f"it is damaged, or of a kind that is not read ({told}); save it anew") from error


def document_paths(stated: str | Path, suffixes: Iterable[str]) -> tuple[list[Path], list[Path]]:
    """The files that a path, a folder or a pattern (`notes/**/*.md`) stands for, and those left out of a folder.

    Of a folder, files with other endings than `suffixes` are left out, hidden files and folders are not looked at.
    Raises `FileNotFoundError` where there is nothing.
    """
    path, known = Path(stated), set(suffixes)
    if path.is_dir():
        every = sorted(p for p in path.rglob("*") if p.is_file() and not _is_hidden(p.relative_to(path)))
        found = [p for p in every if p.suffix.lower() in known]
        if not found:
            raise FileNotFoundError(f"{path}: the folder holds no file that ends with {', '.join(sorted(known))}")
        return found, [p for p in every if p.suffix.lower() not in known]
    if path.exists():
        return [path], []
    found = sorted(Path(name) for name in glob(str(stated), recursive=True)) if _GLOB.search(str(stated)) else []
    found = [p for p in found if p.is_file()]
    if not found:
        raise FileNotFoundError(f"no file is like {stated}" if _GLOB.search(str(stated)) else f"no such file: {stated}")
    return found, []


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def split(text: str) -> list[str]:
    """Sentences packed into pieces of at most 1,200 characters, where sentences allow it.

    Each piece begins with the end of the one before.
    """
    if len(text) <= MAX_CHARS:
        return [text]
    pieces: list[str] = []
    for sentence in _short(_SENTENCE_END.split(text)):
        if pieces and len(pieces[-1]) + len(sentence) < MAX_CHARS:
            pieces[-1] += sentence if pieces[-1].endswith(_UNSPACED_ENDS) else " " + sentence
        else:
            last = _SENTENCE_END.split(pieces[-1])[-1] if pieces else ""
            fits = len(last) <= MAX_OVERLAP_CHARS and len(last) + len(sentence) < MAX_CHARS
            pieces.append(f"{last} {sentence}" if last and fits else sentence)
    return pieces


def _short(sentences: Iterable[str]) -> Iterator[str]:
    """A "sentence" without an end (a log, a table of numbers) is cut between words, or, if it has none, anywhere."""
    for sentence in sentences:
        while len(sentence) > MAX_CHARS:
            cut = sentence.rfind(" ", MAX_CHARS // 2, MAX_CHARS)
            cut = MAX_CHARS if cut < 0 else cut
            yield sentence[:cut]
            sentence = sentence[cut:].lstrip()
        if sentence:
            yield sentence


def _read_eml(content: bytes, encoding: str | None = None) -> DocumentContent:
    return read_eml(content, encoding, _READERS)


_READERS: dict[str, Callable[[bytes, str | None], DocumentContent]] = {
    **dict.fromkeys((".md", ".markdown", ".rst", ".org", ".adoc"), read_text),
    **dict.fromkeys((".txt", ".log"), read_plain),
    **dict.fromkeys((".html", ".htm", ".xhtml"), read_html),
    **dict.fromkeys((".csv", ".tsv"), read_csv),
    **dict.fromkeys((".srt", ".vtt", ".ass"), read_subtitles),
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".pptx": read_pptx,
    ".xlsx": read_xlsx,
    ".epub": read_epub,
    ".eml": _read_eml,
}
DOCUMENT_SUFFIXES = frozenset(_READERS)
