"""Rows of files as people have them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batch.ids import IdIndex
from orchestrator.batch.rows import InputRow, read_rows
from orchestrator.errors import InvalidArgument, StorageError


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def told(rows: list[InputRow]) -> list[tuple[str, object]]:
    return [(row.id, row.mistake or dict(row.values)) for row in rows]


def test_json_lines_with_a_mark_blank_lines_and_rows_that_are_wrong(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"id": "a", "t": "1"}\r\n\n{"id": 7, "t": "\xc3\xbc"}\n{"t": "no id"}\n[1]\n'
        b'{"id": "d"\n\xff\n5\n{"id": true}\n'
    )
    found = list(read_rows(written(tmp_path, "in.jsonl", content)))
    assert [row.id for row in found] == ["a", "7", "row 3", "row 4", "row 5", "row 6", "row 7", "row 8"]
    assert [row.mistake.split(":")[0] for row in found] == [
        "",
        "",
        "it has no id in 'id'",
        "it is a list",
        "it is not JSON",
        "it is not JSON",
        "it is int, no object",
        "it has no id in 'id'",
    ]
    assert found[1].values["t"] == "ü"


def test_ids_stand_in_every_row_or_in_none(tmp_path: Path) -> None:
    lines = b'{"t": 1}\n{"t": 2, "id": "b"}\n{"t": 3, "custom_id": "c"}\n{"t": 4, "id": null}\n'
    path = written(tmp_path, "in.jsonl", lines)
    assert [(row.id, row.mistake[:26]) for row in read_rows(path)] == [
        ("1", ""),
        ("row 2", "it has an id in 'id', and "),
        ("row 3", "it has an id in 'custom_id"),
        ("4", ""),
    ]
    named = list(read_rows(path, id_column="t"))
    assert [row.id for row in named] == ["1", "2", "3", "4"]


def test_tables_with_quotes_line_breaks_and_wrong_cells(tmp_path: Path) -> None:
    content = 'id,text\n1,"a, ""b""\nc"\n2\n3,ü,x\n4,"d"\n'.encode()
    found = list(read_rows(written(tmp_path, "in.csv", content)))
    assert told(found) == [
        ("1", {"id": "1", "text": 'a, "b"\nc'}),
        ("row 2", "it has 1 cells, and the table 2 columns (line 4)"),
        ("row 3", "it has 3 cells, and the table 2 columns (line 5)"),
        ("4", {"id": "4", "text": "d"}),
    ]
    tabs = written(tmp_path, "in.tsv", b"\xef\xbb\xbfid\ttext\n1\ta,b\n")
    assert told(list(read_rows(tabs))) == [("1", {"id": "1", "text": "a,b"})]
    latin = written(tmp_path, "latin.csv", b"id,text\n1,\xe4\n2,b\n")
    assert [row.mistake[:15] for row in read_rows(latin)] == ["it is not UTF-8", ""]
    assert [row.values["text"] for row in read_rows(latin, encoding="latin-1")] == ["ä", "b"]


def test_a_line_of_a_table_that_is_too_long_is_one_wrong_row(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,text\n1,a\n2," + b"x,y" * 100 + b"\n3,c\n")
    found = list(read_rows(written(tmp_path, "in.csv.gz", packed), max_line_bytes=50))
    assert [row.values.get("text") for row in found] == ["a", None, "c"]
    assert "longer than 50 characters" in found[1].mistake
    with pytest.raises(InvalidArgument, match="the first line is no row of a table"):
        list(read_rows(written(tmp_path, "head.csv", b"x" * 200), max_line_bytes=50))


def test_a_stray_quote_that_swallows_lines_says_which(tmp_path: Path) -> None:
    content = b'id,text\n1,a\n2,"b\n3,c\n4,"d"\n5,e\n'
    found = list(read_rows(written(tmp_path, "in.csv", content)))
    assert found[0].values["text"] == "a"
    assert [row.mistake for row in found if "lines 3 to" in row.mistake and "is a quote missing?" in row.mistake]
    open_end = list(read_rows(written(tmp_path, "end.csv", b'id,text\n1,"a\n2,b\n3,c\n')))
    assert [row.mistake for row in open_end] == [
        "it is no row of a table: unexpected end of data (lines 2 to 4: is a quote missing?)"
    ]


def test_parquet_and_packed_files(tmp_path: Path) -> None:
    table = arrow.table({"id": [1, 2, 3], "text": ["a", None, "c"]})
    parquet.write_table(table, tmp_path / "in.parquet")
    assert [row.values["text"] for row in read_rows(tmp_path / "in.parquet")] == ["a", None, "c"]
    packed = written(tmp_path, "in.jsonl.gz", gzip.compress(b'{"id": "a"}\n{"id": "b"}\n'))
    assert [row.id for row in read_rows(packed)] == ["a", "b"]
    torn = written(tmp_path, "torn.jsonl.gz", gzip.compress(b'{"id": "a"}\n' * 5_000)[:-9])
    with pytest.raises(InvalidArgument, match="cannot be read"):
        list(read_rows(torn))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.xlsx", b"PK", "does not say what kind"),
        ("in", b"{}", "does not say what kind"),
        ("in.json", b' \n[{"id": 1}]', "one JSON list"),
        ("in.csv", b"id,gr\xf6\xdfe\n1,2\n", "the table is not UTF-8"),
        ("in.parquet", b"no", "is no Parquet"),
        ("in.csv", b"a,a\n1,2\n", "two alike"),
        ("in.csv", b"a,\n1,2\n", "not all named"),
    ],
)
def test_files_that_are_no_rows_are_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        list(read_rows(written(tmp_path, name, content)))


def test_a_line_that_is_too_long_is_one_wrong_row(tmp_path: Path) -> None:
    path = written(tmp_path, "in.jsonl", b'{"id": "a"}\n{"id": "' + b"x" * 1_000 + b'"}\n{"id": "b"}\n')
    found = read_rows(path, max_line_bytes=100)
    assert [row.mistake for row in found] == ["", "the line is longer than 100 bytes", ""]


def test_what_is_piped_in_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped:
        buffer = io.BytesIO(b'{"id": "a"}\n')

    monkeypatch.setattr("sys.stdin", Piped)
    assert [row.id for row in read_rows(Path("-"))] == ["a"]
    Piped.buffer = io.BytesIO(b"id;n\n1;2\n")
    assert [dict(row.values) for row in read_rows(Path("-"), kind="csv")] == [{"id": "1", "n": "2"}]


def test_tables_of_excel_with_semicolons_and_utf_16(tmp_path: Path) -> None:
    semicolons = written(tmp_path, "s.csv", b'id;text;n\r\n1;"a;\r\nb";1,5\r\n')
    assert told(list(read_rows(semicolons))) == [("1", {"id": "1", "text": "a;\r\nb", "n": "1,5"})]
    unicode = written(tmp_path, "u.csv", "id\ttext\r\n1\tü€\r\n".encode("utf-16"))
    assert told(list(read_rows(unicode))) == [("1", {"id": "1", "text": "ü€"})]
    lines = written(tmp_path, "u.jsonl", '{"id": "a", "t": "ü"}\n{"id": "b", "t": ""}\n'.encode("utf-16"))
    assert [row.values["t"] for row in read_rows(lines)] == ["ü", ""]
    with pytest.raises(InvalidArgument, match="no encoding 'latein'"):
        list(read_rows(semicolons, encoding="latein"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefg"), max_size=30), st.sets(st.sampled_from("abcdefg")), st.integers(1, 7))
def test_the_index_knows_what_is_done_and_what_came_before(ids: list[str], done: set[str], at_once: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        index = IdIndex(Path(folder) / "ids.db")
        rows = [(id_, "h") for id_ in sorted(done)]
        assert list(index.add_done(rows)) == []
        assert sorted(index.add_done(rows)) == sorted(done)
        parts = (ids[start : start + at_once] for start in range(0, len(ids), at_once))
        found = [state for part in parts for state in index.see([(id_, "h") for id_ in part])]
        expected = [
            "repeated" if id_ in ids[:place] else "done" if id_ in done else "new" for place, id_ in enumerate(ids)
        ]
        assert found == expected
        index.close()
        assert list(Path(folder).iterdir()) == []


def test_an_index_on_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    index = IdIndex(tmp_path / "ids.db")
    index._db.execute("PRAGMA max_page_count = 20")
    rows = [(f"row {number}", "") for number in range(50_000)]
    with pytest.raises(StorageError, match=r"index of the rows.*full"):
        index.see(rows)
    index.close()
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_holds_something_else_is_told_from_one_that_is_done(tmp_path: Path) -> None:
    index = IdIndex(tmp_path / "ids.db")
    assert list(index.add_done([("a", "1"), ("b", "")])) == []
    assert index.see([("a", "2"), ("b", "7"), ("c", "1")]) == ["changed", "done", "new"]
    index.close()
