"""What a dialect is: pure translation, no network.

Bodies, answers and chunks are dicts in the words of OpenAI's chat completions.

Beside OpenAI's own fields these pass through every dialect that knows them: `cache_control` on a part of a message
(Anthropic's; the prefix up to there is worth keeping), `reasoning_content` of an assistant's message (its thoughts),
what is signed of them (`backends.signatures`), `file_url` of a file, `is_error` of a tool's result; and what one
dialect alone has: tools and blocks of its own (`own_tool`, `own_block`), and the fields under its name (`anthropic`,
`responses`). Another dialect leaves such tools and blocks of earlier turns out, and refuses what the caller asks of it
now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.backends.usage import chat_usage
from orchestrator.errors import BackendRejected
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider
from orchestrator.types import Usage

UNSUPPORTED = "unsupported: "
RAW_FIELDS = ("suffix", "echo", "best_of", "logprobs")
"""What a text's completion can have beyond a chat's (its `logprobs` is a number)."""
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is posted: `path` behind the provider's address."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """The field `completion` of a request that completes a text as it stands, where its server can
    (`Provider.completions`).

    `prompt` is a text, several, or token ids; `fields` are those of `RAW_FIELDS` that were stated. The texts are the
    messages, too, so that whoever counts or chooses by them sees them.
    """

    prompt: str | list[Any]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The prompts that are text; others are lists of tokens."""
        given = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        return [each for each in given if isinstance(each, str)]

    @property
    def token_ids(self) -> int:
        """How many token ids are given."""
        given = self.prompt if isinstance(self.prompt, list) else []
        return sum(len(each) if isinstance(each, list) else isinstance(each, int) for each in given)

    def answers(self, n: int) -> int:
        """How many answers are written for `n` of each prompt, those among them that only the best is chosen of."""
        several = isinstance(self.prompt, list) and not isinstance(self.prompt[0], int)
        return (len(self.prompt) if several else 1) * max(n, int(self.fields.get("best_of") or 1))

    def beyond_chat(self) -> str:
        """What of it a conversation cannot give; "" where it can give all."""
        if self.token_ids:
            return "a prompt of token ids"
        if len(self.texts) > 1:
            return "several prompts in one request"
        if int(self.fields.get("best_of") or 1) > 1:
            return "best_of"
        if self.fields.get("logprobs") is not None:
            return "logprobs"
        return next((name for name in ("suffix", "echo") if self.fields.get(name)), "")


class StreamReader(Protocol):
    """Turns the events of one stream into chunks. `is_done` once the answer came to its end."""

    is_done: bool

    def read(self, event: JsonObject) -> list[JsonObject]:
        """Chunks of a chat completion; one with `error` where the server reports one.

        The last holds the usage and no choices.
        """
        ...


class Dialect(Protocol):
    """One wire format: chat completions of OpenAI's go in and come out, whatever is spoken between."""

    def outgoing(self, body: JsonObject, provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """`body` for `model`.

        An API that must be told how long an answer may be is told `most_tokens` where the body does not say.

        Raises `BackendRejected` on what this API cannot do: nothing was sent, another model may be asked.
        """
        ...

    def completion(self, payload: JsonObject, provider: Provider) -> JsonObject:
        """An answer as a chat completion. What is no answer comes back without `choices`."""
        ...

    def reader(self, provider: Provider) -> StreamReader:
        """Reads the events of one stream; a new one for each."""


def stated_limit(body: JsonObject) -> int | None:
    """How many tokens an answer may have, by whichever of its two names that has a value.

    By the smaller one, where both have.
    """
    one, other = body.get("max_tokens"), body.get("max_completion_tokens")
    if one is None or other is None:
        stated = other if one is None else one
        return None if stated is None else int(stated)
    return min(int(one), int(other))


def refused(provider: Provider, what: str) -> BackendRejected:
    """For what an API cannot do."""
    title = provider.title or provider.name
    return BackendRejected(
        f"{title} cannot do this: {what}", remedy="Ask another model, or leave it out", detail=f"{UNSUPPORTED}{what}"
    )


def check_lacks(body: JsonObject, provider: Provider) -> None:
    """Raises `BackendRejected` if `body` asks for what would silently be missing from the answer."""
    several = body.get("n") or 1
    most = 1 if "n" in provider.lacks else provider.most_choices
    if several > most:
        raise refused(provider, f"n={several}" + (f" (at most {most})" if most > 1 else ""))
    if (body.get("anthropic") or {}).get("mcp_servers") and provider.dialect != "anthropic":
        raise refused(provider, "mcp_servers")
    for name in sorted(provider.lacks):
        if name != "n" and body.get(name) not in (None, False, [], {}):
            raise refused(provider, name)


def text_prompt(body: JsonObject) -> TextPrompt | None:
    """What is to be completed as it stands; `None` for a conversation."""
    prompt = body.get("completion")
    return prompt if isinstance(prompt, TextPrompt) else None


def as_conversation(body: JsonObject, provider: Provider) -> JsonObject:
    """A text's completion as a message of the user. Raises `BackendRejected` on what a conversation cannot give."""
    prompt = text_prompt(body)
    if prompt is not None and (beyond := prompt.beyond_chat()):
        raise refused(provider, beyond)
    return {name: value for name, value in body.items() if name != "completion"}


def whole(payload_id: JsonValue, model: JsonValue, choices: list[JsonObject], usage: Usage | None) -> JsonObject:
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


def choice(index: int, message: JsonObject, finish: str | None) -> JsonObject:
    """One choice of a chat completion."""
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish or "stop"}


