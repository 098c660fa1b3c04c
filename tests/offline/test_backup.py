"""Backups taken while others write, and brought back."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.config.models import Config, load_config
from orchestrator.conversation.store import ConversationStore
from orchestrator.errors import InvalidArgument, StorageError
from orchestrator.memory import Memory
from orchestrator.offline.backup import back_up, restore
from orchestrator.storage.account_types import AccountLimits, NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.audit_log import AuditLog
from orchestrator.storage.comparisons import Comparisons
from orchestrator.storage.database import open_database
from orchestrator.storage.files import Documents
from orchestrator.storage.page_sessions import PageSessions
from orchestrator.storage.requests import Requests
from orchestrator.storage.runs import Runs
from tests.support.postgres import postgres_server

CONFIG = """
models: {calculator: {provider: calculator}}
memory: {path: memory.db}
gateway: {database: gateway.db}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orchestrator.yaml").write_text(CONFIG)
    return load_config(tmp_path / "orchestrator.yaml")


def filled(where: str) -> str:
    database = open_database(where)
    accounts = Accounts(database)
    for made in (AuditLog, Comparisons, PageSessions, Requests, Runs):  # what a gateway makes when it starts
        made(database)
    org = accounts.add_org("acme", AccountLimits(usd=5.0))
    key, _ = accounts.add_key(NewKey(org=org.id, name="app"))
    Documents(database).add_file(org.id, key.id, "file-1", "a.txt", "batch", bytes(range(256)) * 4)
    database.close()
    return str(key.id)


def test_what_is_backed_up_comes_back(config: Config, tmp_path: Path) -> None:
    key = filled("gateway.db")
    with Memory("memory.db") as memory:
        memory.remember("The shop opens at nine.", scope="shop")
    manifest = back_up(config, tmp_path / "saved")
    assert {part["name"] for part in manifest["parts"]} == {"gateway", "memory", "configuration"}
    for name in ("gateway.db", "memory.db"):
        for path in tmp_path.glob(f"{name}*"):
            path.unlink()
    told = restore(config, tmp_path / "saved")
    assert any(line.startswith("configuration: ") and line.endswith("is the same") for line in told)
    accounts = Accounts(open_database("gateway.db"))
    assert [each.id for each in list(accounts.keys())] == [key]
    with Memory("memory.db") as memory:
        assert "nine" in memory.recall("When does the shop open?", scope="shop").text


def test_a_backup_is_of_one_moment_while_others_write(config: Config, tmp_path: Path) -> None:
    db = sqlite3.connect("gateway.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE pairs (one INTEGER, other INTEGER)")
    db.close()
    ended = threading.Event()

    def write() -> None:
        own = sqlite3.connect("gateway.db", isolation_level=None, timeout=30)
        number = 0
        while not ended.is_set():
            own.execute("BEGIN IMMEDIATE")
            own.execute("INSERT INTO pairs VALUES (?, 0)", (number,))
            own.execute("UPDATE pairs SET other = one WHERE one = ?", (number,))
            own.execute("COMMIT")
            number += 1
        own.close()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(5):
            back_up(config, tmp_path / f"saved{number}")
    finally:
        ended.set()
        writing.join()
    counts = []
    for number in range(5):
        copy = sqlite3.connect(tmp_path / f"saved{number}" / "gateway")
        assert copy.execute("SELECT count(*) FROM pairs WHERE one != other").fetchone()[0] == 0
        counts.append(copy.execute("SELECT count(*) FROM pairs").fetchone()[0])
        copy.close()
    assert counts == sorted(counts)


def test_nothing_is_replaced_unasked_and_what_was_there_is_kept(config: Config, tmp_path: Path) -> None:
    filled("gateway.db")
    back_up(config, tmp_path / "saved")
    with pytest.raises(InvalidArgument, match=r"gateway\.db is there already"):
        restore(config, tmp_path / "saved")
    told = restore(config, tmp_path / "saved", replaces=True)
    assert any("before-restore-1" in line for line in told)
    assert (tmp_path / "gateway.db.before-restore-1").exists()


def test_a_damaged_backup_changes_nothing(config: Config, tmp_path: Path) -> None:
    filled("gateway.db")
    back_up(config, tmp_path / "saved")
    saved = tmp_path / "saved" / "gateway"
    saved.write_bytes(saved.read_bytes()[:-100])
    before = (tmp_path / "gateway.db").read_bytes()
    with pytest.raises(InvalidArgument, match="damaged or missing"):
        restore(config, tmp_path / "saved", replaces=True)
    assert (tmp_path / "gateway.db").read_bytes() == before


def test_a_database_that_is_none_leaves_no_half_backup(config: Config, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError, match=r"gateway.db cannot be copied"):
        back_up(config, tmp_path / "saved")
    assert not list(tmp_path.glob("saved*"))


