"""What the two stores have in common.

The SQL of records, repeats, facts, summaries and limits, written once for SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.errors import EncoderMismatch, QuotaExceeded, StoreError
from orchestrator.memory.record import (
    ExportedRecord,
    Limits,
    Mention,
    NewRecord,
    Record,
    Scope,
    Summary,
    from_timestamp,
    key_of,
    to_timestamp,
)
from orchestrator.memory.storage.encryption import Cipher, digest_of
from orchestrator.memory.storage.store import Added, IndexedRow, Prepared, ScopeState, prepared, repeats

COLUMNS = (
    "scope_id, text, speaker, time, session, source, heading, stored_at, chars, digest, asks, names, numbers, "
    "personal, words, counts"
)
VECTOR_COLUMNS = ("vector", "vector_b")  # one of them is in use, the other is filled while re-encoding
_RECORD = "records.id, text, speaker, time, session, source, said, last_said, valid_until, superseded_by, heading"
_SCOPED = "records JOIN scopes ON scopes.id = records.scope_id"
PAGE = 500


class LockedScope(NamedTuple):
    """A scope that is locked until the transaction ends."""

    id: int
    max_records: int | None
    encoder: str


class _StoredFact(NamedTuple):
    """A fact of a record that was just stored. `is_all`: the record says little else."""

    record_id: int
    is_all: bool
    fact: int
    value: int
    begins: float
    ends: bool


class SqlStore(ABC):
    """`orchestrator.memory.storage.store.RecordStore` over an SQL database.

    Statements are written with `?`; `_do` runs one and returns its rows.

    It has more methods than other classes: the operations of `RecordStore`, and their SQL, which two databases share.
    """

    path: str
    _is_erasing: bool = False
    _bound_after: int = 0
    _vector_column: str = VECTOR_COLUMNS[0]

    def __init__(
        self, *, dimensions: int, clock: Callable[[], float] = time.time, cipher: Cipher | None = None
    ) -> None:
        self._dimensions, self._clock, self._cipher = dimensions, clock, cipher

    @abstractmethod
    def _do(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """All or nothing; who writes to a scope first takes `_locked_scope`."""

    @abstractmethod
    def _locked_scope(self, scope: Scope, *, create: bool) -> LockedScope | None:
        """A scope in a transaction in which nobody else writes to it.

        `None` if it is not there and not to be created.
        """

    @abstractmethod
    def _among(self, column: str) -> str:
        """SQL that asks whether a column is in a list, given as one value made by `_list`."""

    @abstractmethod
    def _list(self, ids: Iterable[int]) -> Any: ...

    @abstractmethod
    def _insert_rows(self, sql: str, rows: list[tuple[Any, ...]]) -> list[int]: ...

    @abstractmethod
    def _vector_in(self, vector: Vectors, scope: Scope) -> Any: ...

    @abstractmethod
    def _vectors_out(self, column: Sequence[Any], scope: Scope) -> Vectors: ...

    @abstractmethod
    def _deleted(self) -> None:
        """After a deletion was committed: what it takes that nothing is left of it."""

    @abstractmethod
    def compact(self) -> None:
        """Gives back the room of what was deleted."""

    def _add(
        self, scope: Scope, records: Sequence[NewRecord], vectors: Sequence[Vectors], encoder: str
    ) -> Callable[[], Added]:
        """What to do in a transaction; the work that needs none is done."""
        made = {record: prepared(record, scope, self._cipher) for record in dict.fromkeys(records)}
        rows = [made[record] for record in records]
        return lambda: self._insert(scope, rows, vectors, encoder)

    def _insert(self, scope: Scope, rows: Sequence[Prepared], vectors: Sequence[Vectors], encoder: str) -> Added:
        locked, now = self._locked_scope(scope, create=True), self._clock()
        assert locked is not None
        if locked.encoder != encoder:
            raise self._mismatch(locked.encoder, encoder)
        stands_for, held = repeats(rows, self._held(locked.id, rows))
        fresh = [index for index, first in enumerate(stands_for) if first == index and index not in held]
        self._check_room(scope, locked, len(fresh))
        sql = f"INSERT INTO records ({COLUMNS}, {self._vector_column}) VALUES ({', '.join('?' * 17)}) RETURNING id"
        new = self._insert_rows(sql, [self._row(scope, locked.id, rows[i], now, vectors[i]) for i in fresh])
        id_of = held | dict(zip(fresh, new, strict=True))
        self._seal_rows(scope, [(id_of[i], rows[i]) for i in fresh])
        self._end_facts(locked.id, [(id_of[i], rows[i]) for i in fresh if rows[i].facts], now)
        ids = [id_of[first] for first in stands_for]
        is_repeat = [first != i or i in held for i, first in enumerate(stands_for)]
        self._mention_again(scope, [(ids[i], rows[i]) for i, repeats_it in enumerate(is_repeat) if repeats_it], now)
        return Added(ids, is_repeat)

    def restore(
        self, scope: Scope, records: Sequence[ExportedRecord], vectors: Sequence[Vectors], encoder: str
    ) -> list[int]:
        """Stores exported records as they were, in one transaction."""
        rows = [prepared(_new_of(each.record), scope, self._cipher) for each in records]
        with self._transaction():
            locked, now = self._locked_scope(scope, create=True), self._clock()
            assert locked is not None
            if locked.encoder != encoder:
                raise self._mismatch(locked.encoder, encoder)
            self._check_room(scope, locked, len(rows))
            ids = self._restored_ids([each.record.id for each in records])
            columns = f"id, {COLUMNS}, {self._vector_column}"
            sql = f"INSERT INTO records ({columns}) VALUES ({', '.join('?' * 18)}) RETURNING id"
            values = [self._row(scope, locked.id, row, now, vectors[i]) for i, row in enumerate(rows)]
            self._insert_rows(sql, [(ids[i], *row) for i, row in enumerate(values)])
            self._seal_rows(scope, [(ids[i], row) for i, row in enumerate(rows)])
            self._end_facts(locked.id, [(ids[i], row) for i, row in enumerate(rows) if row.facts], now)
            new_id = {each.record.id: ids[i] for i, each in enumerate(records)}
            restored = frozenset(ids)
            for each in records:
                self._restore_state(scope, each, new_id, restored)
            self._do("UPDATE scopes SET revisions = revisions + 1 WHERE id = ?", locked.id)
        return ids

    def _restored_ids(self, old: Sequence[int]) -> list[int]:
        last = self._last_id()
        is_free = min(old) > last and all(one < other for one, other in pairwise(old))
        ids = list(old) if is_free else list(range(last + 1, last + 1 + len(old)))
        self._use_ids(ids[-1])
        return ids

    @abstractmethod
    def _last_id(self) -> int:
        """The highest id that a record ever had."""

    @abstractmethod
    def _use_ids(self, last: int) -> None:
        """Records that come later get ids above `last`."""

    def _restore_state(
        self, scope: Scope, each: ExportedRecord, new_id: Mapping[int, int], restored: frozenset[int]
    ) -> None:
        """What is known of a record beside its text. It ends as the export says, or by something held already."""
        record = each.record
        own = new_id[record.id]
        self._do(
            "UPDATE records SET said = ?, last_said = ? WHERE id = ?", record.said, to_timestamp(record.last_said), own
        )
        if record.valid_until is not None:
            by = new_id.get(record.superseded_by) if record.superseded_by is not None else None
            self._mark_over(own, to_timestamp(record.valid_until) or 0.0, by)
        elif self._do("SELECT superseded_by FROM records WHERE id = ?", own)[0][0] in restored:
            self._do("UPDATE records SET valid_until = NULL, superseded_by = NULL WHERE id = ?", own)
        for said in each.mentions:
            self._mention(scope, own, to_timestamp(said.time), said.session, said.source, said.times)

    def _check_room(self, scope: Scope, locked: LockedScope, more: int) -> None:
        if locked.max_records is not None and (count := self.count(scope)) + more > locked.max_records:
            raise QuotaExceeded(
                f"scope {scope.path} holds {count} of at most {locked.max_records} records; forget some, or raise its "
                "limit"
            )

    def _seal_rows(self, scope: Scope, stored: Iterable[tuple[int, Prepared]]) -> None:
        """Seals each text for its own row: it cannot be read in another's place."""
        if self._cipher is not None:
            for record_id, row in stored:
                sealed = self._sealed_text(row.record.text, _row_of(scope, record_id))
                self._do("UPDATE records SET text = ? WHERE id = ?", sealed, record_id)

    def _held(self, scope_id: int, rows: Sequence[Prepared]) -> dict[int, int]:
        """Digest and id of the records of the scope that say the same as one of `rows`, and still hold."""
        digests = [row.digest for row in rows if row.digest is not None]
        if not digests:
            return {}
        if len(digests) == 1:
            return dict(
                self._do(
                    "SELECT digest, id FROM records WHERE scope_id = ? AND valid_until IS NULL AND digest = ?",
                    scope_id,
                    digests[0],
                )
            )
        sql = f"SELECT digest, id FROM records WHERE scope_id = ? AND valid_until IS NULL AND {self._among('digest')}"
        return dict(self._do(sql, scope_id, self._list(digests)))

    def _row(self, scope: Scope, scope_id: int, row: Prepared, now: float, vector: Vectors) -> tuple[Any, ...]:
        r, text = row.record, self._sealed_text
        said = (
            text(r.text if self._cipher is None else "", scope),
            text(r.speaker, scope),
            row.when,
            text(r.session, scope),
            text(r.source, scope),
            text(r.heading, scope),
        )
        signs = (row.asks, row.names, row.numbers, row.personal, self._sealed(row.words, scope), row.counts)
        return (scope_id, *said, now, len(r.text), row.digest, *signs, self._vector_in(vector, scope))

    def _end_facts(self, scope_id: int, stored: Sequence[tuple[int, Prepared]], now: float) -> None:
        """Each new value of a fact ends the values it had before, and is ended by one that was said of a later time."""
        ended = False
        for record_id, row in stored:
            for fact, value, since, ends in row.facts:
                begins = since if since is not None else row.when if row.when is not None else now
                one = _StoredFact(record_id, row.is_over_with_them, fact, value, begins, ends)
                ended = self._end_fact(scope_id, one) or ended
        if ended:
            self._do("UPDATE scopes SET revisions = revisions + 1 WHERE id = ?", scope_id)

    def _end_fact(self, scope_id: int, new: _StoredFact) -> bool:
        """Whether anything has ended."""
        of_fact = "FROM facts WHERE scope_id = ? AND fact = ?"
        of_other = f"{of_fact} AND value <> ?"
        old: list[tuple[Any, ...]] = []
        if new.ends:
            sql = f"SELECT id, record_id, is_all {of_other} AND ended_by = 0 AND since <= ? AND record_id <> ?"
            old = self._do(sql, scope_id, new.fact, new.value, new.begins, new.record_id)
        if old:
            self._do(
                f"UPDATE facts SET ended_by = ? WHERE {self._among('id')}",
                new.record_id,
                self._list(row[0] for row in old),
            )
        for _, old_id, was_all in old:
            if was_all:
                self._mark_over(old_id, new.begins, new.record_id)
        sql = f"SELECT record_id, since {of_other} AND since > ? AND ends = 1 ORDER BY since, record_id LIMIT 1"
        later = self._do(sql, scope_id, new.fact, new.value, new.begins)
        if later and new.is_all:
            self._mark_over(new.record_id, later[0][1], later[0][0])
        columns = "record_id, scope_id, fact, value, since, is_all, ended_by, ends"
        self._do(
            f"INSERT INTO facts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(new.record_id, scope_id, new.fact, new.value, new.begins, int(new.is_all)),
            *(later[0][0] if later else 0, int(new.ends)),
        )
        return bool(old or later)

    def _mark_over(self, record_id: int, until: float, by: int | None) -> None:
        self._do("UPDATE records SET valid_until = ?, superseded_by = ? WHERE id = ?", until, by, record_id)

    def _mention_again(self, scope: Scope, again: Iterable[tuple[int, Prepared]], now: float) -> None:
        """Adds to each record when and where it was said again; often at the same place is one row."""
        times = Counter((record_id, row.when, row.record.session, row.record.source) for record_id, row in again)
        for (record_id, when, session, source), n in times.items():
            said = when if when is not None else now
            self._do(
                "UPDATE records SET said = said + ?, last_said = CASE WHEN last_said IS NULL OR last_said < ? THEN ? "
                "ELSE last_said END WHERE id = ?",
                n, said, said, record_id,
            )  # fmt: skip
            self._mention(scope, record_id, when, session, source, n)

    def _mention(self, scope: Scope, record_id: int, when: float | None, session: str, source: str, n: int) -> None:
        place = digest_of(f"{when}\n{session}\n{source}", scope.path, self._cipher)
        self._do(
            "INSERT INTO mentions (record_id, place, time, session, source, said) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (record_id, place) DO UPDATE SET said = mentions.said + excluded.said",
            *(record_id, place, when, self._sealed_text(session, scope), self._sealed_text(source, scope), n),
        )

    def derive_again(self) -> None:
        """Works out anew what is stored of the texts of all records, in the transaction that changes the schema."""
        columns = "digest = ?, asks = ?, names = ?, numbers = ?, personal = ?, words = ?, counts = ?"
        last = 0
        while rows := self._do(
            f"SELECT {_RECORD}, path FROM {_SCOPED} WHERE records.id > ? ORDER BY records.id LIMIT {PAGE}", last
        ):
            for row in rows:
                scope = Scope(row[-1])
                record = self._record(scope, row[:-1])
                made = prepared(_new_of(record), scope, self._cipher)
                signs = (made.asks, made.names, made.numbers, made.personal)
                values = (made.digest, *signs, self._sealed(made.words, scope), made.counts)
                self._do(f"UPDATE records SET {columns} WHERE id = ?", *values, record.id)
            last = rows[-1][0]
        self._do("UPDATE scopes SET deletions = deletions + 1")  # indexes and snapshots hold what was there before

    def delete(self, scope: Scope, ids: Sequence[int] | None) -> list[int]:
        """Deletes records (all when `ids` is `None`); returns the ids of those that were there."""
        if ids is None:
            return self._delete(scope, "1 = 1", ())
        return self._delete(scope, self._among("id"), (self._list(ids),))

    def expire(self, scope: Scope) -> list[int]:
        """Deletes records that are older than the scope keeps them; returns their ids."""
        ttl_s = self.limits(scope).ttl_s
        if ttl_s is None:
            return []
        before = self._clock() - ttl_s
        oldest = self._do(f"SELECT stored_at FROM {_SCOPED} WHERE path = ? ORDER BY records.id LIMIT 1", scope.path)
        return self._delete(scope, "stored_at < ?", (before,)) if oldest and oldest[0][0] < before else []

    def _delete(self, scope: Scope, where: str, values: tuple[Any, ...]) -> list[int]:
        gone = self._delete_rows(scope, where, values)
        if gone or self._is_erasing:
            self._deleted()
        return gone

    def _delete_rows(self, scope: Scope, where: str, values: tuple[Any, ...]) -> list[int]:
        with self._transaction():
            locked = self._locked_scope(scope, create=False)
            if locked is None:
                return []
            gone = [
                row[0]
                for row in self._do(
                    f"SELECT id FROM records WHERE scope_id = ? AND {where} ORDER BY id", locked.id, *values
                )
            ]
            if not gone:
                return []
            listed = self._list(gone)
            self._bring_back(gone, listed)
            from_these = f"SELECT summary_id FROM summary_sources WHERE {self._among('record_id')}"
            self._do(f"DELETE FROM summaries WHERE id IN ({from_these})", listed)
            self._do(f"DELETE FROM records WHERE {self._among('id')}", listed)
            self._do("UPDATE scopes SET deletions = deletions + 1 WHERE id = ?", locked.id)
        return gone

    def _bring_back(self, gone: Sequence[int], listed: Any) -> None:
        """What a forgotten record had superseded is superseded by its own successor, or holds again."""
        after = dict(self._do(f"SELECT id, superseded_by FROM records WHERE {self._among('id')}", listed))
        for old, by in self._do(f"SELECT id, superseded_by FROM records WHERE {self._among('superseded_by')}", listed):
            if old in after:
                continue
            while by in after:
                by = after[by]
            if by is None:
                self._do("UPDATE records SET valid_until = NULL, superseded_by = NULL WHERE id = ?", old)
            else:
                self._do("UPDATE records SET superseded_by = ? WHERE id = ?", by, old)
        self._do(
            "UPDATE facts SET ended_by = coalesce((SELECT superseded_by FROM records WHERE records.id = "
            "facts.record_id), 0) "
            f"WHERE {self._among('ended_by')}",
            listed,
        )

    def limits(self, scope: Scope) -> Limits:
        """The limits of a scope."""
        rows = self._do("SELECT max_records, ttl_s FROM scopes WHERE path = ?", scope.path)
        return Limits(*rows[0]) if rows else Limits()

    def set_limits(self, scope: Scope, limits: Limits) -> None:
        """Sets the limits of a scope."""
        with self._transaction():
            self._locked_scope(scope, create=True)
            self._do(
                "UPDATE scopes SET max_records = ?, ttl_s = ? WHERE path = ?",
                limits.max_records,
                limits.ttl_s,
                scope.path,
            )

    def get(self, scope: Scope, ids: Iterable[int]) -> dict[int, Record]:
        """Records by their ids; those that are not there are left out."""
        sql = f"SELECT {_RECORD} FROM {_SCOPED} WHERE path = ? AND {self._among('records.id')}"
        return {row[0]: self._record(scope, row) for row in self._do(sql, scope.path, self._list(ids))}

    def all(self, scope: Scope) -> Iterator[Record]:
        """Read in pages: a writer need not wait for a slow reader."""
        before, last, given = self.state(scope).deletions, 0, 0
        while rows := self._do(
            f"SELECT {_RECORD} FROM {_SCOPED} WHERE path = ? AND records.id > ? ORDER BY records.id LIMIT {PAGE}",
            scope.path,
            last,
        ):
            yield from (self._record(scope, row) for row in rows)
            last, given = rows[-1][0], given + len(rows)
        sql = f"SELECT count(*) FROM {_SCOPED} WHERE path = ? AND records.id <= ?"
        is_short = int(self._do(sql, scope.path, last)[0][0]) != given and self.state(scope).deletions == before
        self._check_whole(is_short)

    def _check_whole(self, is_short: bool) -> None:
        """Raises `StoreError` where a file is damaged without reading it telling so; `is_short`.

        An index knows of more rows than were read.
        """
        if is_short:
            raise StoreError(f"the memory {self.path} is damaged: records that it counts cannot be read")

    def count(self, scope: Scope) -> int:
        """How many records a scope holds."""
        return int(self._do(f"SELECT count(*) FROM {_SCOPED} WHERE path = ?", scope.path)[0][0])

    def scopes(self) -> list[str]:
        """The paths of all scopes that were ever used."""
        return [row[0] for row in self._do("SELECT path FROM scopes ORDER BY path")]

    def state(self, scope: Scope) -> ScopeState:
        """What an index of the scope is held against."""
        sql = "SELECT deletions, revisions, value FROM settings LEFT JOIN scopes ON path = ? WHERE name = 'encoder'"
        deletions, revisions, encoder = self._do(sql, scope.path)[0]
        return ScopeState(deletions or 0, revisions or 0, encoder)

    def rows_after(self, scope: Scope, last_id: int) -> tuple[list[IndexedRow], Vectors]:
        """The rows and vectors of records with ids above `last_id`, as an index needs them."""
        rows = self._do(
            "SELECT records.id, session, speaker, coalesce(time, stored_at), chars, asks, names, numbers, personal, "
            "words, counts, "
            f"{self._vector_column} FROM {_SCOPED} WHERE path = ? AND records.id > ? ORDER BY records.id",
            scope.path,
            last_id,
        )
        if any(
            row[-1] is None for row in rows
        ):  # somebody has switched to other vectors since the scope's state was read
            raise self._mismatch(self.state(scope).encoder, "another")
        vectors = self._vectors_out([row[-1] for row in rows], scope)
        if self._cipher is None:
            return [IndexedRow(*row[:-1]) for row in rows], vectors
        text = self._text
        return [
            IndexedRow(
                *(row[0], text(row[1], scope), text(row[2], scope), *row[3:9], self._unsealed(row[9], scope), row[10])
            )
            for row in rows
        ], vectors

    def over(self, scope: Scope) -> list[tuple[int, float]]:
        """Records that are over, and since when."""
        sql = (
            "SELECT records.id, records.valid_until, coalesce(later.time, later.stored_at) FROM scopes JOIN records ON "
            "scopes.id = records.scope_id "
            "LEFT JOIN records later ON later.id = records.superseded_by WHERE path = ? AND records.valid_until IS NOT "
            "NULL ORDER BY records.id"
        )
        return [(record_id, max(until, known or until)) for record_id, until, known in self._do(sql, scope.path)]

    def supersede(self, scope: Scope, old: int, by: int | None, at: datetime) -> bool:
        """Marks a record as over, by another one or since a moment. False if one of them is not there."""
        wanted = [old] if by is None else [old, by]
        with self._transaction():
            locked = self._locked_scope(scope, create=False)
            if locked is None or old == by:
                return False
            found = self._do(
                f"SELECT id FROM records WHERE scope_id = ? AND {self._among('id')}", locked.id, self._list(wanted)
            )
            if len(found) < len(wanted):
                return False
            if by is not None and self._leads_to(by, old):
                return False
            self._mark_over(old, to_timestamp(at) or 0.0, by)
            self._do("UPDATE scopes SET revisions = revisions + 1 WHERE id = ?", locked.id)
        return True

    def _leads_to(self, start: int, goal: int) -> bool:
        """Whether what supersedes a record, and what supersedes that, comes to another."""
        seen: set[int] = set()
        current: int | None = start
        while current is not None and current not in seen:
            if current == goal:
                return True
            seen.add(current)
            found = self._do("SELECT superseded_by FROM records WHERE id = ?", current)
            current = found[0][0] if found else None
        return False

    def mentions(self, scope: Scope, record_id: int) -> list[Mention]:
        """When and where a record was said again."""
        sql = (
            "SELECT mentions.time, mentions.session, mentions.source, mentions.said FROM mentions JOIN records ON "
            "records.id = record_id "
            "JOIN scopes ON scopes.id = records.scope_id WHERE path = ? AND record_id = ? ORDER BY mentions.time"
        )
        text = self._text
        return [
            Mention(from_timestamp(row[0]), text(row[1], scope), text(row[2], scope), row[3])
            for row in self._do(sql, scope.path, record_id)
        ]

    def summaries(self, scope: Scope) -> list[Summary]:
        """The stored summaries of a scope."""
        sql = (
            "SELECT summaries.id, level, session, text, sources, made_by, tokens FROM summaries JOIN scopes ON "
            "scopes.id = scope_id WHERE path = ? "
        )
        text = self._text
        return [
            Summary(row[1], text(row[2], scope), text(row[3], scope), tuple(json.loads(row[4])), row[5], row[6], row[0])
            for row in self._do(sql + "ORDER BY summaries.id", scope.path)
        ]

    def save_summaries(self, scope: Scope, new: Sequence[Summary], replaced: Sequence[int]) -> bool:
        """Stores summaries in place of others. False, with nothing stored, if a record that they rest on is gone."""
        if not new and not replaced:
            return True
        with self._transaction():
            locked = self._locked_scope(scope, create=True)
            assert locked is not None
            sources = {source for one in new for source in one.sources}
            there = f"SELECT count(*) FROM records WHERE scope_id = ? AND {self._among('id')}"
            if self._do(there, locked.id, self._list(sources))[0][0] < len(sources):
                return False
            gone = f"DELETE FROM summaries WHERE scope_id = ? AND {self._among('id')}"
            self._do(gone, locked.id, self._list(replaced))
            columns = "scope_id, level, session, text, sources, made_by, tokens"
            sql = f"INSERT INTO summaries ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id"
            for one in new:
                values = (
                    self._sealed_text(one.session, scope),
                    self._sealed_text(one.text, scope),
                    json.dumps(one.sources),
                    one.made_by,
                    one.tokens,
                )
                summary_id = self._do(sql, locked.id, one.level, *values)[0][0]
                for source in one.sources:
                    self._do("INSERT INTO summary_sources (summary_id, record_id) VALUES (?, ?)", summary_id, source)
        return True

    @property
    def _spare_column(self) -> str:
        return VECTOR_COLUMNS[1 - VECTOR_COLUMNS.index(self._vector_column)]

    def start_reencoding(self, encoder: str) -> None:
        """Begins to give all records vectors of another encoder."""
        with self._transaction():
            begun = self._do("SELECT value FROM settings WHERE name = 'next_encoder'")
            if not begun or begun[0][0] != encoder:  # whatever is left there is another encoder's
                self._do(f"UPDATE records SET {self._spare_column} = NULL WHERE {self._spare_column} IS NOT NULL")
            self._do(
                "INSERT INTO settings VALUES ('next_encoder', ?) ON CONFLICT (name) DO UPDATE SET value = "
                "excluded.value",
                encoder,
            )

    def not_reencoded(self, limit: int) -> list[tuple[int, str]]:
        """Records that have no vector of the next encoder yet."""
        missing = f"{self._spare_column} IS NULL ORDER BY records.id LIMIT {int(limit)}"
        sql = f"SELECT records.id, path, speaker, heading, text FROM {_SCOPED} WHERE {missing}"
        found = [(row[0], Scope(row[1]), row[2:]) for row in self._do(sql)]
        text = self._text
        return [
            (record_id, key_of(text(speaker, scope), text(heading, scope), self._record_text(scope, record_id, said)))
            for record_id, scope, (speaker, heading, said) in found
        ]

    def put_vectors(self, vectors: Mapping[int, Vectors]) -> None:
        """Stores vectors of the next encoder."""
        with self._transaction():
            self._put(vectors)

    def _put(self, vectors: Mapping[int, Vectors]) -> None:
        sql = f"SELECT records.id, path FROM {_SCOPED} WHERE {self._among('records.id')}"
        for record_id, path in self._do(sql, self._list(vectors)):
            value = self._vector_in(vectors[record_id], Scope(path))
            self._do(f"UPDATE records SET {self._spare_column} = ? WHERE id = ?", value, record_id)

    def finish_reencoding(self, encoder: Encoder, most: int) -> bool:
        """Makes the next encoder the current one, unless more than `most` records lack its vectors."""
        with self._transaction():
            missing = self.not_reencoded(most + 1)
            if len(missing) > most:
                return False
            if missing:
                self._put(dict(zip((i for i, _ in missing), encoder.encode([key for _, key in missing]), strict=True)))
            old, new = self._vector_column, self._spare_column
            for name, value in (("encoder", encoder.fingerprint), ("vector_column", new)):
                self._do(
                    "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    name,
                    value,
                )
            self._do("DELETE FROM settings WHERE name = 'next_encoder'")
            self._do("UPDATE scopes SET deletions = deletions + 1")
            self._vector_column, self._dimensions = (
                new,
                encoder.dimensions,
            )  # before the lock is let go: the next writer fills this column
        while self._do(
            f"SELECT 1 FROM records WHERE {old} IS NOT NULL LIMIT 1"
        ):  # in small steps: others write meanwhile
            with self._transaction():
                self._do(
                    f"UPDATE records SET {old} = NULL WHERE id IN (SELECT id FROM records WHERE {old} IS NOT NULL "
                    f"LIMIT {10 * PAGE})"
                )
        return True

    def _mismatch(self, stored: str, at_hand: str) -> EncoderMismatch:
        return EncoderMismatch(
            f"the memory {self._where} was encoded by {stored!r}, the encoder at hand is {at_hand!r}: open it with its "
            "own encoder, or encode it "
            "anew: orchestrator reencode"
        )

    @property
    def _where(self) -> str:
        """The path or address, without user and password."""
        return self.path

    def _record(self, scope: Scope, row: tuple[Any, ...]) -> Record:
        text = self._text
        said = self._record_text(scope, row[0], row[1])
        return Record(
            row[0], scope.path, said, text(row[2], scope), from_timestamp(row[3]), text(row[4], scope),
            text(row[5], scope), row[6],
            from_timestamp(row[7]), from_timestamp(row[8]), row[9], text(row[10], scope),
        )  # fmt: skip

    def _record_text(self, scope: Scope, record_id: int, stored: str | bytes) -> str:
        """The text of a record; that of older versions was sealed for its scope alone."""
        return self._text(stored, _row_of(scope, record_id) if record_id > self._bound_after else scope)

    def _sealed(self, content: bytes, scope: Scope) -> bytes:
        return content if self._cipher is None else self._cipher.seal(content, scope.path)

    def _unsealed(self, content: bytes, scope: Scope) -> bytes:
        return content if self._cipher is None else self._cipher.unseal(content, scope.path)

    def _sealed_text(self, text: str, scope: Scope) -> str | bytes:
        return text if self._cipher is None else self._cipher.seal(text.encode(), scope.path)

    def _text(self, stored: str | bytes, scope: Scope) -> str:
        if isinstance(stored, bytes) and self._cipher is not None:
            return self._cipher.unseal(stored, scope.path).decode()
        return stored  # type: ignore[return-value]


def _new_of(record: Record) -> NewRecord:
    return NewRecord(record.text, record.speaker, record.time, record.session, record.source, record.heading)


def _row_of(scope: Scope, record_id: int) -> Scope:
    """What the text of one record is sealed for."""
    return Scope(f"{scope.path}\x00{record_id}")


def vectors_of(column: Sequence[bytes], dimensions: int) -> Vectors:
    """`dimensions` for a column without rows; others tell their own.

    The encoder may have changed since they were read.
    """
    return np.frombuffer(b"".join(column), dtype=np.float32).reshape(
        len(column), len(column[0]) // 4 if column else dimensions
    )
