"""Conversations of clients that send all of it each time: only what is new is kept, edits and branches are noticed.

Messages are known by digests of what they say, so that a client may leave out the oldest, or write a message anew in
another form of the same words.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from orchestrator.conversation.kept import MAX_REMEMBERED_RESULT, KeptConversation
from orchestrator.conversation.store import ConversationStore, Turn
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools.results import trimmed
from orchestrator.types.message import Role

MAX_CANDIDATES = 20
MAX_PART_CHARS = 2_000  # of a picture or a file that is kept with a message
RULES = ("system", "developer")
NOTICE = "Approval is needed before this goes on: "  # stands in an answer whose run waits


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where messages stand in a conversation.

    Args:
        matched: How many of the messages stand there already.
        position: The place in the conversation behind the last of them.
        is_at_end: Whether nothing was said there since.
    """

    matched: int
    position: int
    is_at_end: bool


def read_sent(messages: Sequence[JsonObject]) -> list[Turn]:
    """The messages of a request in OpenAI's form as turns; rules, and notices of our own, are not among them."""
    names = {
        str(call.get("id")): str((call.get("function") or {}).get("name") or "")
        for message in messages
        for call in message.get("tool_calls") or ()
    }
    said = (message for message in messages if message.get("role") not in RULES and not _is_notice(message))
    return [_turn(message, names) for message in said]


def _is_notice(message: JsonObject) -> bool:
    return message.get("role") == "assistant" and NOTICE in message_text(message)


def _turn(message: JsonObject, names: dict[str, str]) -> Turn:
    role: Role = "tool" if message.get("role") == "function" else message["role"]
    text, content = message_text(message), message.get("content")
    digest = digest_of(role, text, message.get("tool_calls"))
    about: JsonObject | None = None
    wire: JsonObject | None = None
    if role == "tool":
        text = trimmed(text, MAX_REMEMBERED_RESULT)
        about = {"tool": names.get(str(message.get("tool_call_id")), "")}
        wire = {**message, "content": text}
    elif message.get("tool_calls"):
        wire = message
    elif isinstance(content, list) and any(part.get("type") != "text" for part in content):
        wire = {**message, "content": [_small(part) for part in content]}
    return Turn(0, role, text, wire, about=about, digest=digest)


def _small(part: JsonObject) -> JsonObject:
    """A part of a message; of one that is large, what it was."""
    size = len(orjson.dumps(part))
    if part.get("type") == "text" or size <= MAX_PART_CHARS:
        return part
    return {"type": "text", "text": f"[{part.get('type')}, {size:,} characters, not kept]"}


def message_text(message: JsonObject) -> str:
    """All text of a message."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def digest_of(role: str, text: str, calls: JsonValue = None) -> str:
    """What a message is known by: who says what, and what is called with which arguments."""
    called: list[JsonValue] = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") or {}
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            with contextlib.suppress(orjson.JSONDecodeError):
                arguments = orjson.loads(arguments)
        called.append([function.get("name"), arguments])
    said = orjson.dumps([role, " ".join(text.split()), called], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()[:32]


def align(turns: Sequence[Turn], sent: Sequence[Turn]) -> Alignment:
    """Where the beginning of `sent` stands in `turns`: as much of it as can be, at the end where there is a choice.

    What begins in the middle of the conversation (a client that sends the last messages only) must be two messages at
    least: many conversations hold a lone "yes".
    """
    seen = [turn for turn in turns if turn.digest]
    best = Alignment(0, 0, not seen)
    for begin, length in enumerate(_common_beginnings([t.digest for t in sent], [t.digest for t in seen])):
        if length == 0 or (begin > 0 and length < 2):
            continue
        is_at_end = begin + length == len(seen)
        if (length, is_at_end) > (best.matched, best.is_at_end):
            position = len(turns) if is_at_end else seen[begin + length - 1].position + 1
            best = Alignment(length, position, is_at_end)
    return best


def _common_beginnings(sent: Sequence[str], seen: Sequence[str]) -> list[int]:
    """How many items `seen`, read from each of its places on, has in common with the beginning of `sent`.

    By the Z-algorithm (Gusfield 1997, section 1.4), in time that is linear also where all messages are equal.
    """
    both = [*sent, "", *seen]
    lengths, left, right = [0] * len(both), 0, 0
    for place in range(1, len(both)):
        length = min(right - place, lengths[place - left]) if place < right else 0
        while place + length < len(both) and both[length] == both[place + length]:
            length += 1
        lengths[place] = length
        if place + length > right:
            left, right = place, place + length
    return lengths[len(sent) + 1 :]


def follow(
    store: ConversationStore,
    open: Callable[[str], KeptConversation],
    scope: str,
    sent: Sequence[Turn],
    session: str | None,
) -> KeptConversation:
    """The conversation that `sent` goes on with, what is new of it added. Blocks.

    A named session is what the client says that it is: where it differs, what was said otherwise is taken back.
    Without a name, the conversation is found by what was said, and where it differs a branch of it begins.
    """
    if session is not None:
        kept = open(session)
        at = align(kept.turns, sent)
        if at.matched == 0 and kept.turns:
            sent = sent[_last_message(sent) :]  # it sends what is new, or has written its history anew
        elif not at.is_at_end:
            kept.cut(at.position)
        return _with(kept, sent[at.matched :])
    found = _known(store, open, scope, sent)
    if found is None:
        return _with(open(secrets.token_hex(8)), sent)
    kept, at = found
    if not at.is_at_end:
        kept = kept.fork(branch_of(kept.session), at.position)
        kept.load()
    return _with(kept, sent[at.matched :])


def branch_of(session: str) -> str:
    """A name for another way that a conversation went."""
    return f"{session.partition('~')[0]}~{secrets.token_hex(3)}"


def _known(
    store: ConversationStore, open: Callable[[str], KeptConversation], scope: str, sent: Sequence[Turn]
) -> tuple[KeptConversation, Alignment] | None:
    """The conversation of a scope that holds most of what was sent; `None` if none does."""
    said = next((turn for turn in reversed(sent) if turn.role == "assistant"), None)
    looked_for = said or sent[-1]
    best: tuple[KeptConversation, Alignment] | None = None
    for session in store.with_message(scope, looked_for.digest, MAX_CANDIDATES):
        kept = open(session)
        at = align(kept.turns, sent)
        if said is None and not (at.is_at_end and at.matched == len(sent)):
            continue  # another conversation that began with the same words
        if at.matched and (best is None or _worth(at) > _worth(best[1])):
            best = kept, at
    return best


def _worth(at: Alignment) -> tuple[int, bool]:
    return at.matched, at.is_at_end


def _last_message(sent: Sequence[Turn]) -> int:
    """The place of the user's last message."""
    return max((number for number, turn in enumerate(sent) if turn.role == "user"), default=0)


def _with(kept: KeptConversation, new: Sequence[Turn]) -> KeptConversation:
    if new:
        begin = len(kept.turns)
        kept.add([replace(turn, position=begin + number) for number, turn in enumerate(new)])
    return kept
