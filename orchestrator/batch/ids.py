"""Which ids were seen: on disk, so that a file of a billion rows needs no memory.

An id is known by 16 bytes of its hash, in a table that is made anew for each run and deleted at its end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

MANY = 500
Seen = Literal["new", "done", "repeated"]
_DONE, _SEEN = 0, 1


class IdIndex:
    """Ids of rows that are done, and of those that came by in this run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE ids (digest BLOB PRIMARY KEY, state INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add_done(self, ids: Iterable[str]) -> Iterator[str]:
        """These are done already. Yields those that were added before."""
        for some in _in_parts(ids):
            known = self._states(some)
            yield from (id_ for id_ in some if _digest(id_) in known)
            self._insert((_digest(id_), _DONE) for id_ in some if _digest(id_) not in known)

    def see(self, ids: Sequence[str]) -> list[Seen]:
        """What is known of each, in order; each counts as seen from now on."""
        known = self._states(ids)
        found: list[Seen] = []
        changed: dict[bytes, int] = {}
        for id_ in ids:
            digest = _digest(id_)
            state = changed.get(digest, known.get(digest))
            found.append("new" if state is None else "done" if state == _DONE else "repeated")
            changed[digest] = _SEEN
        self._db.executemany("INSERT OR REPLACE INTO ids VALUES (?, ?)", changed.items())
        return found

    def close(self) -> None:
        """Deletes it."""
        self._db.close()
        self._path.unlink(missing_ok=True)

    def _insert(self, rows: Iterable[tuple[bytes, int]]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", rows)

    def _states(self, ids: Sequence[str]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for some in _in_parts(ids):
            marks = ", ".join("?" * len(some))
            sql = f"SELECT digest, state FROM ids WHERE digest IN ({marks})"
            found |= dict(self._db.execute(sql, [_digest(id_) for id_ in some]).fetchall())
        return found


def _digest(id_: str) -> bytes:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _in_parts(ids: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for id_ in ids:
        part.append(id_)
        if len(part) == MANY:
            yield part
            part = []
    if part:
        yield part
