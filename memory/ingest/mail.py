"""E-mail (.eml, RFC 5322) as blocks: headers, text, attachments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentBlock, DocumentContent
from orchestrator.memory.ingest.encodings import decoded
from orchestrator.memory.ingest.markup import read_html, read_plain, read_text

MAX_DEPTH = 5  # messages within messages
_TEXTS = {"text/plain": read_plain, "text/html": read_html, "text/markdown": read_text}
_SHOWN_HEADERS = ("From", "To", "Cc", "Date", "Subject")
Readers = Mapping[str, Callable[[bytes, str | None], DocumentContent]]


def read_eml(content: bytes, encoding: str | None, readers: Readers, depth: int = 0) -> DocumentContent:
    """Headers, the text, and every attachment that one of `readers` (by suffix) reads, under the subject.

    The text is the plain one where there are several. An attachment that cannot be read is told in `notes`.
    """
    message = message_from_bytes(content, policy=policy.default)
    if not isinstance(message, EmailMessage) or not any(message.get(name) for name in _SHOWN_HEADERS):
        raise InvalidRecord("it has no headers of an e-mail; save it again as .eml")
    subject = _header(message, "Subject") or "e-mail"
    read = DocumentContent(time=_sent(message), speaker=_header(message, "From"))
    read.add("\n".join(f"{name}: {_header(message, name)}" for name in _SHOWN_HEADERS if message.get(name)), [subject])
    parts = list(_parts(message))
    for part in parts:
        kind = part.get_content_type()
        if part.get_filename() or kind not in _TEXTS or part.get_content_disposition() == "attachment":
            _add_attachment(read, part, subject, readers, depth)
        else:
            _include(read, _TEXTS[kind](_content(part).encode(), "utf-8"), [subject])
    return read


def _parts(message: MIMEPart) -> Iterator[MIMEPart]:
    """The texts and attachments of a message, in order; of alternatives the first of `_TEXTS` that says anything."""
    if not message.is_multipart() or message.get_content_type() == "message/rfc822":
        yield message
        return
    parts = [part for part in message.iter_parts() if isinstance(part, MIMEPart)]
    if message.get_content_type() == "multipart/alternative":
        texts = [
            part for kind in _TEXTS for part in parts if part.get_content_type() == kind and _content(part).strip()
        ]
        parts = texts[:1] or parts
    for part in parts:
        yield from _parts(part)


def _add_attachment(read: DocumentContent, part: MIMEPart, subject: str, readers: Readers, depth: int) -> None:
    name = part.get_filename() or ("message.eml" if part.get_content_type() == "message/rfc822" else "attachment")
    suffix = PurePosixPath(name).suffix.lower() or {"text/plain": ".txt", "text/html": ".html"}.get(
        part.get_content_type(), ""
    )
    try:
        if part.get_content_type() == "message/rfc822" or suffix == ".eml":
            if depth >= MAX_DEPTH:
                raise InvalidRecord(f"messages nest deeper than {MAX_DEPTH}")
            inner = read_eml(_bytes(part), None, readers, depth + 1)
        elif suffix in readers:
            inner = readers[suffix](_bytes(part), part.get_content_charset())
        else:
            raise InvalidRecord("no document that is read")
    except Exception as error:  # a broken attachment does not keep the message out, whatever its parser raises
        told = str(error) if isinstance(error, InvalidRecord | ImportError) else f"damaged ({type(error).__name__})"
        read.notes.append(f"attachment {name}: {told}")
        return
    _include(read, inner, [subject, name])


def _include(read: DocumentContent, part: DocumentContent, headings: list[str]) -> None:
    read.blocks += [
        DocumentBlock(block.text, (*headings, *block.headings), block.speaker or part.speaker) for block in part.blocks
    ]
    read.notes += part.notes


def _bytes(part: MIMEPart) -> bytes:
    if part.get_content_type() == "message/rfc822":
        return bytes(part.get_content())
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def _content(part: MIMEPart) -> str:
    """The text of a part. Raises `InvalidRecord` where neither its charset nor its bytes tell how to read it."""
    stated = part.get_content_charset()
    try:
        return decoded(_bytes(part), stated)
    except InvalidRecord:
        if stated is None:
            raise
        return decoded(_bytes(part))  # a charset that nobody knows


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name) or "").split())
    except (ValueError, IndexError, AttributeError):  # a header that the standard library cannot parse
        return ""


def _sent(message: EmailMessage) -> datetime | None:
    try:
        return parsedate_to_datetime(str(message.get("Date")))
    except (ValueError, TypeError, IndexError):
        return None
