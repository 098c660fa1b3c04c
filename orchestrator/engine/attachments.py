"""Pictures, sound and other files beside a query, as parts of a message in OpenAI's form."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject

MAX_ATTACHMENT_BYTES = 50_000_000


def attachment_part(stated: object) -> JsonObject:
    """A picture, a sound or another file as part of a message in OpenAI's form.

    A path is read and sent inside the message, the address of a picture as it is. Raises `InvalidArgument`.
    """
    if isinstance(stated, bytes | bytearray) and not stated:
        raise InvalidArgument("an attachment is empty", remedy="Leave it out")
    if isinstance(stated, bytes | bytearray):
        _check_size("the attachment", len(stated))
        return _file_part("attachment", _kind_of_bytes(bytes(stated)), bytes(stated))
    if isinstance(stated, str) and stated.startswith(("https://", "http://", "data:image/")):
        return {"type": "image_url", "image_url": {"url": stated}}
    if not isinstance(stated, str | Path):
        raise InvalidArgument(
            f"an attachment must be a path, an address or bytes, not {type(stated).__name__}",
            remedy='attachments=["picture.png"]',
        )
    path = Path(stated)
    content = _content(path)
    return _file_part(path.name, mimetypes.guess_type(path.name)[0] or _kind_of_bytes(content), content)


def _check_size(name: str, size: int) -> None:
    if size > MAX_ATTACHMENT_BYTES:
        raise InvalidArgument(
            f"{name} has more than {MAX_ATTACHMENT_BYTES:,} bytes",
            remedy="Make it smaller, or remember it and ask about it",
        )


def _content(path: Path) -> bytes:
    """The bytes of a file. Raises `InvalidArgument` where it cannot be read or is too large."""
    try:
        if not path.is_file():
            raise InvalidArgument(f"the attachment {path} is no file, or not there", remedy="Check the path")
        _check_size(f"the attachment {path}", path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"the attachment {path} cannot be read: {error.strerror}", remedy="Check the path"
        ) from error


def _file_part(name: str, kind: str, content: bytes) -> JsonObject:
    encoded = base64.b64encode(content).decode()
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{encoded}"}}
    if kind in ("audio/wav", "audio/x-wav", "audio/mpeg"):
        return {
            "type": "input_audio",
            "input_audio": {"data": encoded, "format": "mp3" if kind == "audio/mpeg" else "wav"},
        }
    if kind.startswith("text/"):
        try:
            return {"type": "text", "text": f"{name}:\n\n{content.decode('utf-8')}"}
        except UnicodeDecodeError:
            raise InvalidArgument(f"the attachment {name} is not UTF-8 text", remedy="Save it as UTF-8") from None
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{encoded}"}}


def _kind_of_bytes(content: bytes) -> str:
    """A media type by the first bytes (the signatures of the formats' own specifications)."""
    for start, kind in (
        (b"\x89PNG\r\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
    ):
        if content.startswith(start):
            return kind
    if content[:4] == b"RIFF":
        return "image/webp" if content[8:12] == b"WEBP" else "audio/wav"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"
