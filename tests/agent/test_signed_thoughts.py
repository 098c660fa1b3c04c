"""What a model signed of its thoughts goes back to it with the results of its calls, and to no other model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Model, Orchestrator
from orchestrator.backends.base import as_wire
from orchestrator.backends.dialects.signatures import unpack
from orchestrator.errors import BackendUnavailable
from orchestrator.testing import ScriptedBackend
from orchestrator.types import Completion, Message, ToolCall, Usage
from tests.support.gateway import Provider, begin_stream, chunk, reply, running_gateway, served

THOUGHT = {"type": "thinking", "thinking": "I need the hours.", "signature": "sig-1"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "hours", "input": {"day": "Monday"}}


def hours(day: str) -> str:
    """When it is open."""
    return f"9 to 5 on {day}"


async def claude(body: dict[str, Any], send: Any) -> None:
    """Thinks and calls; says what it learnt once there is a result."""
    has_result = "tool_result" in json.dumps(body["messages"][-1])
    blocks = [{"type": "text", "text": "From 9 to 5."}] if has_result else [THOUGHT, CALL]
    usage = {"input_tokens": 50, "output_tokens": 10}
    reason = "end_turn" if has_result else "tool_use"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "usage": usage}
    if not body.get("stream"):
        await reply(send, 200, message | {"content": blocks, "stop_reason": reason})
        return
    await begin_stream(send)
    await event(send, "message_start", message=message | {"content": [], "stop_reason": None})
    for index, block in enumerate(blocks):
        await event(send, "content_block_start", index=index, content_block=block)
        await event(send, "content_block_stop", index=index)
    await event(send, "message_delta", delta={"stop_reason": reason}, usage=usage)
    await event(send, "message_stop")
    await chunk(send, b"", more=False)


async def event(send: Any, kind: str, **fields: Any) -> None:
    await chunk(send, f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_go_back_within_a_run(stream: bool, tmp_path: Path) -> None:
    provider = Provider(claude)
    with served(provider) as url:
        model = Model("anthropic/claude-haiku-4-5", base_url=url, api_key="k")
        with Orchestrator(model, storage=str(tmp_path / "runs.db"), strategy="single") as fleet:
            if stream:
                with fleet.stream_sync("When on Monday?", tools=[hours]) as events:
                    list(events)
                text = events.answer.text
            else:
                text = fleet.answer_sync("When on Monday?", tools=[hours]).text
    assert text == "From 9 to 5."
    said = provider.bodies[1]["messages"][1]
    assert [block["type"] for block in said["content"]] == ["thinking", "tool_use"]
    assert said["content"][0]["signature"] == "sig-1"


def test_thoughts_are_on_record(tmp_path: Path) -> None:
    """A run that went on after a crash gives back what was signed before it."""
    call = ToolCall("hours", {"day": "Monday"}, "c1")
    signed = {"thinking_blocks": [THOUGHT]}
    asks = Completion("m", "", Usage(1, 1), calls=(call,), signed=signed)
    database = str(tmp_path / "runs.db")

    first = ScriptedBackend("m", asks, BackendUnavailable("down"))
    with Orchestrator({"m": first}, storage=database) as fleet, pytest.raises(BackendUnavailable):
        fleet.answer_sync("When?", tools=[hours], run="r1")
    after = ScriptedBackend("m", "From 9 to 5.")
    with Orchestrator({"m": after}, storage=database) as fleet:
        fleet.answer_sync("When?", tools=[hours], run="r1")
    message = next(m for m in after.asked[0].messages if m.role == "assistant")
    assert (message.wire or {})["thinking_blocks"] == [THOUGHT]
    assert message.by == "m"


def test_another_model_is_not_sent_them() -> None:
    call = {"id": "c", "type": "function", "function": {}, "extra_content": {"google": {"thought_signature": "s"}}}
    wire = {"role": "assistant", "content": None, "thinking_blocks": [THOUGHT], "tool_calls": [call]}
    message = Message("assistant", "", wire, by="claude")
    assert as_wire(message, "claude") == wire
    told = as_wire(message, "gemini")
    assert "sig-1" not in str(told)
    assert "thought_signature" not in str(told)
    assert told["tool_calls"][0]["id"] == "c"


@pytest.mark.parametrize(
    ("content", "thinks"),
    [([THOUGHT, CALL], True), ([CALL], False), ([{"type": "text", "text": "I look."}, CALL], False)],
)
def test_claude_is_not_made_to_think_where_its_thoughts_are_missing(content: Any, thinks: bool) -> None:
    from orchestrator.backends.dialects.anthropic_options import _set_budget

    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "9 to 5"}
    said = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": content}]
    out: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 8_000}
    out["messages"] = [*said, {"role": "user", "content": [result]}]
    _set_budget(out, "high")
    assert ("thinking" in out) == thinks


@pytest.mark.parametrize("stream", [False, True])
def test_clients_of_the_gateway_get_them_where_calls_were_searched_for(
    tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_TESTS", "k")
    with served(Provider(claude)) as url:
        entry = {"provider": "anthropic", "base_url": url, "model": "claude-haiku-4-5", "key": "env:KEY_OF_TESTS"}
        priced = entry | {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 5.0}
        with running_gateway(tmp_path, models={"one": priced, "two": priced}) as gateway:
            tool = {"name": "hours", "input_schema": {"type": "object", "properties": {"day": {"type": "string"}}}}
            body = {"model": "auto", "max_tokens": 500, "tools": [tool], "stream": stream}
            body["messages"] = [{"role": "user", "content": "When is it open on Monday?"}]
            got = gateway.post("/v1/messages", body).text
    assert "toolu_1" in got
    if stream:  # who did not ask for thoughts is shown none: they travel as one text
        message: dict[str, Any] = {}
        assert unpack(got.partition('"redacted_thinking","data":"')[2].partition('"')[0], message)
        assert message["thinking_blocks"] == [THOUGHT]
    else:
        assert "sig-1" in got
