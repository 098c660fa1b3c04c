"""The beginning of a stream, looked at before anything of it is sent.

An error there is one of the call, and another model can be asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from orchestrator.backends.provider_errors import TransportError, broken, told_failure
from orchestrator.errors import BackendError
from orchestrator.gateway.http import sse
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.backends.relay import RelayedResponse

REST_S = 0.25  # for what a server sends after the end of an answer
PATIENCE_S = 5.0  # for the first event after a sign of life: then the caller is told that something is coming


def _says_something(passed: bytes) -> bool:
    """Whether events hold more than comments, an error, and the announcement that an assistant speaks."""
    for _, content in sse.events_in(passed):
        for choice in sse.parsed_event(content).get("choices") or () if content else ():
            delta = choice.get("delta") or {}
            if (
                choice.get("finish_reason")
                or choice.get("text")
                or any(value for name, value in delta.items() if name != "role")
            ):
                return True
    return False


class Begun:
    """An answer under way of which the beginning was read.

    `passage` has seen it, `passed` is what of it goes on to the caller.
    """

    def __init__(self, reply: RelayedResponse, model: str, key: str | None) -> None:
        self._reply, self._model, self._key = reply, model, key
        self._coming = reply.chunks()
        self.passage = sse.SSEFilter(model, key)
        self.passed: list[bytes] = []
        self._broken: sse.BrokenStream | None = None

    async def begin(self) -> None:
        """Reads on until the answer certainly begins.

        Raises `BackendError` where its first word is an error, or there is none.
        """
        passage, began = self.passage, time.monotonic()
        try:
            async for chunk in self._coming:
                passed = passage.feed(chunk)
                self.passed.append(passed)
                if passage.is_done or _says_something(passed) or time.monotonic() - began > PATIENCE_S:
                    return
                if passage.has_failed:
                    raise told_failure(self._model, passage.failure, passage.usage, key=self._key)
        except sse.BrokenStream as error:
            self._broken = error  # whoever passes it on tells what is wrong
        except TransportError as error:
            self._reply.broken(error)
            raise broken(self._model, error) from None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, names in small letters."""
        return self._reply.headers

    @property
    def unseen_calls(self) -> int:
        """Calls made beside this one whose answers nobody reads."""
        return self._reply.unseen_calls

    async def pieces(self) -> AsyncIterator[bytes]:
        """What goes on to the caller. Raises as `RelayedResponse.feed` and `chunks` of an answer do."""
        for passed in self.passed:
            yield passed
        if self._broken is not None:
            raise self._broken
        while not self.passage.is_done:
            chunk = await anext(self._coming, None)
            if chunk is None:
                return
            yield self.passage.feed(chunk)
        # It said that it is done: how its connection ends is of no concern to the answer, but its rest is read, so that
        # the next call finds it free.
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(REST_S):
                async for _ in self._coming:
                    pass

    def broken(self, error: TransportError) -> BackendError:
        """What a broken connection means for the caller."""
        return self._reply.broken(error)

    def cancel(self) -> None:
        """Ends the call; nothing more is read."""
        self._reply.cancel()

    def count(self, usage: Usage) -> None:
        """Tells the upstream what the call used."""
        self._reply.count(usage)
