"""A file that several connections of one process, and other processes, use at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.memory import Memory
from orchestrator.storage.database import SqliteDatabase

ELSEWHERE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute(sys.argv[2]).fetchone()[0])
db.close()
"""


def seen_elsewhere(path: Path, sql: str) -> str:
    """What another process reads, which opens the file and closes it again."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(path), sql], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_second_connection_does_not_cost_the_first_its_log(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    count = "SELECT count(*) FROM t"
    first = SqliteDatabase(path)
    with first.writing() as do:
        do("CREATE TABLE t (a)")
        do("INSERT INTO t VALUES (1)")
    second = SqliteDatabase(path)  # as the dashboard makes one
    log = os.stat(f"{path}-wal").st_ino
    assert seen_elsewhere(path, count) == "1"  # it must not take itself for the last one, and delete the log
    assert os.stat(f"{path}-wal").st_ino == log
    second.close()
    assert seen_elsewhere(path, count) == "1"
    assert os.stat(f"{path}-wal").st_ino == log
    with first.writing() as do:
        do("INSERT INTO t VALUES (2)")
    assert seen_elsewhere(path, count) == "2"
    first.close()


def test_a_second_memory_does_not_cost_the_first_its_log(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory(path) as first:
        first.remember("The shop opens at nine.")
        with Memory(path) as second:
            assert second.count("default") == 1
        log = os.stat(f"{path}-wal").st_ino
        seen_elsewhere(path, "SELECT count(*) FROM sqlite_master")
        assert os.stat(f"{path}-wal").st_ino == log
        first.remember("It closes at six.")
        with Memory(path) as third:
            assert third.count("default") == 2


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("is_link", [False, True])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, is_link: bool) -> None:
    path = target = tmp_path / "new.db"
    if is_link:
        path.symlink_to(target := tmp_path / "elsewhere.db")
    SqliteDatabase(path).close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
