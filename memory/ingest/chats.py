"""Conversations that other programs export: ChatGPT's, Claude's, mem0's, and messages in OpenAI's form.

ChatGPT's `conversations.json` holds a tree of messages for each conversation, of which the branch that was shown last
counts; Claude's a list of messages.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import check_unpacked
from orchestrator.memory.ingest.encodings import decoded
from orchestrator.memory.record import ExportedRecord, NewRecord, Record

if TYPE_CHECKING:
    from orchestrator.memory.memory import Memory

_Place = tuple[str, float | None, str, str]
SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "ai": "assistant", "model": "assistant"}
MAX_MESSAGES = 1_000_000
_TEXT_PARTS = ("text", "input_text", "output_text")
LATEST_S = 32_503_680_000  # the year 3000: later ones are milliseconds
_IN_ARCHIVES = ("conversations.json", "chat.json", "memories.json")


def read_chats(path: str | Path) -> list[NewRecord]:
    """The turns of every conversation in a .json file, oldest first; `session` is the conversation's title or id.

    A .zip file is read as ChatGPT and Claude send it. What is no text (pictures, code that ran, thoughts) is left out.
    Raises `InvalidRecord` on a file that is cut, is no JSON, or holds no conversation.
    """
    found = _parsed(Path(path))
    try:
        records = [record for chat in _chats(found, _Sessions()) for record in chat]
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidRecord):
            raise InvalidRecord(f"{path}: a message cannot be remembered: {error}") from None
        raise InvalidRecord(f"{path}: not as these programs export it ({error}); download the export again") from None
    if not records:
        raise InvalidRecord(
            f"{path}: no conversation is found in it: this reads conversations.json of ChatGPT and Claude, "
            f"exports of "
            "mem0, and lists of messages"
        )
    return records


def _parsed(path: Path) -> JsonValue:
    content = _unpacked(path)
    try:
        text = decoded(content)
    except InvalidRecord as error:
        raise InvalidRecord(f"{path}: {error}") from None
    try:
        found: JsonValue = json.loads(text)
    except json.JSONDecodeError as error:
        length = len(text)
        if error.pos >= length - 2 or "Unterminated" in error.msg or "delimiter" in error.msg:
            raise InvalidRecord(
                f"{path}:{error.lineno}: the file ends in the middle ({error.msg.lower()}); download the export again"
            ) from None
        raise InvalidRecord(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InvalidRecord(f"{path}: nested too deeply to be an export of conversations") from None
    return found


def _unpacked(path: Path) -> bytes:
    if path.suffix.lower() != ".zip":
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as packed:
            check_unpacked(part.file_size for part in packed.infolist())
            for name in packed.namelist():
                if PurePosixPath(name).name in _IN_ARCHIVES:
                    return packed.read(name)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InvalidRecord(f"{path}: cannot be unpacked ({error}); download the export again") from None
    raise InvalidRecord(f"{path}: holds none of {', '.join(_IN_ARCHIVES)}: is it an export of ChatGPT or Claude?")


class _Sessions:
    """Names of conversations: their titles, with an id behind those that several have ("New chat")."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def name(self, chat: JsonMapping) -> str:
        """What a conversation's session is called."""
        stated = [str(chat[name]) for name in _TITLES if chat.get(name)]
        title, own = (stated[0], stated[-1]) if stated else ("", "")
        if self._known.setdefault(title, own) == own:
            return title
        return f"{title} ({own[:8]})"


_TITLES = ("title", "name", "conversation_id", "uuid", "id")


def _chats(found: JsonValue, sessions: _Sessions) -> Iterator[Iterator[NewRecord]]:
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
    if rows and any("role" in row and "content" in row for row in rows):
        yield _messages(rows, "")
        return
    for row in rows:
        if isinstance(row.get("mapping"), Mapping):
            yield _chatgpt(row, sessions.name(row))
        elif isinstance(row.get("chat_messages"), list):
            yield _claude(row, sessions.name(row))
        elif isinstance(row.get("messages"), list):
            yield _messages([each for each in row["messages"] if isinstance(each, Mapping)], sessions.name(row))
        elif isinstance(row.get("memory"), str) and row["memory"].strip():
            yield iter([_mem0(row)])


