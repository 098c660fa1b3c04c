"""Calls of tools in answers of remote models: whole, in pieces, and in the forms that servers send them in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.backends.base import Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Message, ToolCall
from tests.support.gateway import Provider, Send, begin_stream, chunk, completion, delta, reply, served

TOOLS = ({"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}},)
REQUEST = Request((Message("user", "q"),), "q", tools=TOOLS, tool_choice="auto", parallel_tool_calls=True)


def piece(index: int | None, id: str | None = None, name: str | None = None, arguments: Any = "") -> bytes | Any:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"function": function} | ({"index": index} if index is not None else {}) | ({"id": id} if id else {})
    return delta({"tool_calls": [call]})


def asked(play: Any, *, streams: bool = False) -> tuple[Completion, dict[str, Any]]:
    upstream = Provider(play)

    async def ask(url: str) -> Completion:
        backend = RemoteBackend(ModelProfile("m", 1.0, 1.0), base_url=url + "/v1", provider="compatible")
        try:
            if not streams:
                return await backend.complete(REQUEST)
            return [each async for each in backend.stream(REQUEST)][-1]  # type: ignore[return-value]
        finally:
            await backend.aclose()

    with served(upstream) as url:
        return asyncio.run(ask(url)), upstream.bodies[-1]


@pytest.mark.parametrize(
    ("written", "arguments", "text"),
    [
        ('{"a": 1}', {"a": 1}, ""),
        ("", {}, ""),
        (None, {}, ""),
        ("null", {}, ""),
        ({"a": 1}, {"a": 1}, ""),
        ('{"a": ', None, '{"a": '),
        ("[1]", None, "[1]"),
        ('{"a": NaN}', None, '{"a": NaN}'),
        ('"a"', None, '"a"'),
    ],
)
def test_arguments_are_read_as_servers_write_them(written: Any, arguments: Any, text: str) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": written}}
        await reply(send, 200, completion(None, tool_calls=[call]))

    done, body = asked(play)
    assert done.calls == (ToolCall("find", arguments, "c1", text),)
    assert done.text == ""
    assert body["tools"] == list(TOOLS)
    assert body["tool_choice"] == "auto"
    assert body["parallel_tool_calls"] is True


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(0, "a", "A", '{"x":'), piece(0, arguments="1}"), piece(1, "b", "B", '{"y":2}')],
        [piece(0, "a", "A", '{"x":1}'), piece(0, "b", "B", '{"y":2}')],
        [piece(None, "a", "A", '{"x":1}'), piece(None, "b", "B", '{"y":2}')],
        [piece(0, "a", "A"), piece(1, "b", "B"), piece(0, arguments='{"x":1}'), piece(1, arguments='{"y":2}')],
        [piece(0, "a", "A", {"x": 1}), piece(1, "b", "B", {"y": 2})],
    ],
)
def test_pieces_of_calls_are_joined_however_they_are_numbered(pieces: list[Any]) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        for each in [delta({"content": "Let me see."}), *pieces, delta({}, "tool_calls")]:
            await chunk(send, each)
        await chunk(send, b"data: [DONE]\n\n", more=False)

    done, _ = asked(play, streams=True)
    assert [(call.name, call.arguments, call.id) for call in done.calls] == [("A", {"x": 1}, "a"), ("B", {"y": 2}, "b")]
    assert done.text == "Let me see."
    assert done.finish_reason == "tool_calls"


def test_a_call_goes_back_as_it_came() -> None:
    signed = {
        "id": "c1",
        "type": "function",
        "function": {"name": "find", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    assert ToolCall.parse(signed).as_wire() == signed
    assert ToolCall("find", {"a": "é"}, "c").as_wire()["function"]["arguments"] == '{"a": "é"}'
    assert ToolCall("find", None, "c", "{broken").as_wire()["function"]["arguments"] == "{broken"


def test_deep_arguments_are_no_object() -> None:
    call = ToolCall.parse({"id": "c", "function": {"name": "f", "arguments": "[" * 100_000}})
    assert call.arguments is None
