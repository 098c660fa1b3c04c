"""Bytes to text: by what the bytes prove, or the file says; refused where it would be a guess.

A byte order mark, valid UTF-8, UTF-16 and UTF-32 without a mark, and ISO 2022 prove themselves. Others (Latin-1,
Windows-1250, KOI8-R, GB 18030, Shift JIS, ...) do not: the same bytes are letters in several of them. Then the
likeliest is named in the error, and the caller says which it is.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from orchestrator.memory.errors import InvalidRecord

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPES = ((re.compile(rb"\x1b\$[@AB]|\x1b\(J"), "iso2022_jp_ext"), (re.compile(rb"\x1b\$\)C"), "iso2022_kr"))
_PROVEN = ["utf_8", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]  # they would have shown
_WIDE = {"utf-32-le": 4, "utf-32-be": 4, "utf-16-le": 2, "utf-16-be": 2}
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e]")
MAX_PRINTABLE = 0.6  # of the bytes of UTF-16 and UTF-32
LOOKED_AT = 200_000  # bytes, to guess
MIN_FOREIGN = 20  # bytes beyond ASCII: of fewer, any guess is as good as another
MAX_SCRIPTS = 4  # of one text: bytes that are read the wrong way give letters of many


def decoded(content: bytes, declared: str | None = None) -> str:
    """The text of a file. `declared` is an encoding that the user, or the file's own format, names: for bytes that do
    not prove theirs.

    Raises `InvalidRecord` that names the likeliest encoding where nothing proves one.
    """
    mark = next((name for sign, name in _MARKS if content.startswith(sign)), None)
    if mark is not None:
        return _in(content, mark)
    escaped = next((name for sign, name in _ESCAPES if sign.search(content[:LOOKED_AT])), None)
    if (proven := escaped or _wide(content)) is not None:
        return _in(content, proven)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        position = error.start
    if declared:
        return _in(content, declared)
    likeliest = _likeliest(content)
    looks = f"; it looks like {likeliest}" if likeliest else ""
    shown = likeliest or "cp1252"
    raise InvalidRecord(
        f"not UTF-8 text (byte {position}){looks}: say which it is, {'' if likeliest else 'for example '}"
        f"encoding={shown!r} (--encoding {shown}), or convert it to UTF-8"
    )


def read_decoded(path: Path, declared: str | None = None) -> str:
    """`decoded` of a file's content, with its path in the error."""
    try:
        return decoded(path.read_bytes(), declared)
    except InvalidRecord as error:
        raise InvalidRecord(f"{path}: {error}") from None


def _in(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        told = f"not {encoding} text (byte {error.start}), though it says so: convert it to UTF-8"
        raise InvalidRecord(told) from None
    except (LookupError, ValueError):
        raise InvalidRecord(f"Python knows no encoding {encoding!r}; write it like utf-8, cp1252 or gb18030") from None


def _wide(content: bytes) -> str | None:
    """UTF-32 or UTF-16 without a byte order mark: what is no text as UTF-8, for its control characters, and is text
    so.
    """
    if len(content) < 4 or not _CONTROLS.search(content[:LOOKED_AT].decode("latin-1")):
        return None
    if _is_utf8(content) and len(_PRINTABLE.findall(content[:LOOKED_AT])) > MAX_PRINTABLE * len(content[:LOOKED_AT]):
        return None  # plain text with a control character in it
    head = content[: LOOKED_AT - LOOKED_AT % 4]
    names = (name for name, size in _WIDE.items() if len(content) % size == 0)
    best = max(((_likeness(head, name), name) for name in names), default=(0.0, None))
    return best[1] if best[0] > 0.0 else None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _likeness(content: bytes, encoding: str) -> float:
    """How much bytes look like a text in an encoding: 0 for none, more for one with more spaces and Latin letters."""
    try:
        text = content.decode(encoding, "ignore" if len(content) == LOOKED_AT else "strict")
    except UnicodeDecodeError:
        return 0.0
    letters = sum(c.isalpha() or c.isspace() for c in text)
    kinds = {unicodedata.name(c, "").split(" ", 1)[0] for c in text[:1_000] if c.isalpha()}
    if _CONTROLS.search(text) or letters <= 0.6 * len(text) or len(kinds) > MAX_SCRIPTS:
        return 0.0
    return 1.0 + sum(c.isascii() for c in text) / len(text)


def _likeliest(content: bytes) -> str | None:
    """The encoding that is likeliest by its letters; `None` where there are too few to tell."""
    if sum(byte >= 0x80 for byte in content[:LOOKED_AT]) < MIN_FOREIGN:
        return None
    try:
        from charset_normalizer import from_bytes  # optional: extra `documents`
    except ImportError:
        return None
    best = from_bytes(content[:LOOKED_AT], cp_exclusion=_PROVEN).best()
    return None if best is None else str(best.encoding).replace("_", "-")
