"""Documents for memory.

.txt, .md, .html, .pdf and .docx files as records of a few sentences each, with the headings above them.

A block (paragraph, list, table, code) is kept whole where it is short enough; a longer one is split at sentence ends,
and its pieces overlap by a sentence. .html, .pdf and .docx need the extra `documents` (Beautiful Soup, pypdf,
python-docx).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.record import NewRecord

MAX_CHARS, MAX_OVERLAP_CHARS = 1_200, 200
MAX_FILE_BYTES, MAX_UNPACKED_BYTES = 200_000_000, 500_000_000
HEADING_JOIN = " › "
_HEADER = re.compile(r"\s*(?:---\s*\n)?date:\s*(\S+)\s*\n(?:---\s*\n)?")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")
_DROPPED_TAGS = ("script", "style", "template", "noscript", "nav", "svg", "iframe", "form")
_BLOCK_TAGS = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "dl", "pre", "blockquote", "table", "figcaption")


class DocumentBlock(NamedTuple):
    """A part of a document under the `headings` above it, outermost first."""

    text: str
    headings: tuple[str, ...] = ()


def read_document(path: str | Path, *, time: datetime | None = None) -> list[NewRecord]:
    """The records of a document in order; their source is the file's name, and they belong together as one session.

    `time` is when it was written; a line `date: 2025-03-04` at the top of a text file says that, too. Raises
    `InvalidRecord` with what is wrong with the file and what to do, `OSError` if it cannot be opened.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        message = f"{path}: documents end with {', '.join(sorted(_READERS))}; convert it to one of these first"
        raise InvalidRecord(message)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidRecord(f"{path} has more than {MAX_FILE_BYTES // 1_000_000} MB; split it first")
    try:
        stated, blocks = reader(path.read_bytes())
        pieces = [(piece, HEADING_JOIN.join(block.headings)) for block in blocks for piece in split(block.text)]
    except InvalidRecord as error:
        raise InvalidRecord(f"{path}: {error}") from None
    except ImportError as error:
        message = f"{path}: {path.suffix} files need {error.name}: pip install 'compound-orchestrator[documents]'"
        raise InvalidRecord(message) from None
    return [
        NewRecord(text, "", time or stated, f"document {path.name}", path.name, heading)
        for text, heading in pieces
        if text.strip()
    ]


def split(text: str) -> list[str]:
    """Sentences packed into pieces of at most 1,200 characters, where sentences allow it.

    Each piece begins with the end of the one before.
    """
    if len(text) <= MAX_CHARS:
        return [text]
    pieces: list[str] = []
    for sentence in _short(_SENTENCE_END.split(text)):
        if pieces and len(pieces[-1]) + len(sentence) < MAX_CHARS:
            pieces[-1] += " " + sentence
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


_Read = tuple[datetime | None, list[DocumentBlock]]


def _text(content: bytes) -> _Read:
    """Plain text and Markdown alike: `#` headings count, fenced code keeps its lines."""
    text = _decoded(content)
    dated = _HEADER.match(text)
    stated = read_time(dated[1]) if dated else None
    return stated, list(_markdown(text[dated.end() :] if dated else text))


def _decoded(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"not UTF-8 text (byte {error.start}); convert it to UTF-8 first") from None


def _markdown(text: str) -> Iterator[DocumentBlock]:
    headings: list[str] = []
    lines: list[str] = []
    fence = ""

    def block() -> Iterator[DocumentBlock]:
        joined = (
            "\n".join(lines) if lines and lines[0].startswith(("```", "~~~")) else " ".join(" ".join(lines).split())
        )
        if joined:
            yield DocumentBlock(joined, tuple(name for name in headings if name))
        lines.clear()

    for line in text.splitlines():
        stripped = line.strip()
        if fence:
            lines.append(line)
            if stripped.startswith(fence):
                fence = ""
                yield from block()
        elif stripped.startswith(("```", "~~~")):
            yield from block()
            fence = stripped[:3]
            lines.append(stripped)
        elif (heading := _HEADING.fullmatch(stripped)) is not None:
            yield from block()
            _put(headings, len(heading[1]), heading[2])
        elif stripped:
            lines.append(stripped)
        else:
            yield from block()
    yield from block()


