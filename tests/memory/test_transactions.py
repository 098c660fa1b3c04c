"""One file, opened and written by many at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.memory import Memory
from orchestrator.memory.storage.transactions import log_ahead
from orchestrator.storage.decision_log import DecisionLog


@pytest.mark.parametrize("opened", [DecisionLog, Memory])
def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path, opened: Callable[[Path], DecisionLog | Memory]) -> None:
    """SQLite lets one connection turn write-ahead logging on and refuses the others at once, whatever their timeout."""
    together = threading.Barrier(8)

    def open_and_close(path: Path) -> None:
        together.wait()
        opened(path).close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            list(pool.map(open_and_close, [tmp_path / f"{number}.db"] * 8))


def test_an_error_that_does_not_pass_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        log_ahead(sqlite3.connect(tmp_path / "text"))
