"""multipart/form-data (RFC 7578), within bounds: few parts, short heads, one pass.

Time and memory are those of the body, whatever stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from orchestrator.gateway.errors import GatewayError

MAX_PARTS = 32
MAX_HEAD_BYTES = 8_192
MAX_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; `filename` is empty for what is no file."""

    name: str
    filename: str
    content: bytes


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """The fields of a form in their order. Raises `GatewayError` (400) that says what is wrong with it."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise GatewayError(
            400, "the body must be multipart/form-data with `file` and `purpose`", code="invalid_content_type"
        )
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise _wrong(f"it has more than {MAX_PARTS} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise _wrong("its last boundary is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head_end = piece.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if head_end < 0:
        raise _wrong(f"a part has no head, or one of more than {MAX_HEAD_BYTES:,} bytes")
    for line in piece[:head_end].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            kind, options = parse_options_header(value.strip())
            if kind == b"form-data" and b"name" in options:
                filename = options.get(b"filename", b"")
                return Part(
                    options[b"name"].decode("utf-8", "replace"),
                    filename.decode("utf-8", "replace"),
                    piece[head_end + 4 :],
                )
    raise _wrong("a part has no name")


def _wrong(what: str) -> GatewayError:
    return GatewayError(400, f"the form cannot be read: {what}", code="invalid_form")
