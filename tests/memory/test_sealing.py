"""A sealed file tells nothing to who has not the key, and works as any other for who has."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.memory import AesGcmCipher, HashingEncoder, Memory, NewRecord, StoreError, Thresholds
from orchestrator.memory.salvage import salvage

KEY, OTHER = AesGcmCipher(bytes(32)), AesGcmCipher(b"k" * 32)
SMALL = HashingEncoder(32)
WHEN = datetime(2024, 1, 2, tzinfo=UTC)
RECORDS = [
    NewRecord("The grey walrus sings loudly.", "Brunhilde", WHEN, "zebra-session", "giraffe.md", "Okapi"),
    NewRecord("The grey walrus sings loudly!", "Brunhilde", WHEN, "yak-session", "gnu.md", "Okapi"),
    NewRecord("I live in Timbuktu.", "Brunhilde", WHEN),
    NewRecord("I live in Samarkand.", "Brunhilde", datetime(2025, 1, 2, tzinfo=UTC)),
]
SECRETS = ("walrus", "Brunhilde", "zebra", "yak-", "giraffe", "gnu.md", "Okapi", "Timbuktu", "Samarkand")


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_that_was_said_is_readable_in_any_file(tmp_path: Path) -> None:
    low = Thresholds(snapshot_from=1)
    path = tmp_path / "m.db"
    with Memory(path, encoder=SMALL, cipher=KEY, thresholds=low) as memory:
        memory.remember_many(RECORDS, "acme")
        memory.summarize("acme")
        expected = memory.recall("Where does Brunhilde live?", "acme", history=True)
        vector = SMALL.encode(["Brunhilde, Okapi: The grey walrus sings loudly."])[0].tobytes()
    stored = files(tmp_path)
    assert (tmp_path / "m.db.indexes").exists()
    assert not [secret for secret in SECRETS if secret.encode() in stored]
    assert vector not in stored
    with Memory(path, encoder=SMALL, cipher=KEY, thresholds=low) as memory:  # from the sealed snapshot
        assert memory.recall("Where does Brunhilde live?", "acme", history=True) == expected
        assert "Samarkand" in expected.text
        assert "until 2025-01-02" in expected.text
        assert [m.session for m in memory.mentions("acme", 1)] == ["zebra-session", "yak-session"]
        assert "walrus" in memory.summaries("acme")[-1].text


@pytest.mark.parametrize("cipher", [None, OTHER])
def test_another_key_or_none_is_refused_when_it_is_opened(tmp_path: Path, cipher: AesGcmCipher | None) -> None:
    Memory(tmp_path / "m.db", encoder=SMALL, cipher=KEY).close()
    with pytest.raises(StoreError, match=r"sealed with aes-256-gcm:\w+, at hand is"):
        Memory(tmp_path / "m.db", encoder=SMALL, cipher=cipher)


def test_a_row_moved_to_another_scope_cannot_be_read_there(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with Memory(path, encoder=SMALL, cipher=KEY) as memory:
        memory.remember("The grey walrus sings loudly.", "ann")
        memory.remember("The yak dances.", "bob")
    with sqlite3.connect(path) as thief:
        thief.execute("UPDATE records SET scope_id = (SELECT id FROM scopes WHERE path = 'bob')")
    with Memory(path, encoder=SMALL, cipher=KEY) as memory, pytest.raises(StoreError, match="sealed for another scope"):
        memory.recall("walrus", "bob")


def test_scopes_and_keys_have_nothing_in_common() -> None:
    assert KEY.digest(b"same", "a") == KEY.digest(b"same", "a")
    assert len({KEY.digest(b"same", "a"), KEY.digest(b"same", "b"), OTHER.digest(b"same", "a")}) == 3
    assert KEY.seal(b"same", "a") != KEY.seal(b"same", "a")
    assert KEY.fingerprint != OTHER.fingerprint
    with pytest.raises(StoreError):
        OTHER.unseal(KEY.seal(b"same", "a"), "a")
    with pytest.raises(ValueError, match="32 bytes"):
        AesGcmCipher(b"short")


def test_a_sealed_file_can_be_salvaged_with_its_key(tmp_path: Path) -> None:
    with Memory(tmp_path / "m.db", encoder=SMALL, cipher=KEY) as memory:
        memory.remember_many(RECORDS, "acme")
        expected = [record.text for record in memory.export("acme")]
    assert salvage(tmp_path / "m.db", tmp_path / "new.db", encoder=SMALL, cipher=KEY).records == len(expected)
    with Memory(tmp_path / "new.db", encoder=SMALL, cipher=KEY) as memory:
        assert [record.text for record in memory.export("acme")] == expected
