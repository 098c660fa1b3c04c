"""Documents of every kind lose nothing silently: what is read, what is told, what is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from orchestrator.memory import InvalidRecord
from orchestrator.memory.ingest.documents import document_paths, read_document
from orchestrator.memory.ingest.encodings import decoded
from orchestrator.memory.ingest.markup import read_html
from tests.support import documents as made
from tests.support.documents import W, docx, in_front, inline, pdf


def read(tmp_path: Path, name: str, content: bytes | str, **settings: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """(heading, text) of each record, and what was told."""
    path, notes = tmp_path / name, list[str]()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    records = read_document(path, on_note=notes.append, **settings)
    return [(record.heading, record.text) for record in records], notes


def nested(document: Any) -> None:
    table = document.add_table(1, 1).cell(0, 0).add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Penalty", "2,400 euros"


def header(document: Any) -> None:
    document.sections[0].header.paragraphs[0].text = "Contract K-4471"


def footer(document: Any) -> None:
    document.sections[0].footer.paragraphs[0].text = "Page of Norwind"


def merged(document: Any) -> None:
    table = document.add_table(1, 3)
    table.cell(0, 0).merge(table.cell(0, 2)).text = "Delivery schedule"


def comment(document: Any) -> None:
    run = document.add_paragraph("The fee is ").add_run("9 euros")
    document.add_comment(runs=run, text="Check with Odalys", author="A")


BOX = (
    f'<w:p {W} xmlns:v="urn:schemas-microsoft-com:vml"><w:r><w:pict><v:shape><v:textbox><w:txbxContent><w:p><w:r><w:t>'
    "Emergency phone 0800 555 0199</w:t></w:r></w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r></w:p>"
)


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


TRACKED = 'w:id="2" w:author="a"'


@pytest.mark.parametrize(
    ("wanted", "make"),
    [
        ("The period is six weeks end.", inline("The period is ", f"<w:ins {W} {TRACKED}>{run('six weeks')}</w:ins>")),
        ("It is in Turku end.", inline("It is in ", f"<w:moveTo {W} {TRACKED}>{run('Turku')}</w:moveTo>")),
        ("Signed in May end.", inline("Signed ", f'<w:fldSimple {W} w:instr="DATE">{run("in May")}</w:fldSimple>')),
        ("Tenant: Ann end.", inline("Tenant: ", f"<w:sdt {W}><w:sdtContent>{run('Ann')}</w:sdtContent></w:sdt>")),
        ("City: Turku end.", inline("City: ", f'<w:smartTag {W} w:element="City">{run("Turku")}</w:smartTag>')),
        ("By Norwind.", in_front(f"<w:sdt {W}><w:sdtContent><w:p>{run('By Norwind.')}</w:p></w:sdtContent></w:sdt>")),
        ("Emergency phone 0800 555 0199", in_front(BOX)),
        ("2,400", nested),
        ("Contract K-4471", header),
        ("Page of Norwind", footer),
        ("Delivery schedule", merged),
        ("Check with Odalys", comment),
    ],
)
def test_what_word_prints_is_read_once(tmp_path: Path, wanted: str, make: Callable[[Any], None]) -> None:
    found, notes = read(tmp_path, "a.docx", docx(make))
    assert " // ".join(text for _, text in found).count(wanted) == 1
    assert "Base." in [text for _, text in found]
    assert notes == []


def test_what_was_deleted_in_word_is_not_read(tmp_path: Path) -> None:
    for name in ("del", "moveFrom"):
        tag = "delText" if name == "del" else "t"
        gone = f'<w:{name} {W} w:id="2" w:author="a"><w:r><w:{tag}>SECRET</w:{tag}></w:r></w:{name}>'
        found, _ = read(tmp_path, "a.docx", docx(inline("Kept", gone)))
        assert found == [("", "Base."), ("", "Kept end.")]


PAGE = """<html><head><title>Shop</title><style>p {}</style><meta name="description" content="x"></head><body>
Loose words <b>here</b>.<div>In a div</div>tail <p>A paragraph<br>with a break.</p>
<p hidden>SECRET</p><div style="color:red; display : none">SECRET <p>SECRET</p></div><template>SECRET</template>
<!-- SECRET --><script>SECRET</script><input type="hidden" value="SECRET"><span style="visibility:hidden">SECRET</span>
<form><label>Name</label><input value="Odalys"><select><option>Small</option><option>Large</option></select>
<textarea>Leave it
at the door</textarea></form>
<details><summary>Shipping</summary>Two days.</details><h2>List</h2>
<ul><li>One<ul><li>Inner</li></ul></li><li>Two</li></ul>
<dl><dt>Gale</dt><dd>A lamp</dd></dl><img src="x" alt="A red lamp"><table><tr><td>Cell<table><tr><td>in</td>
<td>side</td>
</tr></table></td><td>Other</td></tr></table><noscript>SECRET</noscript></body></html>"""


def test_all_that_is_seen_of_a_page_is_read_and_nothing_hidden(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "page.html", PAGE)
    assert found == [
        ("Shop", "Loose words here."),
        ("Shop", "In a div"),
        ("Shop", "tail"),
        ("Shop", "A paragraph\nwith a break."),
        ("Shop", "Name Odalys\nSmall\nLarge"),
        ("Shop", "Leave it\nat the door"),
        ("Shop", "Shipping\nTwo days."),
        ("Shop › List", "One\nInner\nTwo"),
        ("Shop › List", "Gale\nA lamp"),
        ("Shop › List", "[shows: A red lamp]"),
        ("Shop › List", "Cell (in | side) | Other"),
    ]


@given(st.recursive(st.text("ab ", max_size=5), lambda inner: st.lists(inner, max_size=4), max_leaves=30), st.data())
def test_no_word_of_a_page_is_lost_wherever_it_stands(tree: Any, data: st.DataObject) -> None:
    tags = st.sampled_from(
        "div p span li ul ol b td tr table section h2 h3 pre a em details form blockquote dd".split()
    )
    words: list[str] = []

    def html(node: Any) -> str:
        if isinstance(node, str):
            words.append(f"w{len(words)}x")
            return words[-1] + node
        tag = data.draw(tags)
        return f"<{tag}>{''.join(html(child) for child in node)}</{tag}>"

    read_page = read_html(f"<body>{html(tree)}</body>")
    seen = " ".join(" ".join(block.headings) + " " + block.text for block in read_page.blocks)
    for word in words:
        assert word in seen


def test_deep_nesting_takes_no_time() -> None:
    assert [block.text for block in read_html("<div>" * 20_000 + "deep" + "</div>" * 20_000).blocks] == ["deep"]


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = ["The supplier delivers", "every Monday before", "noon and is paid in", "thirty days."]
    right = ["The customer collects", "goods on Tuesdays and", "returns empty crates", "within a week."]
    found, _ = read(tmp_path, "a.pdf", made.two_columns(left, right))
    assert found == [("page 1", " ".join(left)), ("page 1", " ".join(right))]


def test_pages_without_text_are_told_and_forms_are_read(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "a.pdf", pdf("First.", "", "Third.", form={"tenant": "Odalys Marrow"}))
    assert found == [("page 1", "First."), ("page 3", "Third."), ("form", "tenant: Odalys Marrow")]
    assert len(notes) == 1
    assert "1 of 3 pages hold no text (scanned?): 2" in notes[0]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_a_pdf_that_opens_without_a_password_is_read(tmp_path: Path, algorithm: str) -> None:
    def sealed(password: str) -> bytes:
        writer, content = PdfWriter(), io.BytesIO()
        writer.append(PdfReader(io.BytesIO(pdf("The fee is 9 euros."))))
        writer.encrypt(password, "owner", algorithm=algorithm)
        writer.write(content)
        return content.getvalue()

    assert read(tmp_path, "a.pdf", sealed(""))[0] == [("page 1", "The fee is 9 euros.")]
    with pytest.raises(InvalidRecord, match="encrypted; remove the password"):
        read(tmp_path, "b.pdf", sealed("secret"))


def test_slides_tables_and_notes_are_read(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "a.pptx", made.pptx())
    assert found == [
        ("slide 1 › Plan", "We ship in May."),
        ("slide 1 › Plan", "Lamp: Gale; Euros: 79"),
        ("slide 1 › Plan", "Notes: Thank the team."),
    ]
    assert notes == [f"{tmp_path / 'a.pptx'}: slide 2 holds no text (a picture?)"]


def test_rows_of_a_spreadsheet_are_records_with_the_names_of_their_columns(tmp_path: Path) -> None:
    assert read(tmp_path, "a.xlsx", made.xlsx())[0] == [
        ("Prices", "Our lamps"),
        ("Prices", "Lamp: Gale; Euros: 79; Share: 25%"),
        ("Prices", "Lamp: Moth; Euros: 45; Share: =B3/B4"),
        ("Prices › comments", "A4: sold out"),
        ("Costs (hidden)", "Lamp: Gale; Cost: 30"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Lamp,Euros\nGale,79\nMoth,\n", ["Lamp: Gale; Euros: 79", "Lamp: Moth"]),
        ('Lamp;Text\nGale;"a;b\nc"\n', ["Lamp: Gale; Text: a;b c"]),
        ("\ufeffLamp\tEuros\nGale\t79", ["Lamp: Gale; Euros: 79"]),
        ("1,2\n3,4\n", ["column 1: 1; column 2: 2", "column 1: 3; column 2: 4"]),
        ("Lamp,Euros\nGale,79,extra\n", ["Lamp: Gale; Euros: 79; column 3: extra"]),
        ("just one column\nof words\n", ["column 1: just one column", "column 1: of words"]),
        ("", []),
    ],
)
def test_rows_of_a_table_are_records(tmp_path: Path, content: str, expected: list[str]) -> None:
    assert [text for _, text in read(tmp_path, "a.csv", content)[0]] == expected


def test_a_book_is_read_in_its_order(tmp_path: Path) -> None:
    content = made.epub("<h1>One</h1><p>It began.</p>", "<h1>Two</h1>It ended.")
    assert read(tmp_path, "a.epub", content)[0] == [("One", "It began."), ("Two", "It ended.")]
    with pytest.raises(InvalidRecord, match="cannot be read as a book"):
        read(tmp_path, "b.epub", b"PK")


def test_a_message_is_read_with_its_attachments(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "a.eml", made.eml())
    assert found == [
        ("Größe der Lampe", "From: Ann Höger <ann@example.com>\nTo: bob@example.com\n"
         "Date: Tue, 04 Mar 2025 10:00:00 +0100\nSubject: Größe der Lampe"),
        ("Größe der Lampe", "The Gale lamp is 40 cm tall."),
        ("Größe der Lampe", "-- Ann"),
        ("Größe der Lampe › prices.csv", "Lamp: Gale; Euros: 79"),
        ("Größe der Lampe › w.pdf › page 1", "Warranty is two years."),
        ("Größe der Lampe › message.eml › Old question", "From: bob@example.com\nSubject: Old question"),
        ("Größe der Lampe › message.eml › Old question", "How tall is the Gale?"),
    ]  # fmt: skip
    assert notes == [f"{tmp_path / 'a.eml'}: attachment lamp.png: no document that is read"]
    record = read_document(tmp_path / "a.eml", on_note=notes.append)[0]
    assert (record.speaker, record.time) == ("Ann Höger <ann@example.com>", datetime(2025, 3, 4, 9, tzinfo=UTC))


MATTER = """---
title: The Gale
date: 2025-03-04
tags: [lamp, brass]
---

