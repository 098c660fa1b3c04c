"""Documents become records that keep their headings; what cannot be read says why and what to do."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from docx import Document
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.memory import InvalidRecord, Memory
from orchestrator.memory.ingest.documents import MAX_CHARS, read_document, split
from orchestrator.memory.ingest.jsonl import as_json, read_records, turns
from tests.support.documents import pdf

MARKDOWN = """date: 2025-03-04
# Guide

Lamps are made of brass.

## Cleaning ##
Use vinegar.
Not soap.

```python
# not a heading
clean(lamp)
```

# Prices
The Gale costs 79 euros.
"""
HTML = """<html><head><meta property="article:published_time" content="2025-03-04T10:00:00+00:00"><style>p {}</style>
</head><body><nav>Home</nav>
<h1>Guide</h1><p>Lamps are <b>made</b> of brass.</p><h2>Cleaning</h2><ul><li>Use vinegar.<p>Not soap.</p></li></ul>
<script>alert(1)</script>
<h1>Prices</h1><table><tr><th>Lamp</th><th>Euros</th></tr><tr><td>Gale</td><td>79</td></tr></table><pre>a
 b</pre></body></html>"""


def read(tmp_path: Path, name: str, content: bytes | str) -> list[tuple[str, str]]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(record.heading, record.text) for record in read_document(path)]


def test_markdown_keeps_headings_and_code(tmp_path: Path) -> None:
    assert read(tmp_path, "guide.md", MARKDOWN) == [
        ("Guide", "Lamps are made of brass."),
        ("Guide › Cleaning", "Use vinegar. Not soap."),
        ("Guide › Cleaning", "```python\n# not a heading\nclean(lamp)\n```"),
        ("Prices", "The Gale costs 79 euros."),
    ]
    records = read_document(tmp_path / "guide.md")
    assert {(r.time, r.source, r.session) for r in records} == {(datetime(2025, 3, 4), "guide.md", "document guide.md")}


def test_html_keeps_what_is_read_by_people(tmp_path: Path) -> None:
    assert read(tmp_path, "guide.html", HTML) == [
        ("", "Home"),
        ("Guide", "Lamps are made of brass."),
        ("Guide › Cleaning", "Use vinegar.\nNot soap."),
        ("Prices", "Lamp | Euros\nGale | 79"),
        ("Prices", "a\n b"),
    ]
    assert read_document(tmp_path / "guide.html")[0].time == datetime(2025, 3, 4, 10, tzinfo=UTC)
    assert read(tmp_path, "bare.htm", "no tags at all") == [("", "no tags at all")]


def test_word_documents_keep_the_order_of_paragraphs_and_tables(tmp_path: Path) -> None:
    document = Document()
    document.add_heading("Guide", 1)
    document.add_paragraph("Lamps are made of brass.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Gale", "79"
    document.add_heading("Cleaning", 2)
    document.add_paragraph("Use vinegar.")
    content = io.BytesIO()
    document.save(content)
    assert read(tmp_path, "guide.docx", content.getvalue()) == [
        ("Guide", "Lamps are made of brass."),
        ("Guide", "Gale | 79"),
        ("Guide › Cleaning", "Use vinegar."),
    ]


def test_pdf_pages_become_records(tmp_path: Path) -> None:
    found = read(tmp_path, "guide.pdf", pdf("Lamps are made of|pol-|ished brass.", "The Gale costs 79 euros."))
    assert found == [("page 1", "Lamps are made of polished brass."), ("page 2", "The Gale costs 79 euros.")]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.pdf", b"not a pdf", "cannot be read as PDF"),
        ("a.pdf", pdf(""), "no text"),
        ("a.docx", b"not a zip", "cannot be read as a Word document"),
        ("a.txt", b"\x80\x81", "not UTF-8 text (byte 0)"),
        ("a.txt", b"binary \x00 text", "NUL"),
        ("a.exe", b"MZ", ".docx, .eml, .epub, .htm, .html"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(InvalidRecord) as failure:
        read(tmp_path, name, content)
    assert told in str(failure.value)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 600_000_000)
    with pytest.raises(InvalidRecord, match="unpacks to more than 500 MB"):
        read(tmp_path, "bomb.docx", packed.getvalue())


def test_other_encodings_that_say_so_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "a.txt", "Füße".encode("utf-16")) == [("", "Füße")]
    assert read(tmp_path, "b.txt", "Füße".encode("utf-8-sig")) == [("", "Füße")]
    assert read(tmp_path, "c.txt", "") == []


@given(st.text(alphabet="ab .!?\n字。", max_size=6_000))
def test_splitting_loses_nothing_and_keeps_to_its_size(text: str) -> None:
    pieces = split(text)
    assert all(len(piece) <= MAX_CHARS for piece in pieces)
    rest = "".join(text.split())
    for piece in pieces:
        bare = "".join(piece.split())
        overlap = next(n for n in range(len(bare) + 1) if rest.startswith(bare[n:]))
        rest = rest[len(bare) - overlap :]
    assert rest == ""


def test_pieces_of_a_long_paragraph_overlap_by_a_sentence() -> None:
    text = " ".join(f"Sentence number {i} says something." for i in range(80))
    pieces = split(text)
    assert len(pieces) == 3
    for before, after in pairwise(pieces):
        assert after.startswith(before.rsplit(". ", 1)[1])


def test_a_heading_is_found_and_shown(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(MARKDOWN)
    with Memory() as memory:
        memory.remember_many(read_document(tmp_path / "guide.md"))
        found = memory.recall("How is the cleaning done without soap?", limit=1)
    assert found.text == "[m:2] (2025-03-04) Guide › Cleaning: Use vinegar. Not soap."


def test_what_was_exported_can_be_remembered_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(MARKDOWN)
    with Memory() as one, Memory() as other:
        one.remember_many(read_document(tmp_path / "guide.md"))
        one.remember("I like plums.", speaker="Ann", session="s")
        lines = tmp_path / "all.jsonl"
        lines.write_text("\n".join(as_json(record) for record in one.export("default")))
        other.remember_many(read_records(lines))
        assert list(other.export("default")) == list(one.export("default"))
    lines.write_text('{"text": "fine"}\n{"text": 5}\n')
    with pytest.raises(InvalidRecord, match=r"all.jsonl:2: no record"):
        read_records(lines)


def test_of_a_chat_what_people_said_is_remembered() -> None:
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "My cat is called Bosun."},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": json.dumps({"a": 1})},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "What a name!"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "user", "name": "ann", "content": " "},
    ]
    found = list(turns(messages, session="s1", user="Ann"))
    assert [(r.speaker, r.text, r.session) for r in found] == [
        ("Ann", "My cat is called Bosun.", "s1"),
        ("assistant", "What a name!", "s1"),
    ]
    with Memory() as memory:
        stored = memory.remember_stream(turns(messages * 300, session="s1", user="Ann"), batch=100)
        assert next(stored).text == "My cat is called Bosun."
        assert memory.count() > 0  # durable before the stream has ended
        assert sum(1 for _ in stored) == 599
