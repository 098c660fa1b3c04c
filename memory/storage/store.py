"""What keeps records.

The interface (`orchestrator.memory.storage.sqlite` and `orchestrator.memory.storage.postgres` implement it), and what
is worked out of a record before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.record import ExportedRecord, Limits, Mention, NewRecord, Record, Scope, Summary, to_timestamp
from orchestrator.memory.storage.encryption import Cipher, digest_of
from orchestrator.memory.text.duplicates import canonical
from orchestrator.memory.text.facts import facts_in, is_one_statement
from orchestrator.memory.text.traits import traits_of
from orchestrator.memory.text.words import counted, words_in


class IndexedRow(NamedTuple):
    """What ranking needs of one record.

    `words` holds the ascending uint32 hashes of its distinct words, `counts` a byte for each.

    `time` (seconds since 1970) is when it was said or happened, or else when it was stored.
    """

    id: int
    session: str
    speaker: str
    time: float
    chars: int
    asks: int
    names: int
    numbers: int
    personal: int
    words: bytes
    counts: bytes


class Added(NamedTuple):
    """Ids in the order of the records that were given, and which of these said the same as an earlier one, whose id
    they got.
    """

    ids: list[int]
    is_repeat: list[bool]


class ScopeState(NamedTuple):
    """An index that saw other `deletions`, or another `encoder` (fingerprint), must be rebuilt.

    `revisions` grows when records were superseded.
    """

    deletions: int
    revisions: int
    encoder: str


class RecordStore(Protocol):
    """Where records are kept.

    Ids ascend in the order in which the writes of a scope were committed; every method speaks of one scope.

    Methods raise `StoreError` when the database cannot be used.
    """

    def add(self, scope: Scope, records: Sequence[NewRecord], vectors: Sequence[Vectors], encoder: str) -> Added:
        """Stores all records or none, durably, each with its vector.

        Raises `QuotaExceeded`, or `EncoderMismatch` when the memory has another encoder by now.
        """
        ...

    def restore(
        self, scope: Scope, records: Sequence[ExportedRecord], vectors: Sequence[Vectors], encoder: str
    ) -> list[int]:
        """Stores exported records as they were, all or none, and returns their ids: the old ones where these are free.

        Raises as `add` does.
        """
        ...

    def delete(self, scope: Scope, ids: Sequence[int] | None) -> list[int]:
        """Removes records (all of the scope when `ids` is None) and all that was derived from them.

        Returns the ids of those that were there.
        """
        ...

    def expire(self, scope: Scope) -> list[int]:
        """Removes the records that have outlived the scope's time to live; returns their ids."""
        ...

    def limits(self, scope: Scope) -> Limits:
        """The limits of a scope."""

    def set_limits(self, scope: Scope, limits: Limits) -> None:
        """Sets the limits of a scope."""

    def get(self, scope: Scope, ids: Iterable[int]) -> dict[int, Record]:
        """The records of `scope` among `ids`; ids of other scopes are not found."""
        ...

    def all(self, scope: Scope) -> Iterator[Record]:
        """Every record of `scope` in order of insertion."""
        ...

    def count(self, scope: Scope) -> int:
        """How many records a scope holds."""

    def scopes(self) -> list[str]:
        """The paths of all scopes."""

    def state(self, scope: Scope) -> ScopeState:
        """What an index of the scope is held against."""

    def rows_after(self, scope: Scope, last_id: int) -> tuple[list[IndexedRow], Vectors]:
        """What ranking needs of the records of `scope` added after `last_id`, and their vectors."""
        ...

    def over(self, scope: Scope) -> list[tuple[int, float]]:
        """Ids of the records whose facts have ended, and since when that is known (seconds since 1970)."""
        ...

    def supersede(self, scope: Scope, old: int, by: int | None, at: datetime) -> bool:
        """Says that `old` was true until `at`, and what says otherwise now. False when the scope does not hold them."""
        ...

    def mentions(self, scope: Scope, record_id: int) -> list[Mention]:
        """Where and when a record was said again."""
        ...

    def summaries(self, scope: Scope) -> list[Summary]:
        """The stored summaries of a scope."""

    def save_summaries(self, scope: Scope, new: Sequence[Summary], replaced: Sequence[int]) -> bool:
        """Stores `new` in place of those with the ids `replaced`.

        False, with nothing stored, if a record that they rest on has been deleted.
        """
        ...

    def start_reencoding(self, encoder: str) -> None:
        """From now on `put_vectors` fills a second set of vectors; one that was begun with the same encoder goes on."""
        ...

    def not_reencoded(self, limit: int) -> list[tuple[int, str]]:
        """Ids and keys (as they are encoded) of records that lack a second vector."""
        ...

    def put_vectors(self, vectors: Mapping[int, Vectors]) -> None:
        """Stores vectors of the next encoder."""

    def finish_reencoding(self, encoder: Encoder, most: int) -> bool:
        """Switches to the second set in one transaction, encoding up to `most` missing ones in it.

        False if there are more.
        """
        ...

    def compact(self) -> None:
        """Gives the space of deleted records back to the file system."""
        ...

    def close(self) -> None:
        """Closes the store."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record with all that is stored of it but its vector.

    `digest` is the same for records that say the same; `facts` are digests of what has one value at a time (subject,
    attribute and qualifiers; value), since when, and whether it ends other values; `is_over_with_them` tells whether
    the record says little else.
    """

    record: NewRecord
    when: float | None
    digest: int | None
    facts: tuple[tuple[int, int, float | None, bool], ...]
    is_over_with_them: bool
    asks: int
    names: int
    numbers: int
    personal: int
    words: bytes
    counts: bytes


def prepared(record: NewRecord, scope: Scope, cipher: Cipher | None) -> Prepared:
    """A record with everything that is stored of it but its vector."""
    spoken = words_in(record.text)
    said = canonical(record, spoken)
    traits = traits_of(record.text, spoken)
    date = record.time.strftime("%d %B %Y") if record.time else ""
    words, counts = counted([*words_in(f"{date} {record.speaker} {record.heading}"), *spoken])
    when = to_timestamp(record.time)
    facts = facts_in(record.text, record.speaker, record.time, spoken)
    return Prepared(
        record,
        when,
        None if said is None else digest_of(said, scope.path, cipher),
        tuple(
            (
                digest_of(fact.key, scope.path, cipher),
                digest_of(fact.value, scope.path, cipher),
                to_timestamp(fact.since),
                fact.ends,
            )
            for fact in facts
        ),
        bool(facts) and is_one_statement(record.text),
        traits.asks,
        traits.names,
        int(traits.numbers),
        int(traits.personal),
        words.tobytes(),
        counts.tobytes(),
    )


def repeats(rows: Sequence[Prepared], held: Mapping[int, int]) -> tuple[list[int], dict[int, int]]:
    """For each row the index of the row that stands for it (itself, if nothing says the same), and the ids of those
    `held` already (by digest).

    Who moved to Lisbon and says again that he lives in Porto has moved back: that is no repeat.
    """
    stands_for: list[int] = []
    first: dict[int, int] = {}
    known: dict[int, int] = {}
    values: dict[int, int] = {}
    for index, row in enumerate(rows):
        is_news = any(values.get(key, value) != value for key, value, _, ends in row.facts if ends)
        values.update((key, value) for key, value, _, ends in row.facts if ends)
        if row.digest is None:
            stands_for.append(index)
            continue
        if is_news or row.digest not in first:
            first[row.digest] = index
            if not is_news and row.digest in held:
                known[index] = held[row.digest]
        stands_for.append(first[row.digest])
    return stands_for, known
