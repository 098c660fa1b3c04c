"""Conversations that other programs export: ChatGPT's, Claude's, mem0's, and messages in OpenAI's form.

ChatGPT's `conversations.json` holds a tree of messages for each conversation, of which the branch that was shown last
counts; Claude's a list of messages.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.record import NewRecord

if TYPE_CHECKING:
    from orchestrator.memory.memory import Memory

SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant"}
MAX_MESSAGES = 1_000_000


def read_chats(path: str | Path) -> list[NewRecord]:
    """The turns of every conversation in a .json file, oldest first; `session` is the conversation's title or id.

    What is no text (pictures, code that ran, thoughts) is left out. Raises `InvalidRecord` on a file that is cut, is no
    JSON, or holds no conversation.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"{path}: not UTF-8 (byte {error.start}); export it again") from None
    except json.JSONDecodeError as error:
        length = Path(path).stat().st_size
        if error.pos >= length - 2 or "Unterminated" in error.msg or "delimiter" in error.msg:
            raise InvalidRecord(
                f"{path}:{error.lineno}: the file ends in the middle ({error.msg.lower()}); download the export again"
            ) from None
        raise InvalidRecord(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InvalidRecord(f"{path}: nested too deeply to be an export of conversations") from None
    records = [record for chat in _chats(found) for record in chat]
    if not records:
        raise InvalidRecord(
            f"{path}: no conversation is found in it: this reads conversations.json of ChatGPT and Claude, exports of "
            "mem0, and lists of messages"
        )
    return records


def _chats(found: JsonValue) -> Iterator[Iterator[NewRecord]]:
    if isinstance(found, Mapping):
        for name in ("conversations", "results", "memories", "messages"):
            if isinstance(found.get(name), list):
                found = [found] if name == "messages" else found[name]
                break
        else:
            found = [found]
    if not isinstance(found, list):
        return
    rows = [row for row in found if isinstance(row, Mapping)]
    if rows and all("role" in row and "content" in row for row in rows):
        yield _messages(rows, "")
        return
    for row in rows:
        if isinstance(row.get("mapping"), Mapping):
            yield _chatgpt(row)
        elif isinstance(row.get("chat_messages"), list):
            yield _claude(row)
        elif isinstance(row.get("messages"), list):
            yield _messages([each for each in row["messages"] if isinstance(each, Mapping)], _title(row))
        elif isinstance(row.get("memory"), str) and row["memory"].strip():
            yield iter([NewRecord(row["memory"], time=_time(row.get("created_at")), source="mem0")])


def _chatgpt(chat: JsonMapping) -> Iterator[NewRecord]:
    """The branch that ends with the node that was shown last."""
    nodes, session = chat["mapping"], _title(chat)
    branch: list[JsonMapping] = []
    seen: set[str] = set()
    name = chat.get("current_node") or _last_leaf(nodes)
    while isinstance(name, str) and name in nodes and name not in seen and len(seen) < MAX_MESSAGES:
        seen.add(name)
        node = nodes[name]
        if not isinstance(node, Mapping):
            break
        if isinstance(node.get("message"), Mapping):
            branch.append(node["message"])
        name = node.get("parent")
    for message in reversed(branch):
        author, content = message.get("author"), message.get("content")
        speaker = SPEAKERS.get(str(author.get("role")) if isinstance(author, Mapping) else "")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        text = "\n".join(part for part in parts if isinstance(part, str)) if isinstance(parts, list) else ""
        if speaker and text.strip():
            yield NewRecord(
                text, speaker, _time(message.get("create_time") or chat.get("create_time")), session, "chatgpt"
            )


def _last_leaf(nodes: JsonMapping) -> str | None:
    """The newest message that nothing follows, where the export does not say what was shown."""
    leaves = [name for name, node in nodes.items() if isinstance(node, Mapping) and not node.get("children")]
    return max(leaves, key=lambda name: _seconds((nodes[name].get("message") or {}).get("create_time")), default=None)


def _claude(chat: JsonMapping) -> Iterator[NewRecord]:
    session = _title(chat)
    for message in chat["chat_messages"]:
        if not isinstance(message, Mapping):
            continue
        speaker, text = SPEAKERS.get(str(message.get("sender"))), _text(message.get("content")) or message.get("text")
        if speaker and isinstance(text, str) and text.strip():
            yield NewRecord(text, speaker, _time(message.get("created_at")), session, "claude")


def _messages(rows: list[JsonMapping], session: str) -> Iterator[NewRecord]:
    for row in rows:
        speaker, text = SPEAKERS.get(str(row.get("role"))), _text(row.get("content"))
        if speaker and text.strip():
            yield NewRecord(text, speaker, _time(row.get("created_at") or row.get("time")), session)


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type", "text") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))


def _title(chat: JsonMapping) -> str:
    names = (chat.get(name) for name in ("title", "name", "conversation_id", "uuid", "id"))
    return next((str(name) for name in names if name), "")


def _seconds(stated: JsonValue) -> float:
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else 0.0


def _time(stated: JsonValue) -> datetime | None:
    """A moment as exports write it: seconds since 1970, or ISO 8601."""
    try:
        if isinstance(stated, int | float) and not isinstance(stated, bool):
            return datetime.fromtimestamp(stated, UTC)
        return datetime.fromisoformat(stated) if isinstance(stated, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def unheard(memory: Memory, scope: str, records: Sequence[NewRecord]) -> list[NewRecord]:
    """Those of some records that memory does not hold yet: said by nobody else, elsewhere, or at another time."""
    known: Counter[tuple[str, float | None, str, str]] = Counter()
    for held in memory.export(scope):
        if held.said == 1:
            known[held.session, _moment(held.time), held.speaker, held.text] += 1
        else:
            for said in memory.mentions(scope, held.id):
                known[said.session, _moment(said.time), held.speaker, held.text] += 1
    new: list[NewRecord] = []
    for record in records:
        key = (record.session, _moment(record.time), record.speaker, record.text)
        if known[key]:
            known[key] -= 1
        else:
            new.append(record)
    return new


def _moment(time: datetime | None) -> float | None:
    """A time in seconds since 1970, as it compares after it was stored; without a zone it is UTC."""
    if time is None:
        return None
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp(), 3)
