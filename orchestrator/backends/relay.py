"""Passes a caller's own request on to a model, and the answer back as the bytes of a chat completion.

What a gateway needs.

Answers that are in OpenAI's words already go through unread; all others are translated event by event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import orjson

from orchestrator.backends.dialects.chat import is_plain
from orchestrator.backends.http.answer_json import parse_answer, parse_whole_answer, write_answer
from orchestrator.backends.http.retry import RetryBudget
from orchestrator.backends.http.sse import EventParser
from orchestrator.backends.http.upstream import PendingResponse, Upstream
from orchestrator.backends.provider_errors import TransportError
from orchestrator.backends.usage import chat_usage, usage_in
from orchestrator.errors import BackendError, BadResponse
from orchestrator.jsontypes import JsonObject
from orchestrator.types import Usage

DONE = b"data: [DONE]\n\n"


class RelayedResponse(Protocol):
    """An answer under way, as bytes in OpenAI's dialect.

    `read` raises `BackendError` where it breaks off, `chunks` that or `TransportError`; whoever reads chunks calls
    `cancel` in the end.
    """

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, names in small letters."""

    @property
    def unseen_calls(self) -> int:
        """Calls made beside this one whose answers nobody reads."""

    async def read(self) -> bytes:
        """The whole answer as bytes of a chat completion."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The answer as it is written, as server-sent events of chat completions."""

    def broken(self, error: TransportError) -> BackendError:
        """What a body that broke off means; it speaks against the server."""
        ...

    def cancel(self) -> None:
        """Ends the call; nothing more is read."""

    def count(self, usage: Usage) -> None:
        """Notes what the server read, and how much of it from its cache."""
        ...


class Relay:
    """One model, whatever it speaks."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def retries(self) -> RetryBudget:
        """How many more calls may be made than were asked for."""
        return self._upstream.retries

    @property
    def key(self) -> str | None:
        """The key that its server is shown: nobody else is."""
        return self._upstream.key

    @property
    def most_calls(self) -> int:
        """How many calls one request may become, where it is hedged."""
        return self._upstream.most_calls

    @property
    def is_available(self) -> bool:
        """Whether any server of the model may be asked."""
        return self._upstream.replicas.is_available

    @property
    def keeps_prefixes_apart(self) -> bool:
        """Whether its server heeds `cache_salt`."""
        return self._upstream.provider.cache_salt

    async def chat(self, body: JsonObject, *, timeout_s: float) -> RelayedResponse:
        """Sends a chat completion. Raises `BackendError` unless the status of the answer is 200."""
        answering = await self._upstream.ask(body, timeout_s=timeout_s)
        return answering if is_plain(self._upstream.provider) else Translated(answering, self._upstream)

    async def post(self, path: str, body: JsonObject, *, timeout_s: float) -> RelayedResponse:
        """Sends a body of another kind (`/embeddings`)."""
        return await self._upstream.post(path, body, timeout_s=timeout_s)


class Translated:
    """An answer of another dialect."""

    def __init__(self, answering: PendingResponse, upstream: Upstream) -> None:
        self._answering = answering
        self._upstream = upstream

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, names in small letters."""
        return self._answering.headers

    @property
    def unseen_calls(self) -> int:
        """Calls made beside this one whose answers nobody reads."""
        return self._answering.unseen_calls

    async def read(self) -> bytes:
        """The whole answer, translated into a chat completion."""
        content = await self._answering.read()
        try:
            payload = parse_whole_answer(content)
        except ValueError:
            return content  # whoever reads it says what is wrong
        if not isinstance(payload, dict):
            return content
        return orjson.dumps(self._counted(self._upstream.dialect.completion(payload, self._upstream.provider)))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer as it is written, translated into server-sent events of chat completions."""
        parser, reader = EventParser(), self._upstream.dialect.reader(self._upstream.provider)
        is_marked_done = False
        async for data in self._answering.chunks():
            found: list[bytes] = []
            try:
                for event in parser.feed(data):
                    if event.strip() == "[DONE]":
                        is_marked_done = True
                        break
                    parsed = parse_answer(event)
                    if isinstance(parsed, dict):
                        found += [b"data: %b\n\n" % write_answer(self._counted(chunk)) for chunk in reader.read(parsed)]
            except ValueError as error:
                raise BadResponse(
                    f"{self._upstream.where}: the stream holds no events: {error}", remedy="Ask again"
                ) from None
            if found:
                yield b"".join(found)
            if is_marked_done:
                break
        if is_marked_done or reader.is_done:
            yield DONE

    def cancel(self) -> None:
        """Ends the call; nothing more is read."""
        self._answering.cancel()

    def broken(self, error: TransportError) -> BackendError:
        """What a broken connection means for the caller."""
        return self._answering.broken(error)

    def count(self, usage: Usage) -> None:
        """Tells the upstream what the call used, for its caches and limits."""
        self._answering.count(usage)

    def _counted(self, payload: JsonObject) -> JsonObject:
        """With what was written to an explicit cache before the call."""
        usage = usage_in(payload) if self._answering.written_tokens else None
        return payload if usage is None else {**payload, "usage": chat_usage(self._answering.whole_usage(usage))}