def test_the_commands(config: Config, tmp_path: Path) -> None:
    filled("gateway.db")
    saved = CliRunner().invoke(main, ["backup", "saved", "--json"])
    assert json.loads(saved.stdout)["parts"][0]["name"] == "gateway"
    assert CliRunner().invoke(main, ["backup", "saved"]).exit_code == 2
    (tmp_path / "gateway.db").unlink()
    assert "gateway: gateway.db" in CliRunner().invoke(main, ["restore", "saved"]).stdout
    assert "is no backup" in CliRunner().invoke(main, ["restore", "nothing"]).stderr


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    with postgres_server(tmp_path / "pg") as url:
        yield url


@pytest.mark.integration
def test_postgresql_comes_back_into_an_empty_database(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.chdir(tmp_path)
    urls = []
    with psycopg.connect(postgres, autocommit=True) as db:
        for name in ("before", "after"):
            db.execute(f"CREATE DATABASE {name}")
            urls.append(postgres.replace("/postgres?", f"/{name}?"))

    def configured(url: str) -> Config:
        path = tmp_path / "orchestrator.yaml"
        parts = f"memory: {{path: '{url}'}}\ngateway: {{database: '{url}'}}\nonline: {{path: '{url}'}}\n"
        path.write_text(f"models: {{calculator: {{provider: calculator}}}}\n{parts}")
        return load_config(path)

    before = configured(urls[0])
    key = filled(urls[0])
    with Memory(urls[0]) as memory:
        memory.remember("The shop opens at nine.", scope="shop")
        memory.remember("Ann likes tea.\tAnd\nmilk \\ sugar.", scope="shop")
    back_up(before, tmp_path / "saved")
    assert "password" not in (tmp_path / "saved" / "manifest.json").read_text()
    with pytest.raises(StorageError, match="has rows already"):
        restore(before, tmp_path / "saved", replaces=True)
    after = configured(urls[1])
    restore(after, tmp_path / "saved", replaces=True)
    database = open_database(urls[1])
    assert [each.id for each in list(Accounts(database).keys())] == [key]
    org = Accounts(database).orgs()[0].id
    assert Documents(database).content(org, "file-1") == bytes(range(256)) * 4
    database.close()
    with Memory(urls[1]) as memory:
        assert "nine" in memory.recall("When does the shop open?", scope="shop").text
        memory.remember("A further one.", scope="shop")  # numbers go on behind those that came back
        assert memory.count("shop") == 3


@pytest.mark.integration
def test_files_move_to_postgresql(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.chdir(tmp_path)
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE DATABASE moved")
    url = postgres.replace("/postgres?", "/moved?")

    def configured(memory: str, gateway: str, storage: str) -> Config:
        path = tmp_path / "orchestrator.yaml"
        path.write_text(
            f"models: {{calculator: {{provider: calculator}}}}\nmemory: {{path: '{memory}'}}\n"
            f"gateway: {{database: '{gateway}'}}\nstorage: '{storage}'\n"
        )
        return load_config(path)

    files = configured("memory.db", "gateway.db", "kept.db")
    key = filled("gateway.db")
    database = open_database("kept.db")
    ConversationStore(database)
    database.close()
    with Memory("memory.db") as memory:
        memory.remember("The shop opens at nine.", scope="shop/ann", speaker="Ann")
        memory.limit("shop/ann", max_records=7)
    back_up(files, tmp_path / "saved")
    before = (tmp_path / "saved" / "memory").read_bytes()

    moved = configured(url, url, url)
    told = restore(moved, tmp_path / "saved")
    assert "postgresql://" in (tmp_path / "orchestrator.yaml").read_text()  # the one that said where to move stays
    assert any("now on PostgreSQL" in line for line in told)
    assert (tmp_path / "saved" / "memory").read_bytes() == before
    database = open_database(url)
    kept = Accounts(database).keys()
    assert [each.id for each in kept] == [key]
    assert Documents(database).content(Accounts(database).orgs()[0].id, "file-1") == bytes(range(256)) * 4
    database.close()
    with Memory(url) as memory:
        found = memory.recall("When does the shop open?", scope="shop/ann").items[0].record
        assert (found.text, found.speaker, found.citation) == ("The shop opens at nine.", "Ann", "m:1")
        assert memory.limits("shop/ann").max_records == 7
    with pytest.raises(StorageError, match="has rows already"):
        restore(moved, tmp_path / "saved", replaces=True)
    back_up(moved, tmp_path / "again")
    with pytest.raises(InvalidArgument, match="only from SQLite to PostgreSQL"):
        restore(files, tmp_path / "again", replaces=True)
