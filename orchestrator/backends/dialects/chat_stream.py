"""Events of a streamed chat completion, with what compatible servers write otherwise put right."""

from __future__ import annotations

from orchestrator.backends.dialects.dialect import (
    flatten_content,
)
from orchestrator.backends.provider_errors import failure_in
from orchestrator.backends.usage import chat_usage, usage_in
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider


class ChatReader:
    """Chunks as they are, with thoughts and usage where everyone looks for them.

    In `reasoning_content`, and in a last chunk of its own.

    Some servers put the usage on the last chunk that still has a choice, and some on every chunk, the sum so far: the
    last counts.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.is_done = False

    def read(self, event: JsonObject) -> list[JsonObject]:
        """An event of the stream with what compatible servers write otherwise put right."""
        choices = event.get("choices")
        if not isinstance(choices, list):
            return [event] if failure_in(event) is not None or event.get("usage") else []
        for choice in choices:
            if (
                isinstance(choice, dict)
                and isinstance(delta := choice.get("delta"), dict)
                and isinstance(delta.get("content"), list)
            ):
                flatten_content(delta)
        if self._provider.thoughts == "reasoning":
            for choice in choices:
                if isinstance(choice, dict):
                    name_thoughts(choice.get("delta"))
        if any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices):
            self.is_done = True
        usage = usage_in(event)
        if usage is None or event.get("usage"):
            return [event]
        return [{**event, "usage": chat_usage(usage)}]


def name_thoughts(holder: JsonValue) -> None:
    """Gives the reasoning that a server shows the one name that clients read."""
    if isinstance(holder, dict) and isinstance(holder.get("reasoning"), str):
        thought = holder.pop("reasoning")
        holder["reasoning_content"] = holder.get("reasoning_content") or thought
