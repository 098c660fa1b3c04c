"""The memory of a fleet: `remember`, `recall`, `forget`, `summarize`, `export`.

Synchronous and thread-safe; no model call anywhere.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import TracebackType

from orchestrator.memory.encoders.encoder import RETIRED, Encoder, default_encoder
from orchestrator.memory.errors import EncoderMismatch, InvalidRecord, NotErased, StoreError
from orchestrator.memory.record import (
    ExportedRecord,
    Forgotten,
    Limits,
    Mention,
    NewRecord,
    Record,
    RecordId,
    Scope,
    Summary,
    check_chain,
    key_of,
    record_number,
    to_timestamp,
)
from orchestrator.memory.retrieval.packing import Recall, pack
from orchestrator.memory.retrieval.ranking import Ranking, Reranker, rank, recalled, reranked
from orchestrator.memory.retrieval.scope_index import READS_BEFORE_SORTING, ScopeIndex
from orchestrator.memory.storage.encryption import Cipher
from orchestrator.memory.storage.reencoding import reencode
from orchestrator.memory.storage.snapshot import Snapshots
from orchestrator.memory.storage.sqlite import Store
from orchestrator.memory.storage.store import RecordStore
from orchestrator.memory.summaries import Writer, summarize
from orchestrator.memory.thresholds import Thresholds

DEFAULT_SCOPE = "default"
MAX_QUERY_CHARS = 4_000
MAX_RECALLED = 500
MIN_RECORD_TOKENS = 8


log = logging.getLogger(__name__)


class Memory:
    """Remembers text under scopes and recalls the few records that a query needs.

    `path` is an SQLite file (created when missing; `":memory:"` for none), or `postgresql://...` (extra `postgres`) for
    a memory that many machines share. `cipher` seals what a file holds. `reranker` looks again at the best fifty
    records of each recall. `clock` gives seconds since 1970. Errors are `memory.MemoryFailure` subclasses.

    It is the whole face of the memory, so it has more methods than other classes; each hands its work to the store, the
    indexes or the ranking.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        encoder: Encoder | None = None,
        cipher: Cipher | None = None,
        reranker: Reranker | None = None,
        thresholds: Thresholds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._encoder = encoder or default_encoder()
        is_default = encoder is None or encoder is default_encoder()
        self._next: Encoder | None = None  # what `reencode` is about to bring
        self._clock = clock
        self._reranker = reranker
        self._thresholds = thresholds or Thresholds()
        self._store = self._opened(path, cipher, is_default)
        is_file = isinstance(self._store, Store) and self._store.path != ":memory:"
        self._snapshots = Snapshots(path, cipher) if is_file else None
        self._indexes: dict[str, ScopeIndex] = {}
        self._lock = threading.Lock()
        self._where = self._shown(path)

    def _opened(self, path: str | Path, cipher: Cipher | None, is_default: bool) -> RecordStore:
        """The store. One that holds vectors of an encoder which older versions shipped is encoded anew."""
        encoder = self._encoder
        try:
            return open_store(path, encoder.fingerprint, encoder.dimensions, clock=self._clock, cipher=cipher)
        except EncoderMismatch:
            store = open_store(path, None, encoder.dimensions, clock=self._clock, cipher=cipher)
            if not is_default or store.state(Scope.parse(DEFAULT_SCOPE)).encoder not in RETIRED:
                store.close()
                raise
        count = reencode(store, encoder)
        log.warning("%s: %d records were encoded anew by the encoder of this version", self._shown(path), count)
        return store

    @staticmethod
    def _shown(path: str | Path) -> str:
        return re.sub(r"(?<=://)[^/@]*@", "", str(path))  # without the password of a database

    def __repr__(self) -> str:
        return f"Memory({self._where!r})"

    @property
    def encoder(self) -> Encoder:
        """What turns texts into vectors."""
        return self._encoder

    @property
    def store(self) -> RecordStore:
        """Where records are kept."""
        return self._store

    def remember(
        self,
        text: str,
        scope: str | Scope = DEFAULT_SCOPE,
        *,
        speaker: str = "",
        time: datetime | None = None,
        session: str = "",
        source: str = "",
    ) -> Record:
        """Stores one text; it is durable when this returns. Raises `InvalidRecord`, `ScopeError` or `StoreError`.

        What says the same as an earlier record is kept as a mention of that one, which is returned.
        """
        return self.remember_many([NewRecord(text, speaker, time, session, source)], scope)[0]

    def remember_many(self, records: Iterable[NewRecord | str], scope: str | Scope = DEFAULT_SCOPE) -> list[Record]:
        """Stores all records, or texts, in one transaction: all are durable when this returns, or none is stored.

        Of what is returned, `said` is 1 for what is new, and more for what repeats an earlier record.
        """
        where = Scope.parse(scope)
        new = [NewRecord(each) if isinstance(each, str) else each for each in records]
        if not new:
            return []
        key_of_record = {
            r: key_of(r.speaker, r.heading, r.text) for r in dict.fromkeys(new)
        }  # a million equal lines are encoded once
        keys = list(dict.fromkeys(key_of_record.values()))
        while True:
            encoder = self._encoder
            vector_of = dict(zip(keys, encoder.encode(keys), strict=True))
            vectors = [vector_of[key_of_record[record]] for record in new]
            try:
                added = self._store.add(where, new, vectors, encoder.fingerprint)
                break
            except EncoderMismatch:
                if not self._has_changed(encoder):
                    raise
        return [
            Record(i, where.path, r.text, r.speaker, r.time, r.session, r.source, said=1 + is_repeat, heading=r.heading)
            for i, is_repeat, r in zip(added.ids, added.is_repeat, new, strict=True)
        ]

    def remember_stream(
        self, records: Iterable[NewRecord], scope: str | Scope = DEFAULT_SCOPE, *, batch: int = 256
    ) -> Iterator[Record]:
        """Stores records as they come, however many, by `batch` at a time: each is durable when it is yielded."""
        waiting = iter(records)
        while taken := list(islice(waiting, batch)):
            yield from self.remember_many(taken, scope)

    def recall(
        self,
        query: str,
        scope: str | Scope = DEFAULT_SCOPE,
        *,
        token_budget: int = 1_000,
        limit: int | None = None,
        as_of: datetime | None = None,
        history: bool | None = None,
        diversity: float = 0.0,
        without: Collection[RecordId] = (),
        min_relevance: float = 0.0,
    ) -> Recall:
        """The records of `scope` that best serve `query`, at most `limit`, packed into `token_budget` tokens.

        Records that a newer one has superseded are left out unless the query asks about the past, or `history` says so.
        `as_of` recalls what was known and true at that moment. `diversity` in [0, 1] passes over what resembles records
        already taken (maximal marginal relevance). Records of the ids `without` are at hand already, and left out; so
        are those whose P(relevant) is below `min_relevance`, by the root of their length over 160 characters. Raises
        `ValueError` on a number out of range. An unknown scope or an empty query recalls nothing.
        """
        if token_budget < 0 or (limit is not None and limit < 0) or not 0.0 <= diversity <= 1.0:
            raise ValueError(
                f"token_budget and limit must not be negative, diversity must be in [0, 1] (got {token_budget}, "
                f"{limit}, {diversity})"
            )
        where = Scope.parse(scope)
        self._expire(where)
        wanted = min(token_budget // MIN_RECORD_TOKENS + 1, MAX_RECALLED) if limit is None else limit
        asked, known = query[:MAX_QUERY_CHARS], [record_number(each) for each in without]
        packed_by_worth = limit is None and diversity == 0.0 and self._reranker is None
        budget = token_budget if packed_by_worth else None
        ranking, searched = self._ranked(asked, where, wanted, budget, to_timestamp(as_of), history, known)
        records = self._store.get(where, ranking.ids)
        if as_of is not None:
            records = self._as_known(where, records, to_timestamp(as_of) or 0.0)
        if self._reranker is not None:
            ranking = reranked(asked, ranking, records, self._reranker)
        found, vectors = recalled(ranking, records, min_relevance)
        return pack(
            query, where.path, found, token_budget=token_budget, searched=searched, vectors=vectors, diversity=diversity
        )

    def _as_known(self, scope: Scope, records: dict[int, Record], moment: float) -> dict[int, Record]:
        """Records without the ends that nobody knew of at a moment (seconds since 1970)."""
        unknown = {record_id for record_id, since in self._store.over(scope) if since > moment}
        return {
            i: replace(record, valid_until=None, superseded_by=None) if i in unknown else record
            for i, record in records.items()
        }

    def forget(self, scope: str | Scope, ids: Iterable[RecordId] | None = None) -> Forgotten:
        """Deletes records for good: those of `ids` (12 or "m:12"), or the whole scope.

        When this returns, their text is no longer in the file.

        Raises `NotErased` where they are deleted, but another process reads the file since before, so that its log
        still holds them.
        """
        where, wanted = Scope.parse(scope), None if ids is None else [record_number(each) for each in ids]
        try:
            gone = self._store.delete(where, wanted)
        finally:
            if self._snapshots is not None:
                self._snapshots.drop(where)
        return Forgotten(where.path, tuple(gone), datetime.now(UTC), self._store.count(where))

    def supersede(
        self, scope: str | Scope, old: RecordId, *, by: RecordId | None = None, at: datetime | None = None
    ) -> None:
        """Says that the record `old` was true until `at` (now), and which record tells what is true instead.

        Raises `KeyError` on unknown ids, and where `old` already supersedes `by`.
        """
        where, old = Scope.parse(scope), record_number(old)
        by = None if by is None else record_number(by)
        if not self._store.supersede(where, old, by, at or datetime.fromtimestamp(self._clock(), UTC)):
            raise KeyError(
                f"scope {where.path} does not hold both m:{old} and m:{by}, or m:{old} supersedes m:{by} already"
                if by
                else f"scope {where.path} holds no m:{old}"
            )

    def mentions(self, scope: str | Scope, record_id: RecordId) -> list[Mention]:
        """Where and when a record was said: first of all, and each time that it was said again."""
        where, record_id = Scope.parse(scope), record_number(record_id)
        first = self._store.get(where, [record_id]).get(record_id)
        if first is None:
            return []
        return [Mention(first.time, first.session, first.source), *self._store.mentions(where, record_id)]

    def summarize(
        self,
        scope: str | Scope = DEFAULT_SCOPE,
        *,
        session: str | None = None,
        token_budget: int = 300,
        writer: Writer | None = None,
    ) -> Summary:
        """What the scope, or one session of it, is about, in at most `token_budget` tokens.

        Brings the stored summaries up to date.

        Without a `writer` it consists of telling sentences, with citations. A writer is called with a prompt and
        returns a text with citations like [m:12]; its sentences are kept if the records that they cite support them.
        """
        where = Scope.parse(scope)
        self._expire(where)
        return summarize(self._store, where, session, token_budget, writer)

    def summaries(self, scope: str | Scope = DEFAULT_SCOPE) -> list[Summary]:
        """The stored ones of a scope; forgetting a record deletes those that rest on it."""
        return self._store.summaries(Scope.parse(scope))

    def limit(self, scope: str | Scope, *, max_records: int | None = None, ttl: timedelta | None = None) -> None:
        """Sets what the scope may hold, durably; without arguments lifts its limits.

        Adding beyond `max_records` raises `QuotaExceeded`; records stored longer than `ttl` ago are gone from the next
        look at the scope on.
        """
        if ttl is not None and not isinstance(ttl, timedelta):
            raise InvalidRecord(f"ttl is a timedelta, not {ttl!r}", remedy="timedelta(days=30)")
        self._store.set_limits(Scope.parse(scope), Limits(max_records, ttl.total_seconds() if ttl else None))

    def limits(self, scope: str | Scope) -> Limits:
        """The limits of a scope."""
        return self._store.limits(Scope.parse(scope))

    def export(self, scope: str | Scope) -> Iterator[Record]:
        """Every record of the scope in order of insertion."""
        where = Scope.parse(scope)
        self._expire(where)
        return self._store.all(where)

    def get(self, scope: str | Scope, record_id: RecordId) -> Record | None:
        """One record of the scope, as long as it holds it."""
        where, record_id = Scope.parse(scope), record_number(record_id)
        self._expire(where)
        return self._store.get(where, [record_id]).get(record_id)

    def exported(self, scope: str | Scope) -> Iterator[ExportedRecord]:
        """Every record of the scope in order of insertion, with where it was said again: what `restore` takes."""
        for record in self.export(scope):
            again = self._store.mentions(Scope.parse(scope), record.id) if record.said > 1 else []
            yield ExportedRecord(record, tuple(again))

    def restore(self, records: Sequence[ExportedRecord], scope: str | Scope = DEFAULT_SCOPE) -> list[Record]:
        """Stores exported records as they were, in one transaction: what was over is over, mentions are kept.

        They keep their ids, and so their citations, where the memory has never used these or later ones; else they get
        new ones, and what names another of them follows. Raises `QuotaExceeded`, `InvalidRecord`, or `StoreError`.
        """
        where, encoder = Scope.parse(scope), self._encoder
        if not records:
            return []
        check_chain(records)
        vectors = encoder.encode([each.record.key for each in records])
        ids = self._store.restore(where, records, list(vectors), encoder.fingerprint)
        held = self._store.get(where, ids)
        return [held[i] for i in ids]

    def count(self, scope: str | Scope = DEFAULT_SCOPE) -> int:
        """How many records there are, in a scope or in all."""
        where = Scope.parse(scope)
        self._expire(where)
        return self._store.count(where)

    def scopes(self) -> list[str]:
        """Paths of all scopes that ever held a record."""
        return self._store.scopes()

    def reencode(self, encoder: Encoder, on_progress: Callable[[int], None] | None = None) -> int:
        """Encodes every record anew with `encoder`, while this and other threads go on recalling and remembering.

        Returns how many.

        Other processes that have the memory open go on, too, until the switch; then they are told to open it again
        (`EncoderMismatch`).
        """
        self._next = encoder
        done = reencode(self._store, encoder, on_progress)
        self._has_changed(encoder)
        return done

    def warm(self, scope: str | Scope = DEFAULT_SCOPE) -> None:
        """Reads the scope's index and waits until what recalls would have built in the background is built.

        For servers, before the first query.
        """
        index = self._scope_index(Scope.parse(scope))
        for _ in range(READS_BEFORE_SORTING + 1):
            self.recall("", scope)
        index.wait()

    def compact(self) -> None:
        """Rewrites the file without holes.

        Forgetting gives space back by itself as it becomes much; this gives back all.
        """
        self._store.compact()

    def snapshot(self) -> None:
        """Writes snapshots of the large scopes that were asked about and have grown since, so that they open fast.

        Closing does so, too.
        """
        if self._snapshots is not None:
            for index in list(self._indexes.values()):
                self._keep_snapshot(index, self._snapshots)

    def close(self) -> None:
        """Writes snapshots and closes the store."""
        for index in list(self._indexes.values()):
            index.stop()
        self.snapshot()
        self._store.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ranked(
        self,
        query: str,
        scope: Scope,
        wanted: int,
        token_budget: int | None,
        moment: float | None,
        history: bool | None,
        without: Collection[int],
    ) -> tuple[Ranking, int]:
        # A scope that holds nothing costs nothing: anybody may ask for any number of them.
        if scope.path not in self._indexes and not self._store.count(scope):
            return Ranking.empty(), 0
        while True:
            index = self._scope_index(scope)
            try:
                with index.lock:
                    if not len(index):
                        self._thaw(index)
                    index.refresh()
                    total = len(index)
                    if not total or not query.strip():
                        return Ranking.empty(), total
                    found = rank(
                        index,
                        query,
                        wanted=wanted,
                        token_budget=token_budget,
                        moment=moment,
                        now=self._clock(),
                        history=history,
                        judged_whole=self._thresholds.judged_whole,
                        without=without,
                    )
                    return found, total
            except EncoderMismatch:
                if not self._has_changed(index.encoder):
                    raise

    def _has_changed(self, encoder: Encoder) -> bool:
        """Whether what failed with `encoder` may be tried again, because `reencode` has finished meanwhile (perhaps
        twice: there and back).
        """
        with self._lock:
            stored = self._store.state(Scope.parse(DEFAULT_SCOPE)).encoder
            if self._next is not None and stored == self._next.fingerprint:
                self._encoder, self._next = self._next, None
                self._indexes.clear()
            return self._encoder is not encoder or stored == encoder.fingerprint

    def _expire(self, scope: Scope) -> None:
        try:
            has_expired = bool(self._store.expire(scope))
        except NotErased as error:  # they are gone for everybody; erasing them from the log is tried again
            has_expired = True
            log.warning("%s", error)
        if has_expired and self._snapshots is not None:
            self._snapshots.drop(scope)

    def _thaw(self, index: ScopeIndex) -> None:
        """Under the scope's own lock: other scopes need not wait while a large snapshot is read."""
        saved = self._snapshots.load(index.scope) if self._snapshots is not None else None
        if saved is not None and saved[0].get("encoder") == index.encoder.fingerprint:
            index.thaw(*saved)

    def _keep_snapshot(self, index: ScopeIndex, snapshots: Snapshots) -> None:
        if len(index) < max(self._thresholds.snapshot_from, self._thresholds.snapshot_growth * index.thawed_size):
            return
        with index.lock:
            described, arrays = index.frozen()
            if self._store.state(index.scope).deletions == described["deletions"]:
                snapshots.save(index.scope, {**described, "encoder": index.encoder.fingerprint}, arrays)
                index.thawed_size = len(index)
        if self._store.state(index.scope).deletions != described["deletions"]:  # somebody forgot something meanwhile
            snapshots.drop(index.scope)

    def _scope_index(self, scope: Scope) -> ScopeIndex:
        """The scope's index.

        Those not used for longest are dropped (they can be rebuilt) when all together grow too large.
        """
        with self._lock:
            index = self._indexes.pop(scope.path, None)
            if index is None:
                index = ScopeIndex(self._store, scope, self._encoder, coarse_from=self._thresholds.coarse_from)
                while self._indexes and sum(map(len, self._indexes.values())) > self._thresholds.most_indexed:
                    self._indexes.pop(next(iter(self._indexes)))
            self._indexes[scope.path] = (
                index  # a dictionary keeps the order of insertion: the last one is the one used last
            )
            return index


def open_store(
    path: str | Path,
    fingerprint: str | None,
    dimensions: int,
    *,
    clock: Callable[[], float] = time.time,
    cipher: Cipher | None = None,
) -> RecordStore:
    """The store at a path or address. Without a fingerprint, whatever encoder it has: only to encode it anew."""
    if str(path).startswith(("postgresql://", "postgres://")):
        from orchestrator.memory.storage.postgres import PostgresStore  # numpy

        if cipher is not None:
            raise StoreError("a cipher is for memories in files; on PostgreSQL, let the server encrypt its disk")
        return PostgresStore(str(path), fingerprint=fingerprint, dimensions=dimensions, clock=clock)
    return Store(path, fingerprint=fingerprint, dimensions=dimensions, clock=clock, cipher=cipher)
