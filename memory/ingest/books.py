"""Electronic books (.epub) as blocks: pages in HTML, in the order in which they are read (extra `documents`)."""

from __future__ import annotations

import io
import posixpath
import zipfile
from typing import TYPE_CHECKING
from urllib.parse import unquote

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent, check_unpacked
from orchestrator.memory.ingest.encodings import decoded
from orchestrator.memory.ingest.markup import parse_markup, read_html

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag


def read_epub(content: bytes, encoding: str | None = None) -> DocumentContent:
    """The pages of a book in reading order (EPUB 3.3, section 5.7: the spine)."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            check_unpacked(part.file_size for part in packed.infolist())
            if "META-INF/rights.xml" in packed.namelist():
                raise InvalidRecord("it is protected by DRM; use a copy without")
            container = parse_markup(decoded(packed.read("META-INF/container.xml")))
            root = str(_named(container, "rootfile")[0]["full-path"])
            package = parse_markup(decoded(packed.read(root)))
            path_of = {str(item.get("id")): str(item.get("href")) for item in _named(package, "item")}
            read = DocumentContent()
            about = (" ".join(tag.get_text().split()) for name in ("title", "creator") for tag in _named(package, name))
            read.add("; ".join(filter(None, about)))
            for reference in _named(package, "itemref"):
                page = path_of.get(str(reference.get("idref")), "")
                _add_page(read, packed, posixpath.join(posixpath.dirname(root), page))
    except (zipfile.BadZipFile, KeyError, TypeError, IndexError) as error:
        raise InvalidRecord(f"it cannot be read as a book in EPUB: {error}") from None
    return read


def _named(tree: BeautifulSoup, name: str) -> list[Tag]:
    """Elements of a name, whatever their prefix."""
    return tree.find_all(lambda tag: tag.name.rpartition(":")[2] == name)


def _add_page(read: DocumentContent, packed: zipfile.ZipFile, path: str) -> None:
    name = posixpath.normpath(unquote(path.partition("#")[0]))
    if name not in packed.namelist():
        read.notes.append(f"the book names {name}, which it does not hold")
        return
    try:
        read.blocks += read_html(packed.read(name)).blocks
    except InvalidRecord as error:
        read.notes.append(f"the page {name} cannot be read: {error}")
