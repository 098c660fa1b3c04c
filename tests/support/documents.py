"""Files of many kinds, made by the libraries that people make them with, or by hand where no library makes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from docx import Document
from docx.oxml import parse_xml
from openpyxl import Workbook
from openpyxl.comments import Comment
from pptx import Presentation
from pptx.util import Inches

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf(*pages: str, form: dict[str, str] | None = None) -> bytes:
    """A PDF by hand: one font, one text a page, lines parted by |, and what a form is filled with."""
    streams = []
    for page in pages:
        shown = " ".join(f"({line}) Tj T*" for line in page.split("|"))
        streams.append(f"BT /F1 12 Tf 14 TL 50 700 Td {shown} ET" if page else "")
    return pdf_of(*streams, form=form)


def pdf_of(*streams: str, form: dict[str, str] | None = None) -> bytes:
    """A PDF of content streams."""
    objects = ["", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for stream in streams:
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> /Contents "
            f"{len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    fields = " ".join(f"<< /FT /Tx /T ({name}) /V ({value}) >>" for name, value in (form or {}).items())
    objects[0] = f"<< /Type /Catalog /Pages 2 0 R {f'/AcroForm << /Fields [{fields}] >>' if form else ''} >>"
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(objects) + 1} /Root 1 0 R "
        f">>\nstartxref\n{len(out)}\n%%EOF"
    )
    return (out + end).encode()


def two_columns(left: list[str], right: list[str]) -> bytes:
    """A page whose content goes line by line across two columns, as some programs write it."""
    lines = (
        f"1 0 0 1 50 {700 - 14 * i} Tm ({one}) Tj 1 0 0 1 320 {700 - 14 * i} Tm ({other}) Tj"
        for i, (one, other) in enumerate(zip(left, right, strict=True))
    )
    return pdf_of(f"BT /F1 12 Tf {' '.join(lines)} ET")


def docx(make: Callable[[Any], None]) -> bytes:
    """A Word document of a paragraph "Base." and what `make` adds."""
    document, content = Document(), io.BytesIO()
    document.add_paragraph("Base.")
    make(document)
    document.save(content)
    return content.getvalue()


def inline(text: str, xml: str) -> Callable[[Any], None]:
    """Adds a paragraph with an element of Word's own within."""

    def make(document: Any) -> None:
        paragraph = document.add_paragraph(text)
        paragraph._p.append(parse_xml(xml))
        paragraph.add_run(" end.")

    return make


def in_front(xml: str) -> Callable[[Any], None]:
    """Adds an element of Word's own before everything else."""
    return lambda document: document.element.body.insert(0, parse_xml(xml))


def pptx() -> bytes:
    """Two slides: a title, a text, a table, notes; and one of a picture's place alone."""
    deck, content = Presentation(), io.BytesIO()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Plan"
    slide.shapes.add_textbox(Inches(1), Inches(1), Inches(3), Inches(1)).text_frame.text = "We ship in May."
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for row, cells in enumerate((("Lamp", "Euros"), ("Gale", "79"))):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell
    slide.notes_slide.notes_text_frame.text = "Thank the team."
    deck.slides.add_slide(deck.slide_layouts[6])
    deck.save(content)
    return content.getvalue()


def xlsx() -> bytes:
    """A sheet of prices with a heading, a formula and a comment; and a hidden one."""
    book, content = Workbook(), io.BytesIO()
    sheet: Any = book.active
    sheet.title = "Prices"
    for row in (["Our lamps"], ["Lamp", "Euros", "Share"], ["Gale", 79.0, 0.25], ["Moth", 45, "=B3/B4"]):
        sheet.append(row)
    sheet["C3"].number_format = "0%"
    sheet["A4"].comment = Comment("sold out", "Ann")
    hidden = book.create_sheet("Costs")
    hidden.sheet_state = "hidden"
    for row in (["Lamp", "Cost"], ["Gale", 30]):
        hidden.append(row)
    book.save(content)
    return content.getvalue()


def epub(*pages: str) -> bytes:
    """A book of pages in HTML, which stand in the archive in another order than they are read."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        for number in reversed(range(len(pages))):
            book.writestr(f"OPS/text/page {number}.xhtml", f"<html><body>{pages[number]}</body></html>")
        items = "".join(f'<item id="p{n}" href="text/page%20{n}.xhtml"/>' for n in range(len(pages)))
        spine = "".join(f'<itemref idref="p{n}"/>' for n in range(len(pages)))
        book.writestr("OPS/book.opf", f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>")
        book.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
    return content.getvalue()


def eml() -> bytes:
    """A message with a text, the same in HTML, three attachments, and a message within."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = (
        "Größe der Lampe",
        "Ann Höger <ann@example.com>",
        "bob@example.com",
    )
    message["Date"] = "Tue, 04 Mar 2025 10:00:00 +0100"
    message.set_content("The Gale lamp is 40 cm tall.\n\n-- \nAnn")
    message.add_alternative("<p>The Gale lamp is 40 cm tall.</p>", subtype="html")
    message.add_attachment("Lamp,Euros\nGale,79\n", subtype="csv", filename="prices.csv")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="lamp.png")
    message.add_attachment(pdf("Warranty is two years."), maintype="application", subtype="pdf", filename="w.pdf")
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Old question", "bob@example.com"
    inner.set_content("How tall is the Gale?")
    message.add_attachment(inner)
    return message.as_bytes()
