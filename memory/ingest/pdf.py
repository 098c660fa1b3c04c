"""PDF files as blocks: paragraphs in reading order, also in columns, and what forms are filled with.

pdfminer.six reads them (extra `documents`), also those that open without a password though they are encrypted.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent

if TYPE_CHECKING:
    from pdfminer.layout import LTComponent

MAX_NAMED_PAGES = 10
_HYPHEN = re.compile(r"(?<=\w)-\n(?=[a-z])")


def read_pdf(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Paragraphs under their page. Pages without text are told in `notes`; a file without any is refused."""
    from pdfminer.high_level import extract_pages  # optional: extra `documents`
    from pdfminer.layout import LAParams
    from pdfminer.pdfdocument import PDFEncryptionError, PDFPasswordIncorrect
    from pdfminer.psexceptions import PSException

    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns of each font's oddities
    read, empty, number = DocumentContent(), list[int](), 0
    try:
        for number, page in enumerate(extract_pages(io.BytesIO(content), laparams=LAParams(all_texts=True)), start=1):
            before = len(read.blocks)
            for paragraph in _paragraphs(page):
                read.add(" ".join(_HYPHEN.sub("", paragraph).split()), (f"page {number}",))
            if len(read.blocks) == before:
                empty.append(number)
        for name, value in _form_fields(content):
            read.add(f"{name}: {value}", ("form",))
    except (PDFPasswordIncorrect, PDFEncryptionError):
        raise InvalidRecord("it is encrypted; remove the password first") from None
    except (PSException, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if not number:
            raise InvalidRecord(f"it cannot be read as PDF: {error or type(error).__name__}") from None
        read.notes.append(f"what follows page {number} cannot be read: {error or type(error).__name__}")
    _check_text(read, number, empty)
    return read


def _check_text(read: DocumentContent, number: int, empty: Sequence[int]) -> None:
    """Refuses a file without text, and notes pages without."""
    if not number:
        raise InvalidRecord("it cannot be read as PDF: it has no pages")
    if not read.blocks:
        raise InvalidRecord("it holds no text (scanned pages?); run a text recognition first")
    if empty:
        named = ", ".join(map(str, empty[:MAX_NAMED_PAGES])) + (", ..." if len(empty) > MAX_NAMED_PAGES else "")
        read.notes.append(
            f"{len(empty)} of {number} pages hold no text (scanned?): {named}; run a text recognition first"
        )


def _paragraphs(container: Iterable[LTComponent]) -> Iterator[str]:
    from pdfminer.layout import LTContainer, LTTextContainer  # optional: extra `documents`

    for element in container:
        if isinstance(element, LTTextContainer):
            if (text := element.get_text()).strip():
                yield text
        elif isinstance(element, LTContainer):
            yield from _paragraphs(element)


def _form_fields(content: bytes) -> Iterator[tuple[str, str]]:
    """Names and values of the fields of a form, which are drawn beside the page's text."""
    from pdfminer.pdfdocument import PDFDocument  # optional: extra `documents`
    from pdfminer.pdfparser import PDFParser
    from pdfminer.pdftypes import resolve1
    from pdfminer.utils import decode_text

    form = resolve1(PDFDocument(PDFParser(io.BytesIO(content))).catalog.get("AcroForm"))
    waiting = [(reference, "") for reference in resolve1((form or {}).get("Fields")) or []]
    seen = 0
    while waiting and seen < 10_000:
        reference, parent = waiting.pop(0)
        seen += 1
        field = resolve1(reference)
        if not isinstance(field, dict):
            continue
        name, value = resolve1(field.get("T")), resolve1(field.get("V"))
        full = ".".join(part for part in (parent, decode_text(name) if isinstance(name, bytes) else "") if part)
        waiting += [(kid, full) for kid in resolve1(field.get("Kids")) or []]
        if value is not None:
            text = decode_text(value) if isinstance(value, bytes) else str(getattr(value, "name", value))
            if text.strip() and text != "Off":
                yield full, text
