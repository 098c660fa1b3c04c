"""Word, PowerPoint and Excel files, and tables of comma-separated values, as blocks (extra `documents`).

Tracked changes are read as accepted. What python-docx and mammoth pass over is unwrapped or added: content controls,
fields, smart tags, page headers and footers, comments.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import TYPE_CHECKING

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent, check_unpacked, header_of, row_text
from orchestrator.memory.ingest.encodings import decoded
from orchestrator.memory.ingest.markup import read_html

if TYPE_CHECKING:
    from docx.opc.part import XmlPart
    from docx.oxml.xmlchemy import BaseOxmlElement
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet
    from pptx.chart.chart import Chart
    from pptx.shapes.base import BaseShape

MAX_CELL_CHARS, MAX_SNIFFED = 2_000_000, 100_000
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_UNWRAPPED = [_WORD + name for name in (
    "ins", "moveTo", "sdt", "sdtContent", "smartTag", "fldSimple", "customXml", "dir", "bdo", "ruby", "rubyBase",
)]  # fmt: skip
_GONE = [_WORD + name for name in (
    "del", "moveFrom", "sdtPr", "sdtEndPr", "customXmlPr", "smartTagPr", "rt", "rubyPr",
)]  # fmt: skip
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_ALTERNATES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_STYLES = "p[style-name='Title'] => h1:fresh\ncomment-reference => sup"
_STATED_SIGN = re.compile(r"\Asep=(.)\r?\n", re.IGNORECASE)
_DELIMITERS = ",;\t|"


def read_docx(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Headings, paragraphs, lists, tables, text boxes, notes and comments in order; page headers and footers first."""
    import mammoth  # optional: extra `documents`
    from docx import Document

    _check_packed(content, "a Word document")
    try:
        document = Document(io.BytesIO(content))
        parts = [document.part, *(part for part in document.part.package.iter_parts() if _is_story(part))]
        for part in parts:
            _show_boxes(part.element)
            _accept_changes(part.element)
        saved = io.BytesIO()
        document.save(saved)
        html = mammoth.convert_to_html(saved, style_map=_STYLES, convert_image=mammoth.images.img_element(_alone)).value
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise InvalidRecord(f"it cannot be read as a Word document: {error}") from None
    read = DocumentContent()
    for text in dict.fromkeys(_margins(parts)):
        read.add(text)
    read.blocks += read_html(html).blocks
    return read


def _alone(image: object) -> dict[str, str]:
    return {"src": ""}  # only its description is read


def _is_story(part: XmlPart) -> bool:
    return getattr(part, "element", None) is not None and any(
        name in str(part.partname) for name in ("/header", "/footer", "/footnotes", "/endnotes", "/comments")
    )


def _show_boxes(root: BaseOxmlElement) -> None:
    """Puts the text of boxes that only newer programs draw behind the paragraph that they are anchored in."""
    for alternate in list(root.iter(_ALTERNATES + "AlternateContent")):
        host = next(alternate.iterancestors(_WORD + "p"), None)
        if host is not None and alternate.find(_ALTERNATES + "Fallback") is None:
            for box in reversed(list(alternate.iter(_WORD + "txbxContent"))):
                for paragraph in reversed(list(box)):
                    host.addnext(paragraph)


