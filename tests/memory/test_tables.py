"""The tables of docs/memory.md, made by what the memory does: `UPDATE_TABLES=1 pytest tests/memory/test_tables.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.memory import Memory, NewRecord
from orchestrator.memory.ingest.documents import DOCUMENT_SUFFIXES, read_document
from tests.memory.test_languages import LANGUAGES
from tests.support import documents as made
from tests.support.pages import in_page

SRT = "1\n00:00:01,000 --> 00:00:02,000\nWhere is the key?\n"
TEXT = "---\ntitle: Guide\n---\n\nCleaning\n--------\n\nUse vinegar.\n"
HTML = (
    "<title>Shop</title><p>Open<p hidden>No<details><summary>More</summary>Here</details><table><tr><td>a<td>b</table>"
)
FORMATS: tuple[tuple[tuple[str, ...], str, bytes, str], ...] = (
    (
        (".txt", ".log"),
        "paragraphs; lists and tables by their lines; a first line `date: 2025-03-04`",
        b"Use vinegar.\n\nNot soap.\n",
        "by hand: the text stays as it is",
    ),
    (
        (".md", ".markdown", ".rst", ".org", ".adoc"),
        "headings of both kinds, front matter, code, lists and tables by their lines",
        TEXT.encode(),
        "by hand: the text stays as it is",
    ),
    (
        (".csv", ".tsv"),
        "each row a record with the names of its columns; `,` `;` tabs or bars; no header: numbered columns",
        b"Lamp;Euros\nGale;79\n",
        "csv",
    ),
    (
        (".eml",),
        "headers, the plain text (or HTML), attachments and messages within, sender and date",
        made.eml(),
        "email",
    ),
    (
        (".html", ".htm", ".xhtml"),
        "all text that is seen, wherever it stands: forms, lists, tables within tables, descriptions of pictures",
        HTML.encode(),
        "Beautiful Soup",
    ),
    (
        (".docx",),
        "tracked changes as accepted, fields, content controls, text boxes, notes, comments, headers and footers",
        made.docx(lambda document: None),
        "mammoth, python-docx",
    ),
    ((".pptx",), "texts, tables, charts, speaker's notes; slides without text are told", made.pptx(), "python-pptx"),
    (
        (".xlsx",),
        "rows as in .csv, by sheet; hidden sheets marked; formulas without a value; comments",
        made.xlsx(),
        "openpyxl",
    ),
    (
        (".pdf",),
        "columns, forms, AES without password; pages without text are told",
        made.pdf("Words."),
        "pdfminer.six",
    ),
    ((".epub",), "pages in reading order", made.epub("<p>Words.</p>"), "by hand, Beautiful Soup"),
    ((".srt", ".vtt", ".ass"), "cues joined to sentences, under hour and minute", SRT.encode(), "pysubs2"),
)


def test_the_formats_of_the_page_are_those_that_are_read(tmp_path: Path) -> None:
    assert {suffix for suffixes, *_ in FORMATS for suffix in suffixes} == DOCUMENT_SUFFIXES
    rows = ["| files | what is read | by |", "|---|---|---|"]
    told: Callable[[str], None] = lambda note: None  # noqa: E731
    for suffixes, what, content, library in FORMATS:
        for suffix in suffixes:
            (tmp_path / f"a{suffix}").write_bytes(content)
            assert read_document(tmp_path / f"a{suffix}", on_note=told)
        rows.append(f"| {', '.join(f'`{suffix}`' for suffix in suffixes)} | {what} | {library} |")
    table = "\n".join(rows) + "\n"
    assert in_page("memory.md", "formats", table) == table


def test_the_languages_of_the_page_are_as_measured() -> None:
    rows = ["| language | questions | first |", "|---|---|---|"]
    with Memory() as memory:
        memory.remember_many([NewRecord(text) for told in LANGUAGES.values() for text in told["remember"]])
        for language, told in LANGUAGES.items():
            first = sum(
                part in memory.recall(question, token_budget=10_000, limit=1).items[0].record.text
                for question, part in told["ask"]
            )
            rows.append(f"| {language} | {len(told['ask'])} | {first} |")
    table = "\n".join(rows) + "\n"
    assert in_page("memory.md", "languages", table) == table
