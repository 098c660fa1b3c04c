"""Records as lines of JSON, as they are exported, and chat messages as they go over the wire to models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from orchestrator.jsontypes import JsonMapping
from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.record import NewRecord, Record

REMEMBERED_ROLES = ("user", "assistant")


def as_json(record: Record) -> str:
    """One line: what `read_records` reads, and what else is known of the record."""
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
        "valid_until": record.valid_until.isoformat() if record.valid_until else None,
        "superseded_by": f"m:{record.superseded_by}" if record.superseded_by else None,
    }
    return json.dumps(row, ensure_ascii=False)


def read_records(path: str | Path) -> list[NewRecord]:
    """Records of a .jsonl file: {"text", "speaker", "time", "session", "source", "heading"}, all but the text optional.

    Raises `InvalidRecord` with the line that cannot be read.
    """
    records = []
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                time = datetime.fromisoformat(row["time"]) if row.get("time") else None
                rest = (row.get(name) or "" for name in ("session", "source", "heading"))
                records.append(NewRecord(row["text"], row.get("speaker") or "", time, *rest))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise InvalidRecord(
                    f'{path}:{number}: no record: {error!r}. Each line is {{"text": ..., "speaker": ..., "time": ...}}'
                ) from None
    return records


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