def _put(headings: list[str], level: int, name: str) -> None:
    """A heading of a level ends those of the same and deeper levels."""
    del headings[level - 1 :]
    headings += [""] * (level - 1 - len(headings))
    headings.append(" ".join(name.split()))


def _html(content: bytes) -> _Read:
    from bs4 import BeautifulSoup  # optional: extra `documents`

    page = BeautifulSoup(content, "html.parser")
    for tag in page(_DROPPED_TAGS):
        tag.decompose()
    body, headings, blocks = page.body or page, list[str](), list[DocumentBlock]()
    for tag in body.find_all(_BLOCK_TAGS):
        if tag.find_parent(_BLOCK_TAGS) is not None:
            continue  # its parent has said it
        if re.fullmatch("h[1-6]", tag.name):
            _put(headings, int(tag.name[1]), tag.get_text(" "))
            continue
        text = (
            tag.get_text()
            if tag.name == "pre"
            else _rows(tag)
            if tag.name == "table"
            else " ".join(tag.get_text(" ").split())
        )
        if text.strip():
            blocks.append(DocumentBlock(text.strip(), tuple(name for name in headings if name)))
    if not blocks and (text := " ".join(body.get_text(" ").split())):
        blocks = [DocumentBlock(text)]
    published = page.find("meta", attrs={"property": "article:published_time"})
    return _time_or_none(published.get("content") if published else None), blocks


def _rows(table: Any) -> str:
    rows = (
        [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")
    )
    return "\n".join(" | ".join(row) for row in rows if any(row))


def _pdf(content: bytes) -> _Read:
    from pypdf import PdfReader  # optional: extra `documents`
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InvalidRecord("it is encrypted; remove the password first")
        pages = [page.extract_text() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise InvalidRecord(f"it cannot be read as PDF: {error}") from None
    blocks = [
        DocumentBlock(" ".join(paragraph.split()), (f"page {number}",))
        for number, page in enumerate(pages, start=1)
        for paragraph in re.split(r"\n\s*\n", re.sub(r"(?<=\w)-\n(?=[a-z])", "", page))
        if paragraph.strip()
    ]
    if pages and not blocks:
        raise InvalidRecord("it holds no text (scanned pages?); run a text recognition first")
    return None, blocks


def _docx(content: bytes) -> _Read:
    from docx import Document  # optional: extra `documents`
    from docx.table import Table

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(part.file_size for part in packed.infolist()) > MAX_UNPACKED_BYTES:
                raise InvalidRecord(f"it unpacks to more than {MAX_UNPACKED_BYTES // 1_000_000} MB")
        document = Document(io.BytesIO(content))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InvalidRecord(f"it cannot be read as a Word document: {error}") from None
    headings, blocks = list[str](), list[DocumentBlock]()
    for part in document.iter_inner_content():
        if isinstance(part, Table):
            rows = ([" ".join(cell.text.split()) for cell in row.cells] for row in part.rows)
            blocks.append(
                DocumentBlock("\n".join(" | ".join(row) for row in rows if any(row)), tuple(filter(None, headings)))
            )
            continue
        style = part.style.name if part.style is not None else ""
        level = 1 if style == "Title" else int(style[8:]) if re.fullmatch(r"Heading [1-6]", style or "") else 0
        if level:
            _put(headings, level, part.text)
        elif part.text.strip():
            blocks.append(DocumentBlock(" ".join(part.text.split()), tuple(filter(None, headings))))
    return None, [block for block in blocks if block.text]


def read_time(text: str) -> datetime:
    """Raises `InvalidRecord` unless `text` is a date like 2025-03-04, or a date and time of ISO 8601."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRecord(f"{text!r} is not a date; write it like 2025-03-04 or 2025-03-04T10:00") from None


def _time_or_none(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


_READERS: dict[str, Callable[[bytes], _Read]] = {
    ".txt": _text,
    ".md": _text,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".docx": _docx,
}
DOCUMENT_SUFFIXES = frozenset(_READERS)
