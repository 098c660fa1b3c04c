"""Forgetting is real: no file, cache, run or row gives back what a receipt says is gone."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import pytest

from orchestrator.memory import AesGcmCipher, HashingEncoder, Memory, NewRecord, NotErased, StoreError
from tests.support.gateway import running_gateway

SECRET = "The zanzibar codeword of Petra is quixotry."


def in_files(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_receipt_while_a_reader_keeps_the_text_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.memory.storage.transactions.PATIENCE_S", 0.2)
    path = tmp_path / "m.db"
    with Memory(path, encoder=HashingEncoder(32)) as memory:
        memory.remember("Lamps are nice.", "ann")
        kept = memory.remember(SECRET, "ann")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(NotErased, match="forget again"):
            memory.forget("ann", [kept.id])
        assert [record.text for record in memory.export("ann")] == [
            "Lamps are nice."
        ]  # gone for everybody all the same
        reader.execute("COMMIT")
        reader.close()
        assert memory.forget("ann", [kept.id]).ids == ()
        assert in_files(tmp_path, "zanzibar") == []


def test_what_could_not_be_erased_is_erased_with_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.memory.storage.transactions.PATIENCE_S", 0.2)
    path = tmp_path / "m.db"
    with Memory(path, encoder=HashingEncoder(32)) as memory:
        kept = memory.remember(SECRET, "ann")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(NotErased):
            memory.forget("ann", [kept.id])
        reader.close()
        memory.limit("ann", max_records=10)
        assert in_files(tmp_path, "zanzibar") == []


def test_a_sealed_text_in_another_row_is_not_read_there(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    path, cipher = tmp_path / "m.db", AesGcmCipher(secrets.token_bytes(32))
    with Memory(path, encoder=HashingEncoder(32), cipher=cipher) as memory:
        one, other = (memory.remember(text, "ann") for text in ("Pay Ann ten pounds.", "Pay Bob ten pounds."))
        assert [record.text for record in memory.export("ann")] == ["Pay Ann ten pounds.", "Pay Bob ten pounds."]
    database = sqlite3.connect(path)
    texts = dict(database.execute("SELECT id, text FROM records").fetchall())
    for record_id, text in ((one.id, texts[other.id]), (other.id, texts[one.id])):
        database.execute("UPDATE records SET text = ? WHERE id = ?", (text, record_id))
    database.commit()
    database.close()
    with (
        Memory(path, encoder=HashingEncoder(32), cipher=cipher) as memory,
        pytest.raises(StoreError, match="cannot be decrypted"),
    ):
        list(memory.export("ann"))


def test_a_sealed_memory_of_an_older_version_is_read_and_written_on(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    path, cipher = tmp_path / "m.db", AesGcmCipher(secrets.token_bytes(32))
    with Memory(path, encoder=HashingEncoder(32), cipher=cipher) as memory:
        memory.remember("Old.", "ann")
    database = sqlite3.connect(path)
    database.execute("UPDATE records SET text = ?", (cipher.seal(b"Old.", "ann"),))  # as it was sealed before
    database.execute("DELETE FROM settings WHERE name = 'bound_after'")
    database.commit()
    database.close()
    with Memory(path, encoder=HashingEncoder(32), cipher=cipher) as memory:
        memory.remember("New.", "ann")
        assert [record.text for record in memory.export("ann")] == ["Old.", "New."]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with Memory(path, encoder=HashingEncoder(32)) as memory:
        memory.remember_many([NewRecord(f"Note number {n} about lamps and their oil.") for n in range(2_000)], "ann")
    raw = bytearray(path.read_bytes())
    size = int.from_bytes(raw[16:18], "big")
    told = 0
    for page in range(2, len(raw) // size, 9):
        damaged = bytearray(raw)
        damaged[page * size : (page + 1) * size] = damaged[(page - 1) * size : page * size]  # one page stands twice
        path.write_bytes(damaged)
        try:
            with Memory(path, encoder=HashingEncoder(32)) as memory:
                found = [record.text for record in memory.export("ann")]
        except StoreError as error:
            told += "salvage" in str(error)
        else:
            assert len(found) == 2_000
    assert told > 0


def test_runs_that_recalled_it_give_it_no_more(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nname: p\ninputs: {question: text}\nsteps:\n  facts: {memory: recall, query: '${inputs.question}', "
        "scope: ann}\n"
        "  said: {say: '${facts.text}'}\noutput: ${said}\n"
    )
    with running_gateway(tmp_path, pipelines={"p": str(tmp_path / "p.yaml")}) as run:
        kept = run.post("/v1/memories", {"text": SECRET, "scope": "ann"}).json()["id"]
        began = run.post("/v1/pipelines/p/runs", {"inputs": {"question": "What is the zanzibar codeword?"}}).json()
        assert "quixotry" in str(began["output"])
        assert run.send("DELETE", f"/v1/memories/{kept}?scope=ann").status_code == 200
        told = run.get(f"/v1/runs/{began['id']}").json()
        assert "quixotry" not in str(told)
        assert told["status"] == "done"
        assert in_files(tmp_path, "quixotry") == []


def test_scopes_that_do_not_exist_cost_nothing(tmp_path: Path) -> None:
    with Memory(tmp_path / "m.db", encoder=HashingEncoder(32)) as memory:
        memory.remember("x y z", "t/real")
        for number in range(200):
            assert len(memory.recall("x", f"t/none{number}").items) == 0
        assert len(memory._indexes) <= 1
        assert memory.scopes() == ["t/real"]