def _mem0(row: JsonMapping) -> NewRecord:
    """A memory of mem0: who said it is `actor_id`, or else its `role`, or whose it is; its session is `run_id`."""
    role = str(row.get("role") or "")
    speaker = str(row.get("actor_id") or SPEAKERS.get(role, role) or row.get("user_id") or "")
    time = _time(row.get("created_at")) or _time(row.get("updated_at"))
    return NewRecord(row["memory"], speaker, time, str(row.get("run_id") or ""), "mem0")


def _chatgpt(chat: JsonMapping, session: str) -> Iterator[NewRecord]:
    """The branch that ends with the node that was shown last."""
    nodes = chat["mapping"]
    branch: list[JsonMapping] = []
    seen: set[str] = set()
    name = chat.get("current_node")
    name = name if name in nodes else _last_leaf(nodes)
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
        text = "\n".join(filter(None, map(_part_text, parts))) if isinstance(parts, list) else ""
        if speaker and text.strip():
            yield NewRecord(
                text, speaker, _time(message.get("create_time") or chat.get("create_time")), session, "chatgpt"
            )


def _part_text(part: JsonValue) -> str:
    """A part's words: text, or what was said and transcribed."""
    if isinstance(part, Mapping) and part.get("content_type") == "audio_transcription":
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _last_leaf(nodes: JsonMapping) -> str | None:
    """The newest message that nothing follows, where the export does not say what was shown."""
    leaves = [name for name, node in nodes.items() if isinstance(node, Mapping) and not node.get("children")]
    return max(leaves, key=lambda name: _seconds((nodes[name].get("message") or {}).get("create_time")), default=None)


def _claude(chat: JsonMapping, session: str) -> Iterator[NewRecord]:
    for message in chat["chat_messages"]:
        if not isinstance(message, Mapping):
            continue
        speaker, text = SPEAKERS.get(str(message.get("sender"))), _text(message.get("content")) or message.get("text")
        time = _time(message.get("created_at")) or _time(chat.get("created_at"))
        if speaker and isinstance(text, str) and text.strip():
            yield NewRecord(text, speaker, time, session, "claude")
        for attached in message.get("attachments") or ():
            if speaker and isinstance(attached, Mapping) and str(attached.get("extracted_content") or "").strip():
                heading = str(attached.get("file_name") or "attachment")
                yield NewRecord(str(attached["extracted_content"]), speaker, time, session, "claude", heading)


def _messages(rows: list[JsonMapping], session: str) -> Iterator[NewRecord]:
    for row in rows:
        speaker, text = SPEAKERS.get(str(row.get("role"))), _text(row.get("content"))
        if speaker and text.strip():
            yield NewRecord(text, speaker, _time(row.get("created_at") or row.get("time")), session)


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (
        part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS
    )
    return "\n".join(text for text in texts if isinstance(text, str))


def _seconds(stated: JsonValue) -> float:
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else 0.0


def _time(stated: JsonValue) -> datetime | None:
    """A moment as exports write it: seconds since 1970, or ISO 8601."""
    try:
        if isinstance(stated, int | float) and not isinstance(stated, bool):
            return datetime.fromtimestamp(stated / 1_000 if stated > LATEST_S else stated, UTC)
        return datetime.fromisoformat(stated) if isinstance(stated, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def unheard(memory: Memory, scope: str, records: Sequence[NewRecord]) -> list[NewRecord]:
    """Those of some records that memory does not hold yet: said by nobody else, elsewhere, or at another time."""
    known = _known(memory, scope)
    new: list[NewRecord] = []
    for record in records:
        key = (record.session, _moment(record.time), record.speaker, record.text)
        if known[key]:
            known[key] -= 1
        else:
            new.append(record)
    return new


def unrestored(memory: Memory, scope: str, records: Sequence[ExportedRecord]) -> list[ExportedRecord]:
    """Those of some exported records that memory does not hold yet."""
    known = _known(memory, scope)
    return [each for each in records if not known[_place(each.record)]]


def _known(memory: Memory, scope: str) -> Counter[_Place]:
    """How often what is held was said where, when and by whom."""
    known: Counter[_Place] = Counter()
    for held in memory.export(scope):
        if held.said == 1:
            known[_place(held)] += 1
        else:
            for said in memory.mentions(scope, held.id):
                known[said.session, _moment(said.time), held.speaker, held.text] += 1
    return known


def _place(record: Record) -> _Place:
    return record.session, _moment(record.time), record.speaker, record.text


def _moment(time: datetime | None) -> float | None:
    """A time in seconds since 1970, as it compares after it was stored; without a zone it is UTC."""
    if time is None:
        return None
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp(), 3)
