"""Blocks of a streamed message come one after the other, in whatever order the pieces of calls and texts came."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.api.message_blocks import MessageBlocks

ARGUMENTS = st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers(), max_size=3).map(
    json.dumps
) | st.just("")


def read(events: list[bytes]) -> list[dict[str, Any]]:
    """The blocks that a client makes of events; fails where one begins before another has ended."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in events:
        told = json.loads(event.split(b"data: ", 1)[1])
        if told["type"] == "content_block_start":
            assert not is_open
            assert told["index"] == len(blocks)
            blocks.append({**told["content_block"], "written": ""})
            is_open = True
        elif told["type"] == "content_block_delta":
            assert is_open
            assert told["index"] == len(blocks) - 1
            blocks[-1]["written"] += told["delta"].get("partial_json") or told["delta"].get("text") or ""
        else:
            assert is_open
            is_open = False
    assert not is_open
    return blocks


@given(st.lists(ARGUMENTS, min_size=1, max_size=4), st.data())
def test_whatever_order_pieces_come_in_no_call_and_no_text_is_lost(arguments: list[str], data: st.DataObject) -> None:
    pieces: list[tuple[int, str]] = []
    waiting = {number: [text[i : i + 3] for i in range(0, len(text), 3)] for number, text in enumerate(arguments)}
    begun: set[int] = set()
    blocks, events, texts = MessageBlocks(), list[bytes](), ""
    while waiting:
        number = data.draw(st.sampled_from(sorted(waiting)))
        if number not in begun:
            begun.add(number)
            events += blocks.tool(number, {"id": f"c{number}", "function": {"name": f"f{number}", "arguments": ""}})
        elif waiting[number]:
            piece = waiting[number].pop(0)
            pieces.append((number, piece))
            events += blocks.tool(number, {"function": {"arguments": piece}})
        if number in begun and not waiting[number]:
            del waiting[number]
        if data.draw(st.booleans()):
            texts += "t"
            events += blocks.text("t")
    events += blocks.close()
    found = read(events)
    calls = {block["id"]: (block["name"], block["written"]) for block in found if block["type"] == "tool_use"}
    assert len([block for block in found if block["type"] == "tool_use"]) == len(arguments)
    assert calls == {f"c{number}": (f"f{number}", text) for number, text in enumerate(arguments)}
    assert "".join(block["written"] for block in found if block["type"] == "text") == texts


def test_calls_that_come_one_after_the_other_are_sent_as_they_come() -> None:
    blocks = MessageBlocks()
    for number in (0, 1):
        assert len(blocks.tool(number, {"id": f"c{number}", "function": {"name": "f", "arguments": '{"a"'}})) >= 2
        assert len(blocks.tool(number, {"function": {"arguments": ": 1}"}})) == 1
    assert len(blocks.close()) == 1