def _accept_changes(root: BaseOxmlElement) -> None:
    """Takes out what was deleted or moved away, and what only wraps text, so that every reader sees the text."""
    from docx.oxml import parse_xml  # optional: extra `documents`

    for mark in list(root.iter(_WORD + "vanish", _WORD + "del")):  # of a hidden run, of a deleted row
        holder = mark.getparent().getparent() if mark.getparent() is not None else None
        kinds = {_WORD + "rPr": _WORD + "r", _WORD + "trPr": _WORD + "tr"}
        if holder is not None and kinds.get(mark.getparent().tag) == holder.tag and holder.getparent() is not None:
            holder.getparent().remove(holder)
    for formula in list(root.iter(_MATH + "oMath")):
        run = parse_xml(f'<w:r xmlns:w="{_WORD[1:-1]}"><w:t xml:space="preserve"/></w:r>')
        run[0].text = "".join(part.text or "" for part in formula.iter(_MATH + "t"))
        formula.getparent().replace(formula, run)
    for element in list(root.iter(*_GONE)):
        if element.getparent() is not None:
            element.getparent().remove(element)
    for element in list(root.iter(*_UNWRAPPED)):
        parent = element.getparent()
        if parent is not None:
            at = parent.index(element)
            for offset, child in enumerate(list(element)):
                parent.insert(at + offset, child)
            parent.remove(element)


def _margins(parts: Sequence[XmlPart]) -> Iterator[str]:
    """The text of page headers and footers, each paragraph once."""
    for part in parts:
        if "/header" in str(part.partname) or "/footer" in str(part.partname):
            for paragraph in part.element.iter(_WORD + "p"):
                yield "".join(text.text or "" for text in paragraph.iter(_WORD + "t")).strip()


