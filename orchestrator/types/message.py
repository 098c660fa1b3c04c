"""One turn of a conversation, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from orchestrator.errors import InvalidQuery
from orchestrator.jsontypes import JsonObject

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)
FORM = '{"role": "user", "content": "..."}'


SIGNED_FIELDS = {"thinking_blocks": list, "reasoning_items": list, "reasoning_content": str, "extra_content": dict}
"""Fields of a chat completion's message that must go back to the model that wrote it: its thoughts, signed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `content` is its text. `wire` is the whole message in OpenAI's form where it is more than text (pictures, files,
    sound, calls of tools); it is what models are sent then. `by` is the model that said it, if one did: what it signed
    goes back to that one alone.
    """

    role: Role
    content: str
    wire: JsonObject | None = None
    by: str = ""

    @classmethod
    def parse(cls, stated: object) -> Message:
        """A message, or the mapping or client's object that OpenAI's chat completions take for one.

        Raises `InvalidQuery` with what is wrong and what to write.
        """
        if isinstance(stated, Message):
            return _checked(stated)
        wire = _mapping(stated)
        role = wire.get("role")
        if role == "function":
            role = "tool"
        if role not in ROLES:
            told = "it has no role" if role is None else f"its role is {role!r}"
            raise InvalidQuery(f"a message cannot be used: {told}", remedy=f"Roles are {', '.join(ROLES)}")
        content = wire.get("content")
        if isinstance(content, tuple):
            content = wire["content"] = list(content)
        if isinstance(content, str) and wire.keys() <= {"role", "content"}:
            return _checked(cls(role, content))
        if content is None and not wire.keys() & {"tool_calls", "function_call", "refusal", "audio"}:
            raise InvalidQuery(f"a message of the {role} has no content", remedy=f"Write {FORM}")
        return _checked(cls(role, text_of(content), wire))


def text_of(content: object) -> str:
    """All text of a message's content. Raises `InvalidQuery` on content that is neither text nor a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise InvalidQuery(
            f"the content of a message is {type(content).__name__}, not text or a list of parts", remedy=f"Write {FORM}"
        )
    return "".join(text for part in content if (text := _text_of_part(part)) is not None)


def _text_of_part(part: object) -> str | None:
    """The text of a part; `None` of one that is no text. Raises `InvalidQuery` on what is no part in OpenAI's form."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str):
        raise InvalidQuery(
            f"a part of a message has no type: {str(part)[:60]}", remedy='Write {"type": "text", "text": "..."}'
        )
    if kind in ("image", "document"):
        raise InvalidQuery(
            f"a part of the type {kind!r} is in Anthropic's form, and messages here are in OpenAI's",
            remedy='Write {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}, or pass '
            "attachments=[PATH]",
        )
    if kind != "text":
        return None
    text = part.get("text")
    if not isinstance(text, str):
        raise InvalidQuery("a part of the type text has no text", remedy='Write {"type": "text", "text": "..."}')
    return text


def _mapping(stated: object) -> dict[str, Any]:
    if isinstance(stated, Mapping):
        return dict(stated)
    dump = getattr(stated, "model_dump", None)  # a message of a client's package
    if callable(dump):
        return dict(dump(exclude_none=True))
    raise InvalidQuery(f"a message must be a Message or a mapping, not {type(stated).__name__}", remedy=f"Write {FORM}")


def _checked(message: Message) -> Message:
    if message.role not in ROLES:
        raise InvalidQuery(f"a message has the role {message.role!r}", remedy=f"Roles are {', '.join(ROLES)}")
    if not isinstance(message.content, str):
        raise InvalidQuery(
            f"the content of a message is {type(message.content).__name__}, not text", remedy=f"Write {FORM}"
        )
    try:
        message.content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidQuery(
            f"a message is not valid Unicode (character {error.start})", remedy="Repair the lone surrogate"
        ) from None
    return message