class Chunks:
    """Makes the chunks of one stream."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""

    def chunk(self, delta: JsonObject, finish: str | None = None, index: int = 0) -> JsonObject:
        """One chunk of a streamed chat completion."""
        return self._around([{"index": index, "delta": delta, "finish_reason": finish}])

    def usage(self, usage: Usage) -> JsonObject:
        """The chunk that tells the usage at the end of a stream."""
        return self._around([]) | {"usage": chat_usage(usage)}

    def _around(self, choices: list[JsonObject]) -> JsonObject:
        return {"id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": choices}


def own_tool(dialect: str, tool: JsonObject) -> JsonObject:
    """A tool that only one dialect knows: its provider runs it."""
    return {"type": "own", "dialect": dialect, "tool": tool}


def own_block(dialect: str, block: JsonObject) -> JsonObject:
    """A part of a message that only one dialect knows."""
    return {"type": "own", "dialect": dialect, "block": block}


def tools_for(body: JsonObject, provider: Provider, *, dialect: str = "") -> list[JsonObject]:
    """The tools that this dialect knows.

    Another one's are left out, unless the caller wants one of them to be called. Raises `BackendRejected`.
    """
    found = [tool for tool in body.get("tools") or () if tool.get("type") != "own" or tool.get("dialect") == dialect]
    chosen = body.get("tool_choice")
    if isinstance(chosen, dict) and len(found) < len(body["tools"]):
        name = (chosen.get("function") or chosen).get("name")
        if all((tool.get("function") or tool).get("name") != name for tool in found):
            raise refused(provider, f"the tool {name or chosen.get('type')!r}, which only another provider runs")
    return found


def parts_of(content: JsonValue, *, dialect: str = "") -> list[JsonObject]:
    """A message's content as parts, without what another dialect alone knows."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = [part for part in content or () if isinstance(part, dict)]
    return [part for part in parts if part.get("type") != "own" or part.get("dialect") == dialect]


def result_text(message: JsonObject) -> str:
    """The text of a tool's result; of a failure it says so."""
    text = text_of(message.get("content"))
    return f"Error: {text}" if message.get("is_error") else text


def flatten_content(message: JsonValue) -> bool:
    """Makes a text of content that is a list of parts, and thoughts of what is thought in it (Mistral's).

    False if nothing was to be done.
    """
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return False
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") == "thinking":
            thoughts.append(text_of(part.get("thinking")))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    message["content"] = "".join(texts)
    if thoughts:
        message["reasoning_content"] = (message.get("reasoning_content") or "") + "".join(thoughts)
    return True


def json_instruction(response_format: JsonObject) -> str:
    """For a model whose server cannot hold it to a form: what it is told."""
    if response_format.get("type") == "json_schema":
        schema = response_format.get("json_schema", {}).get("schema") or {}
        return "Answer with one JSON value that satisfies this JSON Schema, and nothing else:\n" + json.dumps(schema)
    return "Answer with one JSON object, and nothing else."


def text_of(content: JsonValue) -> str:
    """The text of a message's content: text, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def picture_of(part: JsonObject) -> tuple[str, str, bool]:
    """(media type, base64 data or address, whether it is data) of an `image_url` part."""
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    url = url if isinstance(url, str) else ""
    if url.startswith("data:"):
        head, _, content = url[5:].partition(",")
        return head.partition(";")[0] or "image/png", content, True
    return "", url, False
