"""What every kind of document is read into: blocks of text under headings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orchestrator.memory.errors import InvalidRecord

MAX_UNPACKED_BYTES = 500_000_000


class DocumentBlock(NamedTuple):
    """A part of a document under the `headings` above it, outermost first. `speaker`: who wrote it, if not who wrote
    the document.
    """

    text: str
    headings: tuple[str, ...] = ()
    speaker: str = ""


@dataclass(slots=True)
class DocumentContent:
    """What a document holds. `time` is when it was written, `speaker` who did; `notes` say what could not be read."""

    blocks: list[DocumentBlock] = field(default_factory=list)
    time: datetime | None = None
    speaker: str = ""
    notes: list[str] = field(default_factory=list)

    def add(self, text: str, headings: Sequence[str] = ()) -> None:
        """Adds a block unless it is empty."""
        if text.strip():
            self.blocks.append(DocumentBlock(text.strip(), tuple(name for name in headings if name)))


class DocumentOutline:
    """The headings under which text is added to a document. A heading with nothing beneath it is added as text."""

    def __init__(self, read: DocumentContent) -> None:
        self._read = read
        self._headings: list[str] = []
        self._is_bare = False

    def put(self, level: int, name: str) -> None:
        """A heading of a level (1 is the outermost) ends those of the same and deeper levels."""
        if level <= len(self._headings):
            self.close()
        del self._headings[level - 1 :]
        self._headings += [""] * (level - 1 - len(self._headings))
        self._headings.append(" ".join(name.split()))
        self._is_bare = True

    def add(self, text: str) -> None:
        """Adds a block under the headings of now, unless it is empty."""
        self._read.add(text, self._headings)
        self._is_bare = self._is_bare and not text.strip()

    def close(self) -> None:
        """Nothing more comes beneath the last heading."""
        if self._is_bare:
            self._read.add(self._headings[-1], self._headings[:-1])
        self._is_bare = False


def row_text(names: Sequence[str], cells: Sequence[str]) -> str:
    """A row of a table as a record: `name: Ann; price: 45`. Cells without a name are called after their column."""
    named = [*names, *(f"column {number}" for number in range(len(names) + 1, len(cells) + 1))]
    told = [(name, " ".join(cell.split())) for name, cell in zip(named, cells, strict=False)]
    return "; ".join(f"{name}: {cell}" for name, cell in told if cell)


def header_of(rows: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """The names of the columns of a table, and how many rows stand before the first one of data.

    The first full row of distinct words, none of them a number, above at least one other row, names the columns; else
    they are numbered.
    """
    width = max((len(row) for row in rows), default=0)
    for number, row in enumerate(rows[:5]):
        cells = [" ".join(cell.split()) for cell in row]
        if len([cell for cell in cells if cell]) < max(2, width * 2 // 3):
            continue
        if number + 1 < len(rows) and len(set(cells)) == len(cells) and not any(_is_number(cell) for cell in cells):
            return [cell or f"column {place}" for place, cell in enumerate(cells, start=1)], number + 1
        break
    return [f"column {place}" for place in range(1, width + 1)], 0


def _is_number(cell: str) -> bool:
    bare = cell.strip(" %€$£+-").replace(",", "").replace(".", "").replace(":", "").replace("/", "").replace("-", "")
    return bare.isdigit()


def check_unpacked(sizes: Iterable[int]) -> None:
    """Raises `InvalidRecord` where the parts of a packed file have more than 500 MB together."""
    if sum(sizes) > MAX_UNPACKED_BYTES:
        raise InvalidRecord(f"it unpacks to more than {MAX_UNPACKED_BYTES // 1_000_000} MB")
