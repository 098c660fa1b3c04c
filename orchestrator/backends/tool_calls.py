"""Pieces of tool calls in a stream, in order: one index for each call, an id, and arguments that are JSON.

Servers number parallel calls with 0 each and tell them apart by ids alone (Gemini's own chat completions), send their
pieces in turns, leave out indexes, or give a call without arguments no piece of them. Clients join what has the same
index, and parse it.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.jsontypes import JsonObject, JsonValue


class CallOrder:
    """The calls of one stream, by choice."""

    def __init__(self) -> None:
        self._choices: dict[int, _Calls] = {}

    @property
    def has_calls(self) -> bool:
        """Whether the stream holds tool calls."""
        return bool(self._choices)

    def put_in_order(self, event: JsonObject) -> bool:
        """Numbers the calls of an event anew; false if nothing was to be changed."""
        has_changed = False
        for choice in event.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            pieces = delta.get("tool_calls") if isinstance(delta, dict) else None
            if isinstance(pieces, list) and pieces:
                calls = self._choices.setdefault(choice.get("index") or 0, _Calls())
                ends = bool(choice.get("finish_reason"))
                changed = [calls.piece(piece, is_last=ends) for piece in pieces if isinstance(piece, dict)]
                has_changed |= any(changed)
        return has_changed

    def completed(self, event: JsonObject) -> JsonObject | None:
        """What is missing before an event that ends choices: `{}` for calls without a piece of their arguments."""
        ended = [c for c in event.get("choices") or () if isinstance(c, dict) and c.get("finish_reason")]
        found = []
        for choice in ended:
            calls = self._choices.get(choice.get("index") or 0)
            missing = calls.without_arguments() if calls is not None else []
            if missing:
                written = [{"index": index, "function": {"arguments": "{}"}} for index in missing]
                found.append(
                    {"index": choice.get("index") or 0, "delta": {"tool_calls": written}, "finish_reason": None}
                )
        return {**event, "choices": found, "usage": None} if found else None


class _Calls:
    def __init__(self) -> None:
        self._ids: list[str] = []
        self._has_arguments: list[bool] = []
        self._latest: dict[Any, int] = {}  # by the server's own index: the newest call that has it

    def piece(self, piece: JsonObject, *, is_last: bool) -> bool:
        """Puts one piece in order; `is_last` if its choice ends with it. False if nothing was to be changed."""
        stated, id_ = piece.get("index"), piece.get("id")
        index = self._index(stated, id_ if isinstance(id_, str) else "", piece)
        function: dict[str, Any] = piece["function"] if isinstance(piece.get("function"), dict) else {}
        written = function.get("arguments")
        has_changed = stated != index
        if isinstance(written, dict | list):  # the value itself, where a text is due
            function["arguments"] = written = json.dumps(written)
            has_changed = True
        if is_last and not written and not self._has_arguments[index]:
            piece["function"] = {**function, "arguments": "{}"}
            written, has_changed = "{}", True
        self._has_arguments[index] |= bool(written)
        piece["index"] = index
        if not id_ and self._is_new:
            piece["id"], piece["type"] = self._ids[index], "function"
            has_changed = True
        return has_changed

    def _index(self, stated: JsonValue, id_: str, piece: JsonObject) -> int:
        """Which call a piece belongs to.

        The one with its id, else the newest with its index, else the newest of all.
        """
        self._is_new = False
        if id_ and id_ in self._ids:
            index = self._ids.index(id_)
        elif not id_ and stated in self._latest and not self._begins(stated, piece):
            index = self._latest[stated]
        elif not id_ and stated is None and self._ids and not (piece.get("function") or {}).get("name"):
            index = len(self._ids) - 1
        else:
            index = len(self._ids)
            self._is_new = True
            self._ids.append(id_ or f"call_{index}")
            self._has_arguments.append(False)
        self._latest[stated] = index
        return index

    def _begins(self, stated: JsonValue, piece: JsonObject) -> bool:
        """Whether a piece without an id begins a call: it has a name, and the call before has arguments already."""
        return bool((piece.get("function") or {}).get("name")) and self._has_arguments[self._latest[stated]]

    def without_arguments(self) -> list[int]:
        missing = [index for index, has in enumerate(self._has_arguments) if not has]
        for index in missing:
            self._has_arguments[index] = True
        return missing


def with_arguments(message: JsonValue) -> bool:
    """Gives the calls of a whole message arguments that are JSON texts; false if nothing was to be changed."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    has_changed = False
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        written = function.get("arguments")
        if not isinstance(written, str) or not written.strip():
            function["arguments"] = json.dumps(written) if isinstance(written, dict | list) else "{}"
            has_changed = True
        if not call.get("id"):
            call["id"], call["type"] = f"call_{place}", "function"
            has_changed = True
    return has_changed
