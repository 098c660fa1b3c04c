"""What was found by people who tried to break the memory: each of these went wrong once."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from orchestrator.memory import (
    AesGcmCipher,
    ExportedRecord,
    InvalidRecord,
    Memory,
    NewRecord,
    QuotaExceeded,
    Record,
)
from orchestrator.memory.ingest.chats import read_chats
from orchestrator.memory.ingest.documents import read_document
from orchestrator.memory.ingest.jsonl import as_json, read_export
from orchestrator.memory.record import Mention
from tests.support.documents import W, docx, epub, in_front


def texts(tmp_path: Path, name: str, content: bytes | str, **settings: Any) -> list[str]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [record.text for record in read_document(path, on_note=lambda note: None, **settings)]


@pytest.mark.parametrize("year", [1, 9999])
def test_a_moment_that_no_calendar_has_is_refused(year: int) -> None:
    shift = timezone(timedelta(hours=14 if year == 1 else -14))
    odd = datetime(year, 1, 1, tzinfo=shift) if year == 1 else datetime(year, 12, 31, 23, tzinfo=shift)
    with pytest.raises(InvalidRecord, match="outside the years 1 to 9999"):
        NewRecord("x", time=odd)
    for wrong in ({"speaker": None}, {"time": "2025-03-04"}):
        with pytest.raises(InvalidRecord):
            NewRecord("x", **wrong)  # type: ignore[arg-type]


def record(**changed: Any) -> Record:
    whole = {"id": 1, "scope": "s", "text": "a", "speaker": "", "time": None, "session": "", "source": ""}
    return Record(**{**whole, **changed})


@pytest.mark.parametrize(
    "broken",
    [
        {"said": -5}, {"said": 1.5}, {"said": 10**30}, {"id": 2**63 - 1}, {"id": -1}, {"superseded_by": 1},
        {"superseded_by": 2}, {"valid_until": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))},
    ],
)  # fmt: skip
def test_an_export_that_was_tampered_with_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord):
        ExportedRecord(record(**broken))


def test_mentions_and_chains_of_an_export_are_checked() -> None:
    for mention in (Mention(None, "s", "", 0), Mention(None, "\ud800", "")):
        with pytest.raises(InvalidRecord):
            ExportedRecord(record(), (mention,))
    now = datetime.now(UTC)
    circle = [ExportedRecord(record(id=i, valid_until=now, superseded_by=3 - i)) for i in (1, 2)]
    with Memory() as memory:
        for wrong in (circle, [ExportedRecord(record())] * 2):
            with pytest.raises(InvalidRecord):
                memory.restore(wrong)
        assert memory.count() == 0
        one, two = memory.remember("one").id, memory.remember("two").id
        memory.supersede("default", one, by=two)
        with pytest.raises(KeyError):
            memory.supersede("default", two, by=one)


def test_an_export_comes_back_as_it_was(tmp_path: Path) -> None:
    def day(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    with Memory() as one, Memory() as other:
        one.remember("Forgotten.")
        one.remember("I live in Porto.", speaker="Ann", time=day("2025-01-01"), session="s")
        one.remember("I moved to Lisbon in May.", speaker="Ann", time=day("2025-06-01"))
        for when in ("2025-07-01", "2025-08-01"):
            one.remember("The safe is blue.", time=day(when), source="mail")
        one.forget("default", [1])
        lines = tmp_path / "a.jsonl"
        lines.write_text("\n".join(as_json(each.record, each.mentions) for each in one.exported("default")))
        exported = read_export(lines)
        assert exported is not None
        other.restore(exported)
        assert list(other.exported("default")) == list(one.exported("default"))
        assert other.recall("Where does Ann live?").text == one.recall("Where does Ann live?").text
        known = other.recall("Where did Ann live?", as_of=day("2025-02-01")).text
        assert known == "[m:2] (2025-01-01) Ann: I live in Porto."  # nobody knew then that it would end
        assert other.remember("New.").id == 5
        again = other.restore(exported, "elsewhere")
        assert [record.id for record in again] == [6, 7, 8]
        assert again[0].superseded_by == 7


def test_restoring_keeps_to_cipher_and_limits(tmp_path: Path) -> None:
    exported = [ExportedRecord(record(id=3, text="The safe is blue.")), ExportedRecord(record(id=5, text="Two."))]
    cipher = AesGcmCipher(b"k" * 32)
    with Memory(tmp_path / "m.db", cipher=cipher) as memory:
        memory.limit("default", max_records=1)
        with pytest.raises(QuotaExceeded):
            memory.restore(exported)
        memory.limit("default")
        assert [found.id for found in memory.restore(exported)] == [3, 5]
    assert b"The safe is blue" not in (tmp_path / "m.db").read_bytes()
    with Memory(tmp_path / "m.db", cipher=cipher) as memory:
        assert memory.recall("Which colour has the safe?").items[0].record.id == 3


def test_what_is_restored_ends_where_something_newer_is_known() -> None:
    with Memory() as memory:
        memory.remember("I live in Rome.", speaker="Ann", time=datetime(2024, 5, 1, tzinfo=UTC))
        old = record(id=9, text="I live in Oslo.", speaker="Ann", time=datetime(2023, 1, 1, tzinfo=UTC))
        assert memory.restore([ExportedRecord(old)])[0].superseded_by == 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"Ann\x08 said price is 500", ["Ann\x08 said price is 500"]),
        ("a.txt", "x <!-- y --> z", ["x <!-- y --> z"]),
        ("a.txt", "date: tomorrow\nShall we meet?", ["date: tomorrow Shall we meet?"]),
        (
            "a.html",
            "<!DOCTYPE html><html><head><title>T</title><body><p>all the text</p></body></html>",
            ["all the text"],
        ),
        ("a.html", "<html><head><meta charset=utf-8><p>text</p></html>", ["text"]),
        ("a.html", "<style>.x, p.y{display:none}</style><p class=x>NO</p><p class=y>NO</p><p>yes", ["yes"]),
        ("a.html", "<del>40</del> <ins>55</ins> x<sup>2</sup>", ["~~40~~ 55 x^2"]),
        ("a.html", "<input type=checkbox>Meat<input type=checkbox checked>Fish", ["[ ] Meat [x] Fish"]),
        (
            "a.html",
            "<table><tr><td rowspan=2>Tea<td>small 3<tr><td>large 5</table>",
            ["Tea | small 3\nTea | large 5"],
        ),
        ("a.csv", "sep=;\nLamp;Euros\nGale;79\n", ["Lamp: Gale; Euros: 79"]),
        ("a.csv", "title, with comma;x\na;b\nc;d", ["title, with comma: a; x: b", "title, with comma: c; x: d"]),
    ],
)
def test_documents_keep_what_is_seen(tmp_path: Path, name: str, content: bytes | str, expected: list[str]) -> None:
    assert texts(tmp_path, name, content) == expected


@pytest.mark.parametrize("page", ["<a " * 60_000, "<!--" * 60_000, "<p>" * 60_000, "<b" * 30_000 + ">x"])
def test_no_page_takes_a_time_that_grows_with_its_square(tmp_path: Path, page: str) -> None:
    start = time.process_time()
    texts(tmp_path, "a.html", page)
    texts(tmp_path, "a.md", page)
    assert time.process_time() - start < 60  # seconds on any machine, minutes before


def test_a_sheet_of_three_far_cells_is_no_rectangle(tmp_path: Path) -> None:
    book, content = Workbook(), io.BytesIO()
    sheet: Any = book.active
    for place, value in (("A1", "Name"), ("XFD1", "Far"), ("A1048576", "Ann"), ("XFD1048576", "away")):
        sheet[place] = value
    book.save(content)
    assert texts(tmp_path, "a.xlsx", content.getvalue()) == ["Name: Ann; Far: away"]


def test_word_rows_that_were_deleted_and_hidden_runs_are_not_read(tmp_path: Path) -> None:
    from docx.oxml import parse_xml

    def make(document: Any) -> None:
        table = document.add_table(2, 1)
        table.cell(0, 0).text, table.cell(1, 0).text = "gone", "kept"
        table.rows[0]._tr.get_or_add_trPr().append(parse_xml(f'<w:del {W} w:id="1" w:author="a"/>'))
        document.add_paragraph("Seen ").add_run("hidden").font.hidden = True

    assert texts(tmp_path, "a.docx", docx(make)) == ["Base.", "kept", "Seen"]


def test_a_box_that_only_newer_programs_draw_is_read(tmp_path: Path) -> None:
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    box = "<w:txbxContent><w:p><w:r><w:t>Call 112</w:t></w:r></w:p></w:txbxContent>"
    choice = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice></mc:AlternateContent>"
    anchored = f"<w:p {W} {mc}><w:r><w:t>Help:</w:t>{choice}</w:r></w:p>"
    assert texts(tmp_path, "a.docx", docx(in_front(anchored))) == ["Help:", "Call 112", "Base."]


def test_who_speaks_in_subtitles_is_kept(tmp_path: Path) -> None:
    cues = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Hi there.</v>\n\n00:02.000 --> 00:03.000\n<v.loud Bob>I am Bob.\n"
    assert texts(tmp_path, "a.vtt", cues) == ["Ann: Hi there.", "Bob: I am Bob."]


def test_a_page_that_cannot_be_read_does_not_keep_the_book_out(tmp_path: Path) -> None:
    book = io.BytesIO(epub("<p>One.</p>", "<p>Two.</p>"))
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(tmp_path / "a.epub", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"Two.", "Größe".encode("latin-1")))
    notes: list[str] = []
    assert [found.text for found in read_document(tmp_path / "a.epub", on_note=notes.append)] == ["One."]
    assert "page 1.xhtml cannot be read: not UTF-8 text" in notes[0]


def test_mail_of_any_make_is_read(tmp_path: Path) -> None:
    head = b"From: a@b.c\nSubject: s\nMIME-Version: 1.0\n"
    empty = head + b'Content-Type: multipart/alternative; boundary="b"\n\n--b\nContent-Type: text/plain\n\n \n--b\n'
    assert texts(tmp_path, "a.eml", empty + b"Content-Type: text/html\n\n<p>Words</p>\n--b--\n")[1:] == ["Words"]
    raw = head + b"Content-Type: text/plain\n\n" + "café".encode()
    assert texts(tmp_path, "a.eml", raw)[1:] == ["café"]
    stated = head + b"Content-Type: text/plain; charset=iso-8859-1\n\n" + "café".encode("latin-1")
    assert texts(tmp_path, "a.eml", stated)[1:] == ["café"]
    mixed = head + b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\none\n--b\n'
    found = texts(tmp_path, "a.eml", mixed + b"Content-Type: text/html\n\n<p>two</p>\n--b--\n")
    assert found[1:] == ["one", "two"]


def test_a_broken_attachment_does_not_keep_the_message_out(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "s"
    message.set_content("Words.")
    message.add_attachment(b"PK\x03\x04 broken", maintype="application", subtype="zip", filename="a.docx")
    message.add_attachment(docx(lambda document: None)[:-900], maintype="application", subtype="zip", filename="b.docx")
    assert texts(tmp_path, "a.eml", message.as_bytes())[1:] == ["Words."]


def test_a_cell_over_several_rows_is_in_each(tmp_path: Path) -> None:
    book, content = Workbook(), io.BytesIO()
    sheet: Any = book.active
    for row in (["Region", "Quarter"], ["North", "Q1"], [None, "Q2"]):
        sheet.append(row)
    sheet.merge_cells("A2:A1000000")
    book.save(content)
    expected = ["Region: North; Quarter: Q1", "Region: North; Quarter: Q2"]
    assert texts(tmp_path, "a.xlsx", content.getvalue()) == expected


def test_a_book_is_read_whatever_its_prefixes(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(epub("<p>Words.</p>"))) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name.endswith(".opf"):
                part = part.replace(b"<item", b"<opf:item").replace(b"xhtml", b"xhtml#top")
                part = part.replace(b"<manifest>", b"<dc:title>The Lantern</dc:title><manifest>")
            new.writestr(name, part)
    assert texts(tmp_path, "a.epub", content.getvalue()) == ["The Lantern", "Words."]


@pytest.mark.parametrize(
    "content",
    [
        '[{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]',
        '[{"current_node": "x", "mapping": {"a": {"message": {"author": {"role": "user"}, '
        '"content": {"parts": ["hello"]}}}}}]',
        '[{"role": "tool"}, {"role": "user", "content": "hello"}]',
        '{"results": [{"memory": "hello", "user_id": "eva"}]}',
    ],
)  # fmt: skip
def test_chats_of_any_make_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert [found.text for found in read_chats(tmp_path / "a.json")] == ["hello"]


@pytest.mark.parametrize(
    "content",
    ['[{"mapping": {"a": {"message": "x"}}}]', '[{"chat_messages": [{"sender": "human", "attachments": 5}]}]'],
)
def test_chats_that_are_none_are_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidRecord, match=r"a\.json: "):
        read_chats(tmp_path / "a.json")
