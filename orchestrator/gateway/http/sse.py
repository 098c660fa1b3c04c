"""Streams of chat completions as bytes that pass through.

Only what is needed for the bill is looked at, nothing is encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from orchestrator.backends.dialects.dialect import flatten_content
from orchestrator.backends.http.answer_json import (
    ends_in_half,
    parse_answer,
    whole_text,
    with_whole_texts,
    write_answer,
)
from orchestrator.backends.provider_errors import failure_in
from orchestrator.backends.tool_calls import CallOrder
from orchestrator.backends.usage import usage_in
from orchestrator.gateway.http.redaction import without_addresses
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.types import Usage

_ASCII = bytes(range(128))
DONE = b"data: [DONE]\n\n"
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]*)"')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"(\w+)"')
_PATH = re.compile(rb'"model"\s*:\s*"(?:[/.~]|[A-Za-z]:[/\\])')
_TEXT = re.compile(rb'"content"\s*:\s*"([^"\\]*)"')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
ENVELOPE_BYTES = 200  # of an event, around its text
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
MAX_LEARNED = 4  # a stream whose envelope changes with each event is not learned again and again
MAX_HELD_BYTES = 16_000_000


class BrokenStream(Exception):
    """The stream holds what cannot be passed on."""


class SSEFilter:
    """Takes chunks of a stream as they come, gives back whole events to be passed on.

    The usage and the end mark are kept back: whether the caller wants the one, and what comes before the other, is not
    for the upstream to say. `model` stands for the name of a model that is a path on its server; its `key` is made
    unreadable where the server tells of a failure.

    Its attributes are what of an answer is known so far; the calls of tools are gathered elsewhere (`tool_calls`).
    """

    def __init__(self, model: str = "", key: str | None = None) -> None:
        self._model, self._key = model, key
        self.id = ""
        self.usage: Usage | None = None
        self.usage_event: bytes | None = None
        self.finish_reason = ""
        self.is_done = False
        self.failure: Any = None
        self.events = 0
        self.text_bytes = self.foreign_bytes = 0
        self._rest = b""
        self._calls = CallOrder()
        self._around = (b"", b"")  # an event's text, in one that needed no look
        self._times_learned = 0
        self._halves: dict[
            Any, str
        ] = {}  # the first half of a surrogate pair whose second comes with the next event, by choice

    def feed(self, chunk: bytes) -> bytes:
        """Whole events that go on to the caller. Raises `BrokenStream`."""
        data = self._rest + chunk if self._rest else chunk
        if not data.endswith(b"\n\n"):
            data, self._rest = _cut(data)
            if len(self._rest) > MAX_HELD_BYTES:
                raise BrokenStream(f"an event of over {MAX_HELD_BYTES:,} bytes")
        else:
            self._rest = b""
        if not data or self.is_done or self.has_failed:
            return b""
        if b"\r" in data:  # no JSON holds one: it ends lines, and from here on they end alike
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self.events and (named := _ID.search(data)):
            self.id = named[1].decode("utf-8", "replace")
        self.events += data.count(b"data:")
        self.text_bytes += len(data)
        self.foreign_bytes += len(data.translate(None, _ASCII))
        if self._needs_look(data):
            data = b"".join(self._looked_at(data))
        if not self.finish_reason and (found := _FINISH.search(data)):
            self.finish_reason = found[1].decode()
        return data

    def _needs_look(self, events: bytes) -> bool:
        """Whether something in these events may not be passed on as it is.

        Most are one event that is like the one before but for its text, and in a text nothing matters but quotation
        marks and escapes: the rest need not be searched again.
        """
        if self._halves or self._calls.has_calls:
            return True
        before, after = self._around
        start, stop = len(before), len(events) - len(after)
        is_alike = 0 < start <= stop and events.startswith(before) and events.endswith(after)
        if is_alike and events.find(b'"', start, stop) < 0 and events.find(b"\\u", start, stop) < 0:
            return False
        if _is_looked_at(events):
            return True
        if self._times_learned < MAX_LEARNED:
            self._learn(events)
        return False

    def _learn(self, events: bytes) -> None:
        self._times_learned += 1
        found = _TEXT.search(events)
        if found is not None and events.count(b"data:") == 1:
            self._around = events[: found.start(1)], events[found.end(1) :]

    def _looked_at(self, data: bytes) -> list[bytes]:
        """The events of `data` one by one, without what is kept back. Many may have come at once: most need no look."""
        passed = []
        for raw in data.split(b"\n\n"):
            if not raw:
                continue
            if not self._needs_look(whole := raw + b"\n\n"):
                passed.append(whole)
                continue
            content = data_of(raw)
            if not content:
                passed.append(b": working\n\n")  # a sign of life; what stands in a comment is between its server and us
                continue
            if content == b"[DONE]":
                self.is_done = True
                break
            parsed = parsed_event(content)
            if (failure := failure_in(parsed)) is not None:
                self.failure = failure
                told = event({"error": without_addresses(failure)})
                passed.append(told.replace(self._key.encode(), b"***") if self._key else told)
                self.usage = usage_in(parsed) or self.usage
                break
            raw = self._mended(raw, content, parsed)
            found = usage_in(parsed)
            if found is not None:
                if not found.prefill_tokens and self.usage is not None:  # told in two parts
                    found = replace(
                        found, prefill_tokens=self.usage.prefill_tokens, cached_tokens=self.usage.cached_tokens
                    )
                self.usage = found
                if _NO_CHOICES.search(raw):
                    self.usage_event = raw + b"\n\n"
                    continue
            passed.append(raw + b"\n\n")
        return passed

    def _mended(self, raw: bytes, content: bytes, parsed: JsonObject) -> bytes:
        """An event as clients can read it: the same bytes, where nothing is odd about it."""
        choices, has_changed = parsed.get("choices"), False
        if isinstance(choices, list) and not all(isinstance(choice, dict) for choice in choices):
            parsed["choices"], has_changed = [choice for choice in choices if isinstance(choice, dict)], True
        has_changed |= self._calls.put_in_order(parsed)
        if b'"content":[' in content or b'"content": [' in content:
            for choice in parsed.get("choices") or ():
                has_changed |= isinstance(choice, dict) and flatten_content(choice.get("delta"))
        if is_path(parsed.get("model")):
            parsed["model"], has_changed = self._model, True
        if self._halves or _is_odd(content):
            self._complete_texts(parsed)
            has_changed = True
        missing = self._calls.completed(parsed) if self._calls.has_calls else None
        mended = event(parsed).removesuffix(b"\n\n") if has_changed else raw
        return mended if missing is None else event(missing) + mended

    def _complete_texts(self, parsed: JsonObject) -> None:
        for choice in parsed.get("choices") or ():
            if not isinstance(choice, dict):
                continue
            place, is_last = choice.get("index") or 0, bool(choice.get("finish_reason"))
            self._join(choice, "text", (place, "text"), is_last)
            delta = choice.get("delta")
            if isinstance(delta, dict):
                for name in _TEXTS:
                    self._join(delta, name, (place, name), is_last)
                for call in delta.get("tool_calls") or ():
                    if isinstance(call, dict) and isinstance(call.get("function"), dict):
                        self._join(call["function"], "arguments", (place, call.get("index")), is_last)
            if choice.get("logprobs"):
                choice["logprobs"] = with_whole_texts(choice["logprobs"])

    def _join(self, holder: JsonObject, name: str, place: JsonValue, is_last: bool) -> None:
        """A piece of a text, put together with the half of a character that ended the one before."""
        text = holder.get(name)
        if not isinstance(text, str):
            text = "" if is_last and place in self._halves else None
        if text is None:
            return
        text = self._halves.pop(place, "") + text
        if ends_in_half(text) and not is_last:
            self._halves[place], text = text[-1], text[:-1]
        holder[name] = whole_text(text)

    @property
    def has_failed(self) -> bool:
        """Whether the server told of a failure."""
        return self.failure is not None

    @property
    def written_tokens(self) -> int:
        """About as many tokens were written: most servers send each as an event of its own."""
        english = max(self.text_bytes - self.foreign_bytes - ENVELOPE_BYTES * self.events, 0) // 4
        return max(self.events, english + self.foreign_bytes // 2)

    @property
    def is_whole(self) -> bool:
        """Whether the answer came to its end."""
        return (self.is_done or bool(self.finish_reason)) and not self.has_failed


def parsed_event(content: bytes) -> JsonObject:
    """Raises `BrokenStream` on what is no JSON object."""
    try:
        parsed = parse_answer(content)
    except ValueError as error:
        raise BrokenStream(f"something that is not an event: {error}") from None
    if not isinstance(parsed, dict):
        raise BrokenStream("an event that is not an object")
    return parsed


def _is_looked_at(data: bytes) -> bool:
    """Whether some events hold what is not passed on as it is."""
    if (
        b"[DONE]" in data
        or b'"error"' in data
        or b'"tool_calls"' in data
        or b"finish_reason" not in data
        or _is_odd(data)
    ):
        return True
    if b'"content":[' in data or b'"content": [' in data or b'.gguf"' in data:
        return True
    return (b'"usage"' in data and _USAGE.search(data) is not None) or _PATH.search(data) is not None


def _is_odd(data: bytes) -> bool:
    """Whether there may be halves of surrogate pairs, or numbers that JSON has not."""
    return b"\\ud" in data or b"\\uD" in data or b"Infinity" in data or b"NaN" in data


def is_path(model: JsonValue) -> bool:
    """Whether the name of a model is where it lies on its server."""
    return isinstance(model, str) and (
        model.startswith(("/", "./", "../", "~")) or model[1:3] in (":\\", ":/") or model.endswith(".gguf")
    )


def data_of(event: bytes) -> bytes | None:
    """The data of one event; `None` for a comment."""
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", event) if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None


def events_in(passed: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """(event, its data) of whole events that a `SSEFilter` let pass; the data of a comment is `None`."""
    for raw in passed.split(b"\n\n"):
        if raw:
            yield raw, data_of(raw)


def event(value: JsonValue, name: str = "") -> bytes:
    """One event with a JSON value."""
    head = b"event: %b\n" % name.encode() if name else b""
    return head + b"data: " + write_answer(value) + b"\n\n"


def comment(text: str) -> bytes:
    """What every client passes over."""
    return b": " + text.replace("\n", " ").replace("\r", " ").encode() + b"\n\n"


def streamed_text(passed: list[bytes]) -> str | None:
    """The text of the first choice of a stream that went by.

    `None` if there is none, or an event of it cannot be read.
    """
    contents = (data_of(piece) for piece in b"".join(passed).split(b"\n\n"))
    try:
        choices = [choice for content in contents if content for choice in parsed_event(content).get("choices") or ()]
    except BrokenStream:
        return None
    texts = ((choice.get("delta") or {}).get("content") for choice in choices if choice.get("index") == 0)
    return "".join(text for text in texts if isinstance(text, str)) or None


def spliced(event: bytes, name: str, value: JsonValue) -> bytes:
    """A JSON object, or an event of one, with one more field, without encoding it again."""
    end = event.rindex(b"}")
    return event[:end] + b',"%b":' % name.encode() + orjson.dumps(value) + event[end:]


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """(whole events, the beginning of the next one)."""
    end = 0
    for found in _EVENT_END.finditer(data):
        end = found.end()
    return data[:end], data[end:]
