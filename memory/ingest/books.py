"""Electronic books (.epub) as blocks: pages in HTML, in the order in which they are read (extra `documents`)."""

from __future__ import annotations

import io
import posixpath
import zipfile
from urllib.parse import unquote

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent, check_unpacked
from orchestrator.memory.ingest.markup import read_html


def read_epub(content: bytes, encoding: str | None = None) -> DocumentContent:
    """The pages of a book in reading order (EPUB 3.3, section 5.7: the spine)."""
    from bs4 import BeautifulSoup  # optional: extra `documents`

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            check_unpacked(part.file_size for part in packed.infolist())
            if "META-INF/rights.xml" in packed.namelist():
                raise InvalidRecord("it is protected by DRM; use a copy without")
            container = BeautifulSoup(packed.read("META-INF/container.xml"), "html.parser")
            root = str(container.find("rootfile")["full-path"])  # type: ignore[index]
            package = BeautifulSoup(packed.read(root), "html.parser")
            path_of = {str(item.get("id")): str(item.get("href")) for item in package.find_all("item")}
            read = DocumentContent()
            for reference in package.find_all("itemref"):
                page = path_of.get(str(reference.get("idref")), "")
                _add_page(read, packed, posixpath.join(posixpath.dirname(root), page))
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise InvalidRecord(f"it cannot be read as a book in EPUB: {error}") from None
    return read


def _add_page(read: DocumentContent, packed: zipfile.ZipFile, path: str) -> None:
    name = posixpath.normpath(unquote(path))
    if name not in packed.namelist():
        read.notes.append(f"the book names {name}, which it does not hold")
        return
    read.blocks += read_html(packed.read(name)).blocks
