"""The content blocks of a message that is streamed in Anthropic's words.

Each begins, grows and ends before the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import orjson

from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject


@dataclass(slots=True)
class _Call:
    """A call of a tool as far as it came.

    Of its arguments `sent` characters went on to the client, once it has begun there.
    """

    id: str
    name: str
    arguments: str = ""
    sent: int = 0
    has_begun: bool = False
    is_over: bool = False
    _looked_at: int = -1  # characters of its arguments when it was last parsed
    _was_whole: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are JSON; parsed again only when more of them have come."""
        if not self.is_over and self._looked_at != len(self.arguments):
            self._looked_at = len(self.arguments)
            try:
                orjson.loads(self.arguments)
                self._was_whole = True
            except orjson.JSONDecodeError:
                self._was_whole = False
        return self.is_over or self._was_whole


class MessageBlocks:
    """Makes the events of the blocks of one message.

    Where pieces come in turns, the call that began goes on as it comes; other calls, and whatever else is told, wait
    for it to be whole.
    """

    def __init__(self) -> None:
        self._index = -1
        self._open: tuple[str, int] | None = None
        self._calls: dict[int, _Call] = {}
        self._waiting: list[Callable[[], list[bytes]]] = []  # what tells the texts, thoughts and blocks that wait

    @property
    def has_called(self) -> bool:
        """Whether the message holds a call."""
        return bool(self._calls)

    def text(self, piece: str) -> list[bytes]:
        """A piece of text."""
        if self._must_wait(partial(self.text, piece)):
            return []
        events = self._switch(("text", 0), {"type": "text", "text": ""})
        return [*events, self._delta({"type": "text_delta", "text": piece})]

    def thought(self, piece: str) -> list[bytes]:
        """A piece of a thought."""
        if self._must_wait(partial(self.thought, piece)):
            return []
        events = self._switch(("thinking", 0), {"type": "thinking", "thinking": "", "signature": ""})
        return [*events, self._delta({"type": "thinking_delta", "thinking": piece})]

    def signed(self, block: JsonObject) -> list[bytes]:
        """The end of a thought, as its provider signed it."""
        if self._must_wait(partial(self.signed, block)):
            return []
        if block.get("type") != "thinking" or self._open is None or self._open[0] != "thinking":
            events = self._switch(("signed", self._index + 1), block)
            return [*events, *self._end()]
        return [self._delta({"type": "signature_delta", "signature": block.get("signature") or ""}), *self._end()]

    def tool(self, number: int, call: JsonObject) -> list[bytes]:
        """A piece of the call of this number; the first has its id and name."""
        function = call.get("function") or {}
        told = self._calls.setdefault(number, _Call(call.get("id") or f"toolu_{number}", function.get("name") or ""))
        if told.is_over or (told.has_begun and self._open != ("tool", number)):
            return []  # what comes after a whole call is blank
        told.arguments += function.get("arguments") or ""
        current = self._open[1] if self._open is not None and self._open[0] == "tool" else number
        if current != number and not self._calls[current].is_whole:
            return []
        return self._called(number)

    def whole(self, block: JsonObject) -> list[bytes]:
        """A block that comes at once."""
        if self._must_wait(partial(self.whole, block)):
            return []
        return [*self._switch(("whole", self._index + 1), block), *self._end()]

    def cited(self, citations: list[JsonObject]) -> list[bytes]:
        """What the text that is being written cites; nothing, where none is."""
        if self._open is None or self._open[0] != "text":
            return []
        return [self._delta({"type": "citations_delta", "citation": citation}) for citation in citations]

    def close(self) -> list[bytes]:
        """Ends the block that is open, and tells all that waits."""
        events = self._end()
        for number, call in self._calls.items():
            if not call.has_begun:
                events += [*self._called(number), *self._end()]
            call.is_over = True
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            events += tell()
        return [*events, *self._end()]

    def _must_wait(self, tell: Callable[[], list[bytes]]) -> bool:
        """Whether a call is not whole yet: then what `tell` tells waits for it."""
        if all(call.is_whole for call in self._calls.values()):
            return False
        self._waiting.append(tell)
        return True

    def _called(self, number: int) -> list[bytes]:
        """What of a call was not sent yet, in its block."""
        call = self._calls[number]
        events = self._begin(("tool", number), {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        piece, call.sent, call.has_begun = call.arguments[call.sent :], len(call.arguments), True
        return [*events, self._delta({"type": "input_json_delta", "partial_json": piece})] if piece else events

    def _switch(self, to: tuple[str, int], begun: JsonObject) -> list[bytes]:
        """Goes on with another block; calls that wait come before it."""
        return [] if self._open == to else [*self.close(), *self._begin(to, begun)]

    def _begin(self, to: tuple[str, int], begun: JsonObject) -> list[bytes]:
        if self._open == to:
            return []
        events = self._end()
        self._index += 1
        self._open = to
        return [
            *events,
            sse.event(
                {"type": "content_block_start", "index": self._index, "content_block": begun}, "content_block_start"
            ),
        ]

    def _end(self) -> list[bytes]:
        if self._open is None:
            return []
        self._open = None
        return [sse.event({"type": "content_block_stop", "index": self._index}, "content_block_stop")]

    def _delta(self, delta: JsonObject) -> bytes:
        return sse.event({"type": "content_block_delta", "index": self._index, "delta": delta}, "content_block_delta")
