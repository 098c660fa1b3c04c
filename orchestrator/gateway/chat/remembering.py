"""Conversations that the gateway keeps (`orchestrator: {remember: true}`).

What is new of them is stored and remembered, and a model is asked with what the turn needs, within a budget of tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from orchestrator.conversation.kept import KeptConversation
from orchestrator.conversation.sent import RULES, branch_of, digest_of, follow, message_text, read_sent
from orchestrator.errors import ConfigError
from orchestrator.gateway.chat.job import ChatJob
from orchestrator.gateway.chat.request import ChatRequest
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject
from orchestrator.search.prompts import notes_messages
from orchestrator.types import Answer, Message

if TYPE_CHECKING:
    from orchestrator.conversation import ConversationStore
    from orchestrator.engine.orchestrator import Orchestrator

CONTEXT_TOKENS = 8_000
TRIES = 3


class RememberedChat:
    """One turn of a conversation that is kept."""

    def __init__(self, kept: KeptConversation) -> None:
        self._kept = kept

    @classmethod
    async def begin(cls, engine: Orchestrator, store: ConversationStore, job: ChatJob) -> RememberedChat | None:
        """Keeps what is new, and asks with what the turn needs instead; `None` where there is nothing to answer.

        Raises `StorageError` where it cannot be kept.
        """
        sent = read_sent(job.asked.messages)
        if not any(turn.role == "user" for turn in sent):
            return None
        tokens = job.options.context_tokens or CONTEXT_TOKENS
        scope = job.tab.served.scope

        def opened(session: str) -> KeptConversation:
            kept = KeptConversation(store, scope, session, engine.memory, engine.usual_backend, tokens)
            kept.load()
            return kept

        for tries in range(TRIES):
            try:
                kept = await asyncio.to_thread(follow, store, opened, scope, sent, job.options.session)
                break
            except ConfigError:  # another request of the same conversation was quicker
                if tries == TRIES - 1:
                    raise
        job.facts.session = kept.session
        await asyncio.to_thread(_shorten, kept, job)
        if job.asked.body["model"] in engine.backends and job.options.memory is not False:
            await asyncio.to_thread(_add_notes, engine, job)
        return cls(kept)

    async def keep(self, message: JsonObject, job: ChatJob) -> None:
        """Keeps what the client is given; it is durable when this returns."""
        facts, text = job.facts, message_text(message)
        if facts.waiting or (not text.strip() and not message.get("tool_calls")):
            return
        cost = job.tab.cost_usd
        answer = Answer(text, facts.confidence or 0.0, facts.model, cost, 0.0, False, facts.stopped, steps=facts.steps)
        digest = digest_of("assistant", text, message.get("tool_calls"))
        job.facts.session = await asyncio.to_thread(self._keep, message, answer, digest)

    def _keep(self, message: JsonObject, answer: Answer, digest: str) -> str:
        """Keeps an answer; in a branch where somebody else went on meanwhile. Gives the session."""
        try:
            self._kept.keep_message(message, answer, digest)
        except ConfigError:
            self._kept = self._kept.fork(branch_of(self._kept.session))
            self._kept.load()
            self._kept.keep_message(message, answer, digest)
        return self._kept.session

    async def keep_whole(self, content: bytes, job: ChatJob) -> None:
        """Keeps the first choice of a completion."""
        choices = sse.parsed_event(content).get("choices") or ()
        message = choices[0].get("message") if choices else None
        if isinstance(message, dict):
            await self.keep(message, job)

    async def kept_stream(self, events: AsyncIterator[bytes], job: ChatJob) -> AsyncGenerator[bytes, None]:
        """The events of a completion; what they say is kept before the last one."""
        said = _Transcript()
        async with aclosing(events):  # type: ignore[type-var]
            async for piece in events:
                if said.take(piece):
                    await self.keep(said.message, job)
                yield piece


class _Transcript:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._has_failed = self._is_over = False

    @property
    def message(self) -> JsonObject:
        """It as a message."""
        text, calls = "".join(self._text), [self._calls[place] for place in sorted(self._calls)]
        found: JsonObject = {"role": "assistant", "content": text or None}
        return found | ({"tool_calls": calls} if calls else {})

    def take(self, piece: bytes) -> bool:
        """Reads a piece of the stream; whether it ends an answer that did not fail."""
        for _, content in sse.events_in(piece):
            if content == b"[DONE]":
                is_first, self._is_over = not self._is_over, True
                return is_first and not self._has_failed
            if content is not None:
                try:
                    self._add(sse.parsed_event(content))
                except sse.BrokenStream:
                    self._has_failed = True
        return False

    def _add(self, chunk: JsonObject) -> None:
        self._has_failed |= "error" in chunk and "choices" not in chunk
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            if choice.get("index") or not isinstance(delta, dict):
                continue
            self._text.append(str(delta.get("content") or ""))
            for call in delta.get("tool_calls") or ():
                made = self._calls.setdefault(
                    int(call.get("index") or 0),
                    {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
                )
                function = call.get("function") or {}
                made["id"] = made["id"] or call.get("id") or ""
                made["function"]["name"] += function.get("name") or ""
                made["function"]["arguments"] += function.get("arguments") or ""


def _shorten(kept: KeptConversation, job: ChatJob) -> None:
    """Asks with the last turns and a summary of the rest instead of the whole history."""
    turns, messages = kept.turns, job.asked.messages
    position = max(turn.position for turn in turns if turn.role == "user")
    built = kept.prompt(position, None)
    rules = [message for message in messages if message.get("role") in RULES]
    last = max(number for number, message in enumerate(messages) if message.get("role") == "user")
    now = [message for message in messages[last:] if message.get("role") not in RULES]
    shown = [_wire(message) for message in built.history]
    job.asked = ChatRequest({**job.asked.body, "messages": [*rules, *shown, *now]})
    job.recall_limits = built.recall_limits(kept.context_tokens)


def _add_notes(engine: Orchestrator, job: ChatJob) -> None:
    """Puts what memory recalls before the last message, for a model that the caller names."""
    limits, memory = job.recall_limits, engine.memory
    if memory is None or limits is None:
        return
    question = next((message_text(m) for m in reversed(job.asked.messages) if m.get("role") == "user"), "")
    recall = memory.recall(
        question,
        job.tab.served.scope,
        token_budget=limits.tokens,
        without=limits.without,
        min_relevance=limits.min_relevance,
    )
    job.asked = job.asked.with_notes(notes_messages(recall))


def _wire(message: Message) -> JsonObject:
    return message.wire if message.wire is not None else {"role": message.role, "content": message.content}
