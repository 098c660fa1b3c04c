"""Server-sent events, as the WHATWG HTML standard parses them.

Any line ending, comments, split UTF-8, several `data:` lines an event.
"""

from __future__ import annotations

import codecs

MAX_EVENT_CHARS = 16_000_000


class EventParser:
    """Feed bytes as they come; get the `data` of each finished event.

    Raises `ValueError` on an event of over `max_chars`.
    """

    def __init__(self, *, max_chars: int = MAX_EVENT_CHARS) -> None:
        self._max_chars = max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._buffer = ""
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of every event that is whole with this chunk (WHATWG HTML, 9.2 server-sent events)."""
        text = self._decoder.decode(chunk)
        if self._after_cr and text:  # the LF of a CRLF that was split between two chunks
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        self._buffer += text.replace("\r\n", "\n").replace("\r", "\n")
        if len(self._buffer) + self._size > self._max_chars:
            raise ValueError(f"an event of over {self._max_chars:,} characters")
        *lines, self._buffer = self._buffer.split("\n")
        return [data for line in lines if (data := self._line(line)) is not None]

    def _line(self, line: str) -> str | None:
        if not line:
            if not self._data:
                return None
            data, self._data, self._size = "\n".join(self._data), [], 0
            return data
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data.append(value)
            self._size += len(value)
        return None