Made of brass.

Cleaning
--------
Use vinegar.
- one
- two

Prices
======

| Lamp | Euros |
|---|---|
| Gale | 79 |
"""


def test_front_matter_and_underlined_headings_count(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", MATTER)[0] == [
        ("The Gale", "title: The Gale; date: 2025-03-04; tags: lamp, brass"),
        ("The Gale", "Made of brass."),
        ("The Gale › Cleaning", "Use vinegar.\n- one\n- two"),
        ("Prices", "| Lamp | Euros |\n|---|---|\n| Gale | 79 |"),
    ]
    assert read_document(tmp_path / "a.md")[0].time == datetime(2025, 3, 4)


def test_cues_of_subtitles_become_sentences(tmp_path: Path) -> None:
    cues = (("00:00:01", "<i>Where is</i>"), ("00:00:02", "the key?"), ("01:02:03", "In the drawer."))
    srt = "".join(f"{n}\n{at},000 --> {at},900\n{said}\n\n" for n, (at, said) in enumerate(cues, start=1))
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\nWhere is\n\n00:02.000 --> 00:03.000\nWhere is\nthe key?\n"
    assert read(tmp_path, "a.srt", srt)[0] == [("0:00", "Where is the key?"), ("1:02", "In the drawer.")]
    assert read(tmp_path, "a.vtt", vtt)[0] == [("0:00", "Where is the key?")]


TEXTS = ["Füße größer Café", "会議は金曜日の午後三時です。", "Собрание в пятницу", "plain words", "اجتماع يوم الجمعة"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_unicode_proves_itself(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(TEXTS[0], "latin-1"), (TEXTS[0], "cp1252"), ("żółć gęś", "cp1250"), (TEXTS[2], "cp1251"), (TEXTS[2], "koi8_r"),
     (TEXTS[1], "cp932"), (TEXTS[1], "euc_jp"), ("我对花生过敏。", "gb18030"), ("회의는 금요일", "cp949"),
     (TEXTS[4], "cp1256")],
)  # fmt: skip
def test_other_encodings_are_refused_until_they_are_named(text: str, encoding: str) -> None:
    with pytest.raises(InvalidRecord, match=r"not UTF-8 text \(byte \d+\).*--encoding (?!utf)"):
        decoded(text.encode(encoding))
    assert decoded(text.encode(encoding), encoding) == text


def test_an_encoding_that_the_file_declares_is_taken(tmp_path: Path) -> None:
    page = "<html><head><meta charset=iso-8859-1></head><body>Füße</body></html>"
    assert read(tmp_path, "a.html", page.encode("latin-1"))[0] == [("", "Füße")]
    assert decoded("会議は金曜日".encode("iso2022_jp")) == "会議は金曜日"
    with pytest.raises(InvalidRecord, match="Python knows no encoding 'klingon'"):
        decoded(b"\xff", "klingon")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        found = decoded(content)
    except InvalidRecord as error:
        found = str(error)
        assert "convert it to UTF-8" in found
    assert isinstance(found, str)


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.epub", "a.eml", "a.csv", "a.html", "a.srt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x00\xff" * 50, b"%PDF-1.4 broken", b"words"])
def test_a_broken_file_is_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    try:
        read(tmp_path, name, content)
    except InvalidRecord as error:
        told = str(error)
        assert told.startswith(str(tmp_path / name))


def test_folders_and_patterns_stand_for_their_files(tmp_path: Path) -> None:
    for name in ("a.md", "b.bin", "sub/c.txt", ".hidden/d.md", "sub/.e.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("words")
    names = lambda paths: [str(path.relative_to(tmp_path)) for path in paths]  # noqa: E731
    found, left_out = document_paths(tmp_path, [".md", ".txt"])
    assert (names(found), names(left_out)) == (["a.md", "sub/c.txt"], ["b.bin"])
    assert names(document_paths(f"{tmp_path}/**/*.txt", [".txt"])[0]) == ["sub/c.txt"]
    for wrong in ("missing.md", "*.pdf", ".hidden"):
        with pytest.raises(FileNotFoundError):
            document_paths(tmp_path / wrong, [".txt"])


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("x"))
    code = (
        "import runpy, sys; sys.modules['pdfminer'] = None\n"
        "sys.argv = ['orchestrator', 'remember', 'a.pdf', '--memory', 'm.db']\n"
        "runpy.run_module('orchestrator', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "pip install 'compound-orchestrator[documents]'" in done.stderr
    assert "Traceback" not in done.stderr
