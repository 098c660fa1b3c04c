"""Records as lines of JSON, as they are exported, and chat messages as they go over the wire to models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from orchestrator.jsontypes import JsonMapping
from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.encodings import read_decoded
from orchestrator.memory.record import ExportedRecord, Mention, NewRecord, Record

R = TypeVar("R")
_EXPORTED = frozenset(("id", "scope", "text", "said", "valid_until", "superseded_by"))
_CITATION = re.compile(r"m:[1-9]\d{0,17}")
REMEMBERED_ROLES = ("user", "assistant")


def as_json(record: Record, mentions: Sequence[Mention] = ()) -> str:
    """One line: what `read_records` and `read_export` read. `mentions` are the further places where it was said."""
    row = {
        "id": record.citation,
        "scope": record.scope,
        "text": record.text,
        "speaker": record.speaker,
        "time": record.time.isoformat() if record.time else None,
        "session": record.session,
        "source": record.source,
        "heading": record.heading,
        "said": record.said,
        "last_said": record.last_said.isoformat() if record.last_said else None,
        "mentions": [
            {
                "time": said.time.isoformat() if said.time else None,
                "session": said.session,
                "source": said.source,
                "times": said.times,
            }
            for said in mentions
        ],
        "valid_until": record.valid_until.isoformat() if record.valid_until else None,
        "superseded_by": f"m:{record.superseded_by}" if record.superseded_by else None,
    }
    return json.dumps(row, ensure_ascii=False)


def read_records(path: str | Path, encoding: str | None = None) -> list[NewRecord]:
    """Records of a .jsonl file: {"text", "speaker", "time", "session", "source", "heading"}, all but the text optional.

    Raises `InvalidRecord` with the line that cannot be read.
    """
    return list(_read_lines(path, read_decoded(Path(path), encoding), _new))


def read_export(path: str | Path, encoding: str | None = None) -> list[ExportedRecord] | None:
    """The records of a file that `orchestrator export` or `as_json` wrote, with all that is known of them.

    `None` for lines that are no such export. Raises `InvalidRecord` with the line that cannot be read.
    """
    text = read_decoded(Path(path), encoding)
    return list(_read_lines(path, text, _exported)) if _is_export(text) else None


def _is_export(text: str) -> bool:
    """Whether the first line is one of an export."""
    try:
        row = json.loads(text.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and row.keys() >= _EXPORTED and bool(_CITATION.fullmatch(str(row["id"])))


def _read_lines(path: str | Path, text: str, read: Callable[[JsonMapping], R]) -> Iterator[R]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = read(json.loads(line))
        except RecursionError:
            raise InvalidRecord(f"{path}:{number}: no record: it nests too deeply") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidRecord(
                f'{path}:{number}: no record: {error!r}. Each line is {{"text": ..., "speaker": ..., "time": ...}}'
            ) from None
        yield found


def _new(row: JsonMapping) -> NewRecord:
    rest = (row.get(name) or "" for name in ("session", "source", "heading"))
    return NewRecord(row["text"], row.get("speaker") or "", _time(row.get("time")), *rest)


def _exported(row: JsonMapping) -> ExportedRecord:
    new, by = _new(row), row.get("superseded_by")
    said = (row.get("said") or 1, _time(row.get("last_said")), _time(row.get("valid_until")))
    record = Record(
        *(_id(row["id"]), row["scope"], new.text, new.speaker, new.time, new.session, new.source),
        *said,
        _id(by) if by else None,
        new.heading,
    )
    mentions = (
        Mention(_time(each.get("time")), each["session"], each["source"], each["times"])
        for each in row.get("mentions") or ()
    )
    return ExportedRecord(record, tuple(mentions))


def _id(citation: str) -> int:
    return int(citation.removeprefix("m:"))


def _time(stated: str | None) -> datetime | None:
    return datetime.fromisoformat(stated) if stated else None


def turns(
    messages: Iterable[JsonMapping], *, session: str, time: datetime | None = None, user: str = "user"
) -> Iterator[NewRecord]:
    """The turns of a chat in OpenAI's or Anthropic's form.

    {"role", "content"}, content a string or a list of parts, of which the texts count.

    What the user and the assistant said; not system prompts, tools' calls and results, which are not worth remembering.
    `user` names the user.
    """
    for message in messages:
        if message.get("role") not in REMEMBERED_ROLES:
            continue
        content = message.get("content") or ""
        parts = (
            [content]
            if isinstance(content, str)
            else [part.get("text") or "" for part in content if isinstance(part, Mapping)]
        )
        text = "\n".join(part for part in parts if isinstance(part, str) and part.strip())
        if text.strip():
            speaker = str(message.get("name") or (user if message["role"] == "user" else "assistant"))
            yield NewRecord(text, speaker, time, session)
