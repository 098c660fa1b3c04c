"""A chat completion as it was asked for.

What of it the search can take, what a model must be able to do, and what it may cost at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.base import Request, needed_capabilities
from orchestrator.backends.dialects.dialect import stated_limit, text_prompt
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import FAMILY_THAT_COUNTS_MOST, TokenizerFamily, request_bound, request_estimate
from orchestrator.types import Message, Query, Role

# What only one draft of a model that knows it can give: the search does not look at pictures.
_BEYOND_SEARCH = (
    "functions",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "audio",
    "prediction",
    "stop",
    "web_search_options",
    "presence_penalty",
    "frequency_penalty",
)
_CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1f]"
)  # says nothing to a router, and would make it take the text for binary data


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`body` is the request in OpenAI's dialect, without what is ours."""

    body: dict[str, Any]

    @property
    def messages(self) -> list[JsonObject]:
        """The messages, as the body states them."""
        found: list[dict[str, Any]] = self.body["messages"]
        return found

    @property
    def max_tokens(self) -> int | None:
        """The longest answer that the caller allows, in tokens; `None` if it says nothing."""
        return stated_limit(self.body)

    @property
    def several(self) -> int:
        """How many answers one call is to give."""
        n, prompt = int(self.body.get("n") or 1), text_prompt(self.body)
        return n if prompt is None else prompt.answers(n)

    @property
    def wants_stream(self) -> bool:
        """Whether the answer shall come as events."""
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether the stream shall end with its usage."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def schema(self) -> JsonObject | None:
        """The JSON Schema that the answer must satisfy."""
        wanted = self.body.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return wanted["json_schema"].get("schema") or {}
        return {"type": "object"} if wanted.get("type") == "json_object" else None

    def beyond_search(self) -> str:
        """Why one draft must do: what the search cannot take; "" if it can take all."""
        for name in _BEYOND_SEARCH:
            if self.body.get(name):
                return name
        if self.several > 1:
            return "n"
        if any(tool.get("type") != "function" for tool in self.body.get("tools") or ()):
            return "a tool that its provider runs"
        if not self._asks_anew and not self._goes_on_after_results:
            return "the last message is not the user's"
        if any(_text(message) is None and not message.get("tool_calls") for message in self.messages):
            return "a message that is not text"
        return ""

    @property
    def _asks_anew(self) -> bool:
        return self.messages[-1].get("role") == "user"

    @property
    def _goes_on_after_results(self) -> bool:
        """Whether the conversation ends with the results of tools that a model called after the user's last message."""
        roles = [message.get("role") for message in self.messages]
        return roles[-1] == "tool" and "user" in roles and bool(self.body.get("tools"))

    def needs(self) -> frozenset[str]:
        """Capabilities that this request asks of a model."""
        found = set()
        if self.body.get("tools") or self.body.get("functions"):
            found.add("tools")
        if (self.body.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
            found.add("json")
        kinds = (
            str(part.get("type"))
            for message in self.messages
            if isinstance(message.get("content"), list)
            for part in message["content"]
        )
        return frozenset(found) | needed_capabilities(kinds)

    def query(self, scope: str, **wishes: Any) -> Query:
        """The conversation as the engine takes it."""
        texts = [(message["role"], _all_text(message)) for message in self.messages]
        last = next(
            (index for index in range(len(texts) - 1, -1, -1) if texts[index][0] == "user" and texts[index][1].strip()),
            None,
        )
        if last is None:  # a picture, or rules alone: one model is asked, and this is what the router goes by
            told = next((text for _, text in reversed(texts) if text.strip()), "What is this?")
            return Query.parse(_CONTROL.sub(" ", told), scope=scope, **wishes)
        said = [_message(message) for message in self.messages]
        if self.body.get("tools") and not self.beyond_search():
            wishes |= {
                "tools": tuple(self.body["tools"]),
                "tool_choice": self.body.get("tool_choice"),
                "parallel_tool_calls": self.body.get("parallel_tool_calls"),
                "continued": tuple(said[last + 1 :]),
            }
        history = tuple(message for message in said[:last] if message.content or message.wire)
        return Query.parse(_CONTROL.sub(" ", texts[last][1]), history=history, scope=scope, **wishes)

    def request(self, max_tokens: int) -> Request:
        """As a backend takes it that is no server: a calculator, or answers from memory."""
        messages = tuple(Message(message["role"], _all_text(message)) for message in self.messages)
        question = next((m.content for m in reversed(messages) if m.role == "user"), "")
        seed = self.body.get("seed")
        return Request(
            messages,
            question,
            max_tokens=max_tokens,
            temperature=self.body.get("temperature"),
            seed=None if seed is None else int(seed),
        )

    def worst_prompt_tokens(self) -> int:
        """At most so many tokens go in."""
        return request_bound(self.body) + self._token_ids

    def prompt_tokens(self, family: TokenizerFamily = FAMILY_THAT_COUNTS_MOST) -> int:
        """About how many tokens of the prompt a provider counts: tools, forms and pictures are among them."""
        return request_estimate(self.body, family) + self._token_ids

    @property
    def _token_ids(self) -> int:
        prompt = text_prompt(self.body)
        return 0 if prompt is None else prompt.token_ids

    def with_notes(self, notes: Sequence[Message]) -> ChatRequest:
        """The same with notes from memory right before the last message of the user."""
        if not notes:
            return self
        messages = list(self.messages)
        at = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=len(messages))
        messages[at:at] = [{"role": note.role, "content": note.content} for note in notes]
        return ChatRequest({**self.body, "messages": messages})


def _message(message: JsonObject) -> Message:
    """A message as the engine takes it; calls of tools and their results go on as they are."""
    role: Role = "tool" if message["role"] == "function" else message["role"]
    is_plain = not message.get("tool_calls") and role != "tool"
    return Message(role, _all_text(message), None if is_plain else message)


def _text(message: JsonObject) -> str | None:
    """The text of a message; `None` if it is more than text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        return "".join(part["text"] for part in content)
    return None


def _all_text(message: JsonObject) -> str:
    """All text in a message, whatever else is in it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str)
        )
    return ""
