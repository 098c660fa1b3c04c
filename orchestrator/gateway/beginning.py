"""The beginning of a stream, looked at before anything of it is sent: an error there is one of the call, and another model can be asked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from orchestrator.backends.faults import broken, told_failure
from orchestrator.backends.wire import WireError
from orchestrator.errors import BackendError
from orchestrator.gateway import sse
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.backends.relay import Passage

PATIENCE_S = 5.0  # for the first event after a sign of life: then the caller is told that something is coming


def _says_something(passed: bytes) -> bool:
    """Whether events hold more than comments, an error, and the announcement that an assistant speaks."""
    for piece in passed.split(b"\n\n"):
        content = sse.data_of(piece)
        for choice in sse.parsed_event(content).get("choices") or () if content else ():
            delta = choice.get("delta") or {}
            if choice.get("finish_reason") or choice.get("text") or any(value for name, value in delta.items() if name != "role"):
                return True
    return False


class Begun:
    """An answer under way, with what was read of it already."""

    def __init__(self, reply: Passage) -> None:
        self._reply = reply
        self._coming = reply.chunks()
        self._read: list[bytes] = []

    async def begin(self, model: str, key: str | None) -> None:
        """Reads on until the answer certainly begins. Raises `BackendError` where its first word is an error, or there is none."""
        passage, began = sse.Passage(model), time.monotonic()
        try:
            async for chunk in self._coming:
                self._read.append(chunk)
                passed = passage.feed(chunk)
                if passage.is_done or _says_something(passed) or time.monotonic() - began > PATIENCE_S:
                    return
                if passage.has_failed:
                    raise told_failure(model, passage.failure, passage.usage, key=key)
        except sse.BrokenStream:
            return  # whoever passes it on tells what is wrong
        except WireError as error:
            self._reply.broken(error)
            raise broken(model, error) from None

    @property
    def headers(self) -> dict[str, str]:
        return self._reply.headers

    @property
    def unseen_calls(self) -> int:
        return self._reply.unseen_calls

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        read, self._read = self._read, []
        for chunk in read:
            yield chunk
        async for chunk in self._coming:
            yield chunk

    def broken(self, error: WireError) -> BackendError:
        return self._reply.broken(error)

    def cancel(self) -> None:
        self._reply.cancel()

    def count(self, usage: Usage) -> None:
        self._reply.count(usage)
