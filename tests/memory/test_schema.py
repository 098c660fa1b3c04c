"""Memories of older versions are brought to this one in place, and nothing of them is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orchestrator.memory import (
    AesGcmCipher,
    EncoderMismatch,
    HashingEncoder,
    Memory,
    NewRecord,
    Scope,
    StoreError,
    default_encoder,
)
from orchestrator.memory.text.words import counted, words_in

TEXTS = (
    ("acme", "Ann", "Ann lives in Porto."),
    ("acme", "", "The safe is blue."),
    ("acme/bob", "Bob", "I like plums."),
)
_V1 = """
CREATE TABLE scopes (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, deletions INTEGER NOT NULL DEFAULT 0);
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, scope_id INTEGER NOT NULL REFERENCES scopes(id), text TEXT NOT NULL,
    speaker TEXT NOT NULL,
    time REAL, session TEXT NOT NULL, source TEXT NOT NULL, stored_at REAL NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX records_by_scope ON records (scope_id, id);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_TO_V2 = """
ALTER TABLE records ADD COLUMN asks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN names INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN numbers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN personal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN words BLOB NOT NULL DEFAULT x'';
ALTER TABLE records ADD COLUMN counts BLOB NOT NULL DEFAULT x'';
ALTER TABLE scopes ADD COLUMN max_records INTEGER; ALTER TABLE scopes ADD COLUMN ttl_s REAL;
"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_memory_of_an_older_version_is_upgraded_in_place(tmp_path: Path, version: int) -> None:
    path, encoder = tmp_path / "m.db", HashingEncoder(32)
    old = sqlite3.connect(path)
    old.executescript(_V1 + (_TO_V2 if version == 2 else "CREATE VIRTUAL TABLE lexical USING fts5 (scope, body);"))
    old.execute("INSERT INTO settings VALUES ('encoder', ?)", (encoder.fingerprint,))
    for number, (scope, speaker, text) in enumerate(TEXTS, start=5):
        old.execute("INSERT OR IGNORE INTO scopes (path) VALUES (?)", (scope,))
        vector = encoder.encode([f"{speaker}: {text}"])[0].tobytes()
        old.execute(
            "INSERT INTO records (id, scope_id, text, speaker, session, source, stored_at, vector) "
            "SELECT ?, id, ?, ?, '', '', ?, ? FROM scopes WHERE path = ?",
            (number, text, speaker, float(number), vector, scope),
        )
    old.execute(
        "INSERT INTO records (id, scope_id, text, speaker, session, source, stored_at, vector) SELECT 90, 1, 'x', '', "
        "'', '', 0, x'00'"
    )
    old.execute("DELETE FROM records WHERE id = 90")
    old.execute(f"PRAGMA user_version = {version}")
    old.commit()
    old.close()
    with Memory(path, encoder=encoder) as memory:
        assert [(r.id, r.speaker, r.text) for r in memory.export("acme")] == [
            (5, "Ann", "Ann lives in Porto."),
            (6, "", "The safe is blue."),
        ]
        assert [r.text for r in memory.export("acme/bob")] == ["I like plums."]
        assert memory.recall("Where does Ann live?", "acme").items[0].record.id == 5
        assert memory.remember("The safe is blue", "acme").id == 6  # it is known as what was said before
        moved = memory.remember("Ann moved to Lisbon.", "acme")
        assert moved.id == 91  # no id is used twice
        assert next(iter(memory.export("acme"))).superseded_by == moved.id
    with Memory(path, encoder=encoder) as memory:
        assert memory.count("acme") == 3


@pytest.mark.parametrize("cipher", [None, AesGcmCipher(b"k" * 32)], ids=["plain", "sealed"])
def test_words_of_version_3_are_worked_out_anew(tmp_path: Path, cipher: AesGcmCipher | None) -> None:
    path, encoder = tmp_path / "m.db", HashingEncoder(32)
    with Memory(path, encoder=encoder, cipher=cipher) as memory:
        memory.remember_many([NewRecord("我对花生过敏。"), NewRecord("I live in Porto.", "Ann")], "acme")
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE facts DROP COLUMN ends")
    old.execute("UPDATE records SET counts = x''" + ("" if cipher else ", words = x''"))
    old.execute("PRAGMA user_version = 3")
    old.commit()
    old.close()
    if cipher is not None:
        with pytest.raises(StoreError, match="its own cipher"):
            Memory(path, encoder=encoder, cipher=AesGcmCipher(b"x" * 32))
    with Memory(path, encoder=encoder, cipher=cipher) as memory:
        assert memory.recall("花生", "acme").items[0].record.id == 1
        assert memory.remember("我对花生过敏", "acme").id == 1
        moved = memory.remember("I live in Rome.", "acme", speaker="Ann")
        assert [record.superseded_by for record in memory.export("acme")] == [None, moved.id, None]


def test_a_memory_of_an_encoder_that_was_shipped_before_is_encoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = HashingEncoder(32)
    with Memory(tmp_path / "m.db", encoder=old) as memory:
        memory.remember("Bosun is the cat.", "acme")
    with pytest.raises(EncoderMismatch):
        Memory(tmp_path / "m.db")  # somebody's own choice is kept
    monkeypatch.setattr("orchestrator.memory.memory.RETIRED", frozenset((old.fingerprint,)))
    with pytest.raises(EncoderMismatch):
        Memory(tmp_path / "m.db", encoder=HashingEncoder(64))
    for _ in range(2):
        with Memory(tmp_path / "m.db") as memory:
            assert memory.store.state(Scope("acme")).encoder == default_encoder().fingerprint
            assert memory.recall("Who is Bosun?", "acme").items[0].record.id == 1


def test_what_is_stored_of_words_has_not_changed() -> None:
    """Memories hold these hashes: another stemmer or hash needs a new schema version."""
    words, counts = counted(words_in("Ferries, ferry boats and the ferry-man's boat: 12."))
    assert dict(zip(words.tolist(), counts.tolist(), strict=True)) == STORED


STORED = {1330857165: 1, 1772263384: 1, 2730101879: 3, 3631121226: 2}
