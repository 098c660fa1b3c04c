"""Conversations in the forms of others: messages as OpenAI's and Anthropic's APIs take them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.backends.base import as_wire
from orchestrator.backends.dialects.anthropic import AnthropicDialect
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.table import PROVIDERS
from orchestrator.types import Message


def as_openai(messages: Sequence[Message]) -> list[JsonObject]:
    """Messages of a chat completion."""
    return [as_wire(message) for message in messages]


def as_anthropic(messages: Sequence[Message]) -> JsonObject:
    """`system` and `messages` of Anthropic's messages API: turns alternate, results of tools are the user's."""
    if not messages:
        return {"messages": []}
    body = {"messages": as_openai(messages)}
    sent = AnthropicDialect().outgoing(body, PROVIDERS["anthropic"], "claude", most_tokens=1_000).body
    return {name: sent[name] for name in ("system", "messages") if name in sent}
