"""Backups that somebody else made or damaged, and files with odd names: nothing is lost or replaced by them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.models import Config, load_config
from orchestrator.errors import InvalidArgument, OrchestratorError, StorageError
from orchestrator.offline.backup import back_up, restore
from orchestrator.storage.database import SqliteDatabase


def made(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE numbers (n INTEGER)")
        db.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(rows)])


def rows_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM numbers").fetchone()[0])


def configured(folder: Path, database: str) -> Config:
    (folder / "orchestrator.yaml").write_text(
        f"models: {{calculator: {{provider: calculator}}}}\nmemory: null\ngateway: {{database: '{database}'}}\n"
    )
    return load_config(folder / "orchestrator.yaml")


@pytest.mark.parametrize("name", ["data#1.db", "a?b.db", "data%41.db", "ü ö.db"])
def test_odd_names_of_databases_are_those_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / name, 3)
    made(tmp_path / "dataA.db", 9)
    back_up(configured(tmp_path, name), tmp_path / "saved")
    assert rows_of(tmp_path / "saved" / "gateway") == 3
    assert not (tmp_path / "data").exists()


def test_a_log_that_was_left_is_not_read_into_what_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    back_up(config, tmp_path / "saved")
    (tmp_path / "x.db").unlink()
    (tmp_path / "x.db-wal").write_bytes(b"left over")
    restore(config, tmp_path / "saved")
    assert rows_of(tmp_path / "x.db") == 5
    assert (tmp_path / "x.db.before-restore-1-wal").read_bytes() == b"left over"


def test_the_configuration_comes_back_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    back_up(config, tmp_path / "saved")
    text = (tmp_path / "orchestrator.yaml").read_text()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(tmp_path / "saved", elsewhere / "saved")
    monkeypatch.chdir(elsewhere)
    restore(load_config(elsewhere / "saved" / "configuration"), elsewhere / "saved")
    assert (elsewhere / "orchestrator.yaml").read_text() == text
    assert rows_of(elsewhere / "x.db") == 5


@pytest.mark.parametrize("place", ["{tmp}/outside.db", "../../outside.db"])
def test_a_backup_does_not_choose_where_it_is_restored_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    back_up(configured(tmp_path, "x.db"), tmp_path / "saved")
    elsewhere = tmp_path / "deep" / "elsewhere"
    elsewhere.mkdir(parents=True)
    shutil.copytree(tmp_path / "saved", elsewhere / "saved")
    monkeypatch.chdir(elsewhere)
    inside = elsewhere / "saved" / "configuration"
    inside.write_text(inside.read_text().replace("x.db", place.format(tmp=tmp_path)))
    digest = hashlib.sha256(inside.read_bytes()).hexdigest()
    _part(elsewhere / "saved", lambda m: m["parts"][-1]["sha256"].update({"": digest}))
    with pytest.raises(InvalidArgument, match="which is not in this folder"):
        restore(load_config(inside), elsewhere / "saved")
    assert [each.name for each in elsewhere.iterdir()] == ["saved"]
    assert not (tmp_path / "outside.db").exists()
    shutil.copy(inside, elsewhere / "orchestrator.yaml")  # who looked at it may say so
    restore(load_config(elsewhere / "orchestrator.yaml"), elsewhere / "saved")
    assert rows_of(tmp_path / "outside.db") == 5


def test_what_lies_in_a_backup_is_not_taken_for_what_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "router.json").write_text("{}")
    stated = tmp_path / "orchestrator.yaml"
    configured(tmp_path, "x.db")
    stated.write_text(stated.read_text() + "router: router\n")  # as the part of the backup is called, too
    back_up(load_config(stated), tmp_path / "saved")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(tmp_path / "saved", elsewhere / "saved")
    monkeypatch.chdir(elsewhere)
    restore(load_config(elsewhere / "saved" / "configuration"), elsewhere / "saved")
    assert (elsewhere / "router" / "router.json").read_text() == "{}"


def test_a_restored_configuration_that_runs_programs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    stated = tmp_path / "orchestrator.yaml"
    stated.write_text(stated.read_text() + "embeddings: {}  # key: command:vault read key\n")
    back_up(config, tmp_path / "saved")
    stated.unlink()
    told = restore(load_config(tmp_path / "saved" / "configuration"), tmp_path / "saved", replaces=True)
    assert any("it runs programs" in line for line in told)


def test_a_database_that_a_process_has_open_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured(tmp_path, "x.db")
    with closing(SqliteDatabase("x.db")) as serving:
        with serving.writing() as do:
            do("CREATE TABLE numbers (n INTEGER)")
        back_up(config, tmp_path / "saved")
        with pytest.raises(StorageError, match="is open in another process"):
            restore(config, tmp_path / "saved", replaces=True)
        with serving.writing() as do:
            do("INSERT INTO numbers VALUES (1)")
    assert rows_of(tmp_path / "x.db") == 1
    restore(config, tmp_path / "saved", replaces=True)
    assert rows_of(tmp_path / "x.db") == 0


def _part(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _gateway(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(part for part in manifest["parts"] if part["name"] == "gateway")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: _gateway(manifest).update(sha256={}),
        lambda manifest: _gateway(manifest).update(kind="folder"),
        lambda manifest: _gateway(manifest).update(kind="file"),
        lambda manifest: _gateway(manifest).update(kind="postgres", sha256={}),
        lambda manifest: _gateway(manifest).update(name="../../etc/passwd"),
        lambda manifest: _gateway(manifest).update(sha256={"../../orchestrator.yaml": "0"}),
        lambda manifest: manifest.update(parts=None),
        lambda manifest: manifest.update(parts="abc"),
        lambda manifest: manifest.update(format=99),
        lambda manifest: _gateway(manifest).pop("name"),
    ],
)
def test_a_manifest_that_was_changed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    back_up(config, tmp_path / "saved")
    _part(tmp_path / "saved", change)
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(OrchestratorError):
        restore(config, tmp_path / "saved", replaces=True)
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_link_in_a_backup_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    back_up(config, tmp_path / "saved")
    shutil.move(tmp_path / "saved" / "gateway", tmp_path / "secret")
    (tmp_path / "saved" / "gateway").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidArgument, match="damaged or missing"):
        restore(config, tmp_path / "saved", replaces=True)


def test_a_database_that_is_being_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "x.db", 5)
    config = configured(tmp_path, "x.db")
    back_up(config, tmp_path / "saved")
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="is open in another process"):
            restore(config, tmp_path / "saved", replaces=True)


def test_folders_beside_a_backup_are_left_alone_and_it_is_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.partial").mkdir()
    (tmp_path / "night.partial" / "precious").write_text("mine")
    made(tmp_path / "x.db", 5)
    back_up(configured(tmp_path, "x.db"), tmp_path / "night")
    assert (tmp_path / "night.partial" / "precious").read_text() == "mine"
    assert (tmp_path / "night").stat().st_mode & 0o077 == 0
    assert (tmp_path / "night" / "manifest.json").stat().st_mode & 0o077 == 0


def test_nothing_to_back_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.cli.options import kept_config

    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match="nothing to back up"):
        back_up(kept_config(None), tmp_path / "saved")
    assert not list(tmp_path.iterdir())
