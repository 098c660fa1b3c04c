"""One stored memory, and the scope that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.memory.errors import InvalidRecord, ScopeError

MAX_SHOWN_CHARS = 100
MAX_TEXT_CHARS = 2_000_000
MAX_COUNT = 2**52  # of mentions, and the highest id
_SEGMENT = re.compile(r"[\w@.+:=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory this is: `tenant/user/session`, one to three segments. Nothing crosses scopes."""

    path: str

    @classmethod
    def parse(cls, text: str | Scope) -> Scope:
        """Raises `ScopeError` on an empty path, an empty or overlong segment, or characters outside letters, digits and
        `@.+:=_-`.
        """
        if isinstance(text, Scope):
            return text
        segments = text.split("/") if isinstance(text, str) else []
        if not 1 <= len(segments) <= 3 or not all(_SEGMENT.fullmatch(s) and s not in (".", "..") for s in segments):
            shown = repr(text) if len(str(text)) <= MAX_SHOWN_CHARS else f"{str(text)[:MAX_SHOWN_CHARS]!r}..."
            raise ScopeError(
                f"scope {shown} is not a path of one to three names",
                remedy="Write it like 'acme/ann/chat-7': letters, digits, @.+:=_- between slashes",
            )
        return cls(text)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A memory to be stored.

    `time` is when it was said or happened (naive times are taken as UTC); `session` groups turns, or parts of a
    document; `heading` is what stands above a part of a document, and is found and shown with it.
    """

    text: str
    speaker: str = ""
    time: datetime | None = None
    session: str = ""
    source: str = ""
    heading: str = ""

    def __post_init__(self) -> None:
        check_text(self.text)
        for name in ("speaker", "session", "source", "heading"):
            check_encodable(getattr(self, name), name)
        check_time(self.time)


@dataclass(frozen=True, slots=True)
class Record:
    """One stored memory. `id` grows with insertion and is never reused; cite it as `m:ID`.

    `said` counts how often the same was said, `last_said` when last. What it states was true until `valid_until` where
    a newer record, `superseded_by`, says otherwise; `None` as far as is known.
    """

    id: int
    scope: str
    text: str
    speaker: str
    time: datetime | None
    session: str
    source: str
    said: int = 1
    last_said: datetime | None = None
    valid_until: datetime | None = None
    superseded_by: int | None = None
    heading: str = ""

    @property
    def citation(self) -> str:
        """How an answer cites the record: `m:12`."""
        return f"m:{self.id}"

    def as_dict(self) -> dict[str, object]:
        """The record as JSON values, as the HTTP API tells it."""
        return {
            "id": self.id,
            "scope": self.scope,
            "text": self.text,
            "speaker": self.speaker,
            "time": self.time.isoformat() if self.time else None,
            "session": self.session,
            "source": self.source,
            "said": self.said,
            "valid_until": self.valid_until.isoformat() if self.valid_until else None,
            "superseded_by": self.superseded_by,
        }

    @property
    def key(self) -> str:
        """The text as it is indexed: who said it, under which heading, and what was said."""
        return key_of(self.speaker, self.heading, self.text)


def key_of(speaker: str, heading: str, text: str) -> str:
    """What a record is searched and compared by: speaker, heading and text."""
    before = ", ".join(part for part in (speaker, heading) if part)
    return f"{before}: {text}" if before else text


@dataclass(frozen=True, slots=True)
class Mention:
    """Where and when a record was said: the first time, or again `times` times in the same place."""

    time: datetime | None
    session: str
    source: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """A record as it was exported, with where it was said again: what `Memory.restore` takes."""

    record: Record
    mentions: tuple[Mention, ...] = ()

    def __post_init__(self) -> None:
        record = self.record
        NewRecord(record.text, record.speaker, record.time, record.session, record.source, record.heading)
        check_time(record.last_said)
        check_time(record.valid_until)
        for count, name in ((record.said, "said"), *((said.times, "times") for said in self.mentions)):
            if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_COUNT:
                raise InvalidRecord(f"m:{record.id}: {name} is {count!r}, not a whole number from 1 on")
        for number in (record.id, record.superseded_by):
            if number is not None and not (isinstance(number, int) and 1 <= number <= MAX_COUNT):
                raise InvalidRecord(f"{number!r} is no id of a record")
        if record.superseded_by == record.id or (record.superseded_by is not None and record.valid_until is None):
            raise InvalidRecord(f"m:{record.id}: what supersedes it must be another record, since a moment")
        for said in self.mentions:
            check_time(said.time)
            check_encodable(said.session, "session")
            check_encodable(said.source, "source")


def check_chain(records: Iterable[ExportedRecord]) -> None:
    """Raises `InvalidRecord` where an id stands twice, or records supersede each other in a circle."""
    after: dict[int, int | None] = {}
    for each in records:
        if each.record.id in after:
            raise InvalidRecord(f"m:{each.record.id} stands there twice")
        after[each.record.id] = each.record.superseded_by
    done: set[int] = set()
    for start in after:
        seen: set[int] = set()
        current: int | None = start
        while current in after and current not in done:
            assert current is not None
            if current in seen:
                raise InvalidRecord(f"m:{start}: records supersede each other in a circle")
            seen.add(current)
            current = after[current]
        done |= seen


@dataclass(frozen=True, slots=True)
class Summary:
    """What a scope, a session or a stretch of turns is about.

    `level` is "scope", "session" or "turns", `sources` the ids of the records it rests on, `tokens` the budget that it
    was made for.

    `made_by` is "extract" for sentences of the records themselves, else the name of the writer, each of whose sentences
    was checked against them, or "extract instead of" that name where none could be kept.
    """

    level: str
    session: str
    text: str
    sources: tuple[int, ...]
    made_by: str = "extract"
    tokens: int = 0
    id: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a scope may hold: at most `max_records`, none older than `ttl_s` seconds since it was stored.

    `None` is no limit.
    """

    max_records: int | None = None
    ttl_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_records is not None and self.max_records < 0:
            raise ValueError(f"max_records must not be negative, not {self.max_records!r}")
        if self.ttl_s is not None and not self.ttl_s > 0:
            raise ValueError(f"ttl_s must be positive, not {self.ttl_s!r}")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The receipt of a deletion: which records of the scope are gone from the file, and how many are left."""

    scope: str
    ids: tuple[int, ...]
    at: datetime
    remaining: int

    def __len__(self) -> int:
        return len(self.ids)


def check_text(text: object) -> None:
    """Raises `InvalidRecord` unless `text` is non-empty, encodable and at most `MAX_TEXT_CHARS` long."""
    if not isinstance(text, str):
        raise InvalidRecord(
            f"a memory must be text (str), not {type(text).__name__}",
            remedy="Decode bytes first, for example .decode('utf-8')",
        )
    if not text.strip():
        raise InvalidRecord("a memory must not be empty", remedy="Leave it out")
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRecord(
            f"a memory of {len(text):,} characters is too long (limit {MAX_TEXT_CHARS:,})",
            remedy="Split it into chunks",
        )
    check_encodable(text, "text")


def check_encodable(text: str, field: str) -> None:
    """Raises `InvalidRecord` on text that cannot be stored."""
    if not isinstance(text, str):
        raise InvalidRecord(f"{field} must be text (str), not {type(text).__name__}")
    if "\x00" in text:
        raise InvalidRecord(f"{field} holds a NUL character: binary data cannot be remembered; extract its text first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRecord(
            f"{field} is not valid Unicode at character {error.start} (a lone surrogate); repair it first"
        ) from None


def check_time(time: object) -> None:
    """Raises `InvalidRecord` unless `time` is `None` or a moment whose time in UTC lies in the years 1 to 9999."""
    if time is None:
        return
    if not isinstance(time, datetime):
        raise InvalidRecord(f"time must be a datetime, not {type(time).__name__}")
    try:
        (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidRecord(f"time {time.isoformat()} lies outside the years 1 to 9999 in UTC") from None


def to_timestamp(time: datetime | None) -> float | None:
    """Seconds since 1970; a time without a zone is taken as UTC."""
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def from_timestamp(seconds: float | None) -> datetime | None:
    """A time in UTC; `None` for one that no calendar has, which older versions stored."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


RecordId = int | str
"""A record's number, as text too (`"12"`), or as answers cite it (`"m:12"`)."""


def record_number(id: RecordId) -> int:
    """The number of a record. Raises `InvalidRecord` on what names none."""
    if isinstance(id, int) and not isinstance(id, bool):
        return id
    digits = id.removeprefix("m:") if isinstance(id, str) else ""
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidRecord(f"{id!r} is no id of a record", remedy="Write its number, or what answers cite: m:12")
    return int(digits)