def read_pptx(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Slides in order, under their number and title: texts, tables, the titles of charts, and the speaker's notes."""
    from pptx import Presentation  # optional: extra `documents`
    from pptx.exc import PackageNotFoundError

    _check_packed(content, "a PowerPoint file")
    try:
        slides = list(Presentation(io.BytesIO(content)).slides)
    except (PackageNotFoundError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InvalidRecord(f"it cannot be read as a PowerPoint file: {error}") from None
    read = DocumentContent()
    for number, slide in enumerate(slides, start=1):
        headings = [f"slide {number}"]
        title = slide.shapes.title
        if title is not None and title.text_frame.text.strip():
            headings.append(" ".join(title.text_frame.text.split()))
        before = len(read.blocks)
        for shape in (s for s in _shapes(slide.shapes) if title is None or s.shape_id != title.shape_id):
            _add_shape(read, shape, headings)
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None:
            read.add(f"Notes: {frame.text}" if frame.text.strip() else "", headings)
        if len(read.blocks) == before and len(headings) > 1:
            read.add(headings[1], headings[:1])
        elif len(read.blocks) == before:
            read.notes.append(f"slide {number} holds no text (a picture?)")
    return read


def _shapes(shapes: Iterable[BaseShape]) -> Iterator[BaseShape]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _add_shape(read: DocumentContent, shape: BaseShape, headings: Sequence[str]) -> None:
    from pptx.shapes.autoshape import Shape  # optional: extra `documents`
    from pptx.shapes.graphfrm import GraphicFrame

    if isinstance(shape, GraphicFrame) and shape.has_table:
        _add_rows(read, [[cell.text for cell in row.cells] for row in shape.table.rows], headings)
    elif isinstance(shape, GraphicFrame) and shape.has_chart:
        read.add(_chart_text(shape.chart), headings)
    elif isinstance(shape, Shape):
        read.add("\n".join(line for line in shape.text_frame.text.splitlines() if line.strip()), headings)
    elif described := shape._element.xpath("string(.//p:cNvPr/@descr)"):
        read.add(f"[shows: {described}]", headings)


def _chart_text(chart: Chart) -> str:
    named = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else "Chart"
    categories = ", ".join(str(one) for plot in chart.plots for one in plot.categories)
    series = (f"{one.name}: {', '.join(str(value) for value in one.values)}" for one in chart.series)
    return "\n".join((named, categories, *series))


def read_xlsx(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Each row as a record with the names of its columns, under the name of its sheet.

    A formula whose value the file does not hold is read as it is written.
    """
    from openpyxl import load_workbook  # optional: extra `documents`
    from openpyxl.utils.exceptions import InvalidFileException

    _check_packed(content, "a spreadsheet")
    try:
        values = load_workbook(io.BytesIO(content), data_only=True)
        formulas = load_workbook(io.BytesIO(content))
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InvalidRecord(f"it cannot be read as a spreadsheet: {error}") from None
    read = DocumentContent()
    for sheet in values.worksheets:
        written = formulas[sheet.title]
        rows = _filled_rows(sheet, written)
        name = sheet.title + ("" if sheet.sheet_state == "visible" else " (hidden)")
        _add_rows(read, [row for row in rows if any(row)], [name])
        for cell in (cell for cell in _cells(sheet) if getattr(cell, "comment", None) is not None):
            read.add(f"{cell.coordinate}: {cell.comment.text}", [name, "comments"])
    return read


def _cells(sheet: Worksheet) -> list[Cell]:
    """The cells that there are: of a sheet with three of them far apart, not the rectangle that they span."""
    return [cell for _, cell in sorted(sheet._cells.items())]


def _filled_rows(sheet: Worksheet, written: Worksheet) -> list[list[str]]:
    rows: dict[int, dict[int, str]] = {}
    for cell in _cells(sheet):
        text = _cell(cell, written.cell(cell.row, cell.column).value) if hasattr(cell, "number_format") else ""
        if text:
            rows.setdefault(cell.row, {})[cell.column] = text
    for merged in sheet.merged_cells.ranges:  # a cell over several rows is in each
        value = rows.get(merged.min_row, {}).get(merged.min_col)
        for row in [row for row in rows if merged.min_row < row <= merged.max_row] if value else ():
            rows[row][merged.min_col] = value or ""
    columns = sorted({column for row in rows.values() for column in row})
    return [[rows[row].get(column, "") for column in columns] for row in sorted(rows)]


def _cell(cell: Cell, written: object) -> str:
    value = cell.value if cell.value is not None else written
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, date | datetime | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and "%" in str(cell.number_format or ""):
        return f"{value * 100:g}%"
    return "" if value is None else str(value)


def read_csv(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Each row as a record with the names of its columns; parted by commas, semicolons, tabs or bars."""
    text = decoded(content, encoding)
    stated = _STATED_SIGN.match(text)  # as Excel writes it: sep=;
    text = text[stated.end() :] if stated else text
    csv.field_size_limit(MAX_CELL_CHARS)
    try:
        sign = stated[1] if stated else delimiter_of(text)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sign) if any(row)]
    except csv.Error as error:
        raise InvalidRecord(f"it cannot be read as a table: {error}") from None
    read = DocumentContent()
    _add_rows(read, rows, [])
    return read


def delimiter_of(text: str) -> str:
    """The sign that parts the cells: outside quotes it stands equally often in most of the first lines."""
    lines = ["".join(line.split('"')[::2]) for line in text[:MAX_SNIFFED].splitlines()[:20] if line.strip()]
    counts = {sign: [line.count(sign) for line in lines] for sign in _DELIMITERS}

    def likeness(sign: str) -> tuple[int, int]:
        usual = max(set(counts[sign]), key=counts[sign].count, default=0)
        return (counts[sign].count(usual), usual) if usual else (0, max(counts[sign], default=0))

    return max(_DELIMITERS, key=likeness)


def _add_rows(read: DocumentContent, rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    names, first = header_of(rows)
    for row in rows[: first - 1] if first > 1 else ():
        read.add(" ".join(cell for cell in row if cell), headings)
    for row in rows[first:]:
        read.add(row_text(names, row), headings)
    if first == len(rows) and rows:
        read.add("; ".join(names), headings)


def _check_packed(content: bytes, what: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            check_unpacked(part.file_size for part in packed.infolist())
    except zipfile.BadZipFile as error:
        if content.startswith(b"\xd0\xcf\x11\xe0"):
            raise InvalidRecord(
                f"it cannot be read as {what}: it is of the format before 2007, or has a password; save it anew without"
            ) from None
        raise InvalidRecord(f"it cannot be read as {what}: {error}") from None
