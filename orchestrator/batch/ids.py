"""Which ids were seen: on disk, so that a file of a billion rows needs no memory.

An id is known by 16 bytes of its hash, in a table that is made anew for each run and deleted at its end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from orchestrator.errors import StorageError

MANY = 500
Seen = Literal["new", "done", "changed", "repeated"]
_DONE, _SEEN = 0, 1


class IdIndex:
    """Ids of rows that are done, and of those that came by in this run.

    Its methods raise `StorageError` where the disk is full or gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            self._make(path)

    def _make(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE ids (digest BLOB PRIMARY KEY, state INTEGER NOT NULL, content TEXT) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def add_done(self, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
        """These (id, hash of the row) are done already. Yields the ids of those that were added before."""
        for some in _in_parts(rows):
            known = self._known([id_ for id_, _ in some])
            yield from (id_ for id_, _ in some if _digest(id_) in known)
            self._put((_digest(id_), _DONE, content) for id_, content in some if _digest(id_) not in known)

    def see(self, rows: Sequence[tuple[str, str]]) -> list[Seen]:
        """What is known of each (id, hash of the row), in order; each counts as seen from now on."""
        known = self._known([id_ for id_, _ in rows])
        found: list[Seen] = []
        changed: dict[bytes, tuple[int, str]] = {}
        for id_, content in rows:
            digest = _digest(id_)
            state = changed.get(digest, known.get(digest))
            if state is None:
                found.append("new")
            elif state[0] != _DONE:
                found.append("repeated")
            else:
                found.append("done" if state[1] in ("", content) else "changed")
            changed[digest] = (_SEEN, content)
        self._put((digest, *state) for digest, state in changed.items())
        return found

    def close(self) -> None:
        """Deletes it."""
        self._db.close()
        self._path.unlink(missing_ok=True)

    def _put(self, rows: Iterable[tuple[bytes, int, str]]) -> None:
        with self._told():
            self._db.executemany("INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", rows)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            told = f"{self._path.parent} cannot hold the index of the rows: {error}"
            raise StorageError(told, remedy="Make room there, then run the same command again") from error

    def _known(self, ids: Sequence[str]) -> dict[bytes, tuple[int, str]]:
        found: dict[bytes, tuple[int, str]] = {}
        for start in range(0, len(ids), MANY):
            some = ids[start : start + MANY]
            sql = f"SELECT digest, state, content FROM ids WHERE digest IN ({', '.join('?' * len(some))})"
            with self._told():
                rows = self._db.execute(sql, [_digest(id_) for id_ in some]).fetchall()
            found |= {digest: (state, content) for digest, state, content in rows}
        return found


def _digest(id_: str) -> bytes:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _in_parts(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    for row in rows:
        part.append(row)
        if len(part) == MANY:
            yield part
            part = []
    if part:
        yield part
