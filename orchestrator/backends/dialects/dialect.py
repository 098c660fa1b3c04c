"""What a dialect is: pure translation, no network. Bodies, answers and chunks are dicts in the words of OpenAI's chat completions.

Beside OpenAI's own fields these pass through every dialect that knows them: `cache_control` on a part of a message (Anthropic's; the prefix up to
there is worth keeping), `reasoning_content` of an assistant's message (its thoughts) and `thinking_blocks` (the same as the provider signed them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.backends.usage import chat_usage
from orchestrator.errors import BackendRejected
from orchestrator.provider import Provider
from orchestrator.types import Usage

TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is posted: `path` behind the provider's address."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class StreamReader(Protocol):
    """Turns the events of one stream into chunks. `is_done` once the answer came to its end."""

    is_done: bool

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Chunks of a chat completion; one with `error` where the server reports one. The last holds the usage and no choices."""
        ...


class Dialect(Protocol):
    def outgoing(self, body: dict[str, Any], provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """`body` for `model`; an API that must be told how long an answer may be is told `most_tokens` where the body does not say.

        Raises `BackendRejected` on what this API cannot do: nothing was sent, another model may be asked.
        """
        ...

    def completion(self, payload: dict[str, Any], provider: Provider) -> dict[str, Any]:
        """An answer as a chat completion. What is no answer comes back without `choices`."""
        ...

    def reader(self, provider: Provider) -> StreamReader: ...


def stated_limit(body: dict[str, Any]) -> int | None:
    """How many tokens an answer may have, by whichever of its two names that has a value; by the smaller one, where both have."""
    one, other = body.get("max_tokens"), body.get("max_completion_tokens")
    if one is None or other is None:
        stated = other if one is None else one
        return None if stated is None else int(stated)
    return min(int(one), int(other))


def refused(provider: Provider, what: str) -> BackendRejected:
    """For what an API cannot do."""
    title = provider.title or provider.name
    return BackendRejected(f"{title} cannot do this: {what}", remedy="Ask another model, or leave it out", detail=f"unsupported: {what}")


def check_lacks(body: dict[str, Any], provider: Provider) -> None:
    """Raises `BackendRejected` if `body` asks for what would silently be missing from the answer."""
    several = body.get("n") or 1
    most = 1 if "n" in provider.lacks else provider.most_choices
    if several > most:
        raise refused(provider, f"n={several}" + (f" (at most {most})" if most > 1 else ""))
    for name in sorted(provider.lacks):
        if name != "n" and body.get(name) not in (None, False, [], {}):
            raise refused(provider, name)


def whole(payload_id: Any, model: Any, choices: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
    """A chat completion."""
    found: dict[str, Any] = {
        "id": str(payload_id or ""),
        "object": "chat.completion",
        "created": 0,
        "model": str(model or ""),
        "choices": choices,
    }
    if usage is not None:
        found["usage"] = chat_usage(usage)
    return found


def choice(index: int, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish or "stop"}


class Chunks:
    """Makes the chunks of one stream."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""

    def chunk(self, delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
        return self._around([{"index": index, "delta": delta, "finish_reason": finish}])

    def usage(self, usage: Usage) -> dict[str, Any]:
        return self._around([]) | {"usage": chat_usage(usage)}

    def _around(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": choices}


def json_instruction(response_format: dict[str, Any]) -> str:
    """For a model whose server cannot hold it to a form: what it is told."""
    import json

    if response_format.get("type") == "json_schema":
        schema = response_format.get("json_schema", {}).get("schema") or {}
        return "Answer with one JSON value that satisfies this JSON Schema, and nothing else:\n" + json.dumps(schema)
    return "Answer with one JSON object, and nothing else."


def text_of(content: Any) -> str:
    """The text of a message's content: text, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def picture_of(part: dict[str, Any]) -> tuple[str, str, bool]:
    """(media type, base64 data or address, whether it is data) of an `image_url` part."""
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    url = url if isinstance(url, str) else ""
    if url.startswith("data:"):
        head, _, content = url[5:].partition(",")
        return head.partition(";")[0] or "image/png", content, True
    return "", url, False
