"""Nothing is lost between the APIs in front of the gateway and the dialects behind it.

What is asked, what is answered, what must come back.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BackendRejected
from orchestrator.router import ModelProfile
from tests.support import answer_table
from tests.support.dialect_table import FEATURES, MARK, MODELS, UPSTREAMS, gateways, printed, table
from tests.support.gateway import (
    Provider,
    Running,
    Send,
    begin_stream,
    chunk,
    completion,
    delta,
    reply,
    running_gateway,
    served,
)

PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
QUESTION = [{"role": "user", "content": "q"}]
DOCS = Path(__file__).parents[2] / "docs" / "providers.md"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_KEY", "sk-table")


def test_the_table_in_the_documentation_is_what_happens(tmp_path: Path) -> None:
    found = printed(table(tmp_path))
    told = DOCS.read_text().split("<!-- dialects -->")[1].strip()
    assert told == found.strip(), "docs/providers.md: put this table between its marks:\n" + found


def test_the_table_of_answers_in_the_documentation_is_what_happens(tmp_path: Path) -> None:
    rows = answer_table.table(tmp_path)
    assert "whole alone" not in {cell for cells in rows.values() for cell in cells.values()}
    found = answer_table.printed(rows)
    told = DOCS.read_text().split("<!-- answers -->")[1].strip()
    assert told == found.strip(), "docs/providers.md: put this table between its marks:\n" + found


def test_the_sdk_carries_what_the_gateway_does(tmp_path: Path) -> None:
    """`RemoteBackend.chat` sends to each dialect what /v1/chat/completions does, and refuses what it refuses."""

    async def by_sdk(url: str, model: str, body: dict[str, Any]) -> bool:
        profile = ModelProfile(model, 1.0, 2.0)
        address = f"{url}/v1"
        backend = RemoteBackend(
            profile, provider=UPSTREAMS[model], model=MODELS[model], base_url=address, key="k", cache="off"
        )
        try:
            await backend.chat(body)
        except BackendRejected as error:
            return error.status is not None
        finally:
            await backend.aclose()
        return True

    with gateways(tmp_path) as (gateway, upstream):
        for feature in FEATURES:
            for model in UPSTREAMS if "chat" in feature.bodies else ():
                upstream.bodies.clear()
                answer = gateway.post("/v1/chat/completions", {"model": model, **feature.bodies["chat"]})
                by_gateway = upstream.bodies[:]
                upstream.bodies.clear()
                is_sent = asyncio.run(by_sdk(upstream.url, model, feature.bodies["chat"]))
                assert is_sent == (answer.status_code == 200), (feature.name, model)
                assert upstream.bodies == by_gateway, (feature.name, model)


def events(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip() != "[DONE]"
    ]


# Models that want something back with the turn after a call

GEMINI_CALL = {"functionCall": {"name": "look", "args": {"p": "a"}}, "thoughtSignature": MARK}
CLAUDE_THOUGHT = {"type": "thinking", "thinking": "hm", "signature": MARK}
OPENAI_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": MARK}


async def _gemini(body: dict[str, Any], send: Send, *, streams: bool) -> None:
    candidate = {"content": {"role": "model", "parts": [GEMINI_CALL]}, "finishReason": "STOP", "index": 0}
    whole = {
        "responseId": "r",
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1},
    }
    if not streams:
        return await reply(send, 200, whole)
    await begin_stream(send)
    await chunk(send, whole, more=False)
    return None


async def _claude(body: dict[str, Any], send: Send, *, streams: bool) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"p": "a"}}
    whole = {
        "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [CLAUDE_THOUGHT, call],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }  # fmt: skip
    if not streams:
        return await reply(send, 200, whole)
    await begin_stream(send)
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": []}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": MARK}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {**call, "input": {}}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"p": "a"}'},
        },
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    for event in told:
        await chunk(send, event, more=event["type"] != "message_stop")
    return None


async def _openai(body: dict[str, Any], send: Send, *, streams: bool) -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"p": "a"}'}
    usage = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    whole = {"id": "r", "status": "completed", "model": "m", "output": [OPENAI_THOUGHT, call], "usage": usage}
    if not streams:
        return await reply(send, 200, whole)
    await begin_stream(send)
    for event in (
        {"type": "response.created", "response": {**whole, "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": OPENAI_THOUGHT},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": call["arguments"]},
    ):
        await chunk(send, event)
    await chunk(send, {"type": "response.completed", "response": whole}, more=False)
    return None


async def _deepseek(body: dict[str, Any], send: Send, *, streams: bool) -> None:
    function = {"name": "look", "arguments": '{"p": "a"}'}
    if not streams:
        calls = [{"id": "call_1", "type": "function", "function": function}]
        return await reply(send, 200, completion(None, tool_calls=calls, reasoning_content=MARK))
    await begin_stream(send)
    await chunk(send, delta({"role": "assistant", "content": "", "reasoning_content": MARK[:3]}))
    await chunk(send, delta({"reasoning_content": MARK[3:]}))
    await chunk(send, delta({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}))
    await chunk(send, delta({}, "tool_calls"))
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


SIGNING = {
    "gemini": (_gemini, {"provider": "gemini", "model": "gemini-3-pro"}),
    "anthropic": (_claude, {"provider": "anthropic", "model": "claude-opus-4-6"}),
    "openai": (_openai, {"provider": "openai-responses", "model": "gpt-5.1"}),
    "deepseek": (_deepseek, {"provider": "deepseek", "model": "deepseek-reasoner"}),
}


def _ask_by_chat(gateway: Running, *, stream: bool) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": "look"}}]
    answer = gateway.post(
        "/v1/chat/completions", {"model": "m", "messages": QUESTION, "tools": tools, "stream": stream}
    )
    if not stream:
        said = answer.json()["choices"][0]["message"]
    else:
        said = {"role": "assistant", "content": None, "tool_calls": []}
        for event in events(answer.text):
            for choice in event["choices"]:
                for name, value in choice["delta"].items():
                    if name == "tool_calls":
                        for call in value:
                            if call["index"] == len(said["tool_calls"]):
                                said["tool_calls"].append(call)
                            else:
                                said["tool_calls"][call["index"]]["function"]["arguments"] += call["function"][
                                    "arguments"
                                ]
                    elif isinstance(value, str) and value and name != "role":
                        said[name] = (said.get(name) or "") + value
                    elif isinstance(value, list):
                        said[name] = [*said.get(name, ()), *value]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "r"}
    return {"messages": [*QUESTION, said, result], "tools": tools}


def _ask_by_messages(gateway: Running, *, stream: bool) -> dict[str, Any]:
    asked = {"model": "m", "max_tokens": 3_000, "tools": [{"name": "look", "input_schema": {"type": "object"}}]}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1_024}} if gateway.config.name else {}
    answer = gateway.post("/v1/messages", {**asked, **thinking, "messages": QUESTION, "stream": stream})
    content = answer.json()["content"] if not stream else _joined_blocks(events(answer.text))
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "r"}
    asked.pop("model")
    turns = [*QUESTION, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    return {**asked, **thinking, "messages": turns}


def _joined_blocks(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the SDK puts a message together."""
    blocks: list[dict[str, Any]] = []
    for event in told:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            block, piece = blocks[event["index"]], event["delta"]
            if piece["type"] == "input_json_delta":
                block["_written"] = block.get("_written", "") + piece["partial_json"]
            elif piece["type"] == "thinking_delta":
                block["thinking"] += piece["thinking"]
            elif piece["type"] == "signature_delta":
                block["signature"] = piece["signature"]
            elif piece["type"] == "text_delta":
                block["text"] += piece["text"]
    for block in blocks:
        if "_written" in block:
            block["input"] = json.loads(block.pop("_written"))
    return blocks


def _ask_by_responses(gateway: Running, *, stream: bool) -> dict[str, Any]:
    asked = {"tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}], "store": False}
    answer = gateway.post("/v1/responses", {"model": "m", "input": "q", **asked, "stream": stream})
    whole = events(answer.text)[-1]["response"] if stream else answer.json()
    if stream:
        done = [event for event in events(answer.text) if event["type"] == "response.output_item.done"]
        assert [event["item"] for event in sorted(done, key=lambda event: event["output_index"])] == whole["output"]
    result = {"type": "function_call_output", "call_id": whole["output"][-1]["call_id"], "output": "r"}
    return {"input": [{"role": "user", "content": "q"}, *whole["output"], result], **asked}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "ask", [_ask_by_chat, _ask_by_messages, _ask_by_responses], ids=["chat", "messages", "responses"]
)
@pytest.mark.parametrize("name", SIGNING)
def test_what_a_model_signed_or_thought_comes_back_to_it_with_the_result(
    tmp_path: Path, name: str, ask: Any, stream: bool
) -> None:
    play, described = SIGNING[name]
    upstream = Provider(
        lambda body, send: play(body, send, streams=bool(body.get("stream")) or "stream" in upstream.paths[-1])
    )
    with served(upstream) as url:
        models = {"m": {**described, "base_url": f"{url}/v1", "key": "env:TABLE_KEY", "cache": "off", **PRICES}}
        with running_gateway(tmp_path, models=models) as gateway:
            following = ask(gateway, stream=stream)
            path = {
                "_ask_by_chat": "chat/completions",
                "_ask_by_messages": "messages",
                "_ask_by_responses": "responses",
            }[ask.__name__]
            answer = gateway.post(f"/v1/{path}", {"model": "m", **following})
            assert answer.status_code == 200, answer.text
    sent = upstream.bodies[-1]
    sent.pop("tools", None)
    assert MARK in json.dumps(sent)
    if name == "gemini":
        assert [
            part.get("thoughtSignature")
            for turn in sent["contents"]
            for part in turn["parts"]
            if "functionCall" in part
        ] == [MARK]
    elif name == "anthropic":
        assert sent["messages"][1]["content"][0] == CLAUDE_THOUGHT
    elif name == "openai":
        assert OPENAI_THOUGHT in sent["input"]
    else:
        assert sent["messages"][1]["reasoning_content"] == MARK


def test_a_conversation_of_responses_goes_on_by_its_id_with_what_was_signed(tmp_path: Path) -> None:
    upstream = Provider(lambda body, send: _gemini(body, send, streams=False))
    with served(upstream) as url:
        models = {
            "m": {
                "provider": "gemini",
                "model": "gemini-3-pro",
                "base_url": f"{url}/v1",
                "key": "env:TABLE_KEY",
                **PRICES,
            }
        }
        with running_gateway(tmp_path, models=models) as gateway:
            tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
            first = gateway.post("/v1/responses", {"model": "m", "input": "q", "tools": tools}).json()
            result = {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "r"}
            asked = {"model": "m", "input": [result], "previous_response_id": first["id"], "tools": tools}
            assert gateway.post("/v1/responses", asked).status_code == 200
    parts = [part for turn in upstream.bodies[-1]["contents"] for part in turn["parts"]]
    assert [part["thoughtSignature"] for part in parts if "functionCall" in part] == [MARK]
    assert parts[-1]["functionResponse"]["name"] == "look"


SEARCHED = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a", "annotations": []}],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("own_history", [False, True], ids=["ours", "OpenAI's own"])
def test_what_openai_ran_goes_back_between_its_thoughts(tmp_path: Path, own_history: bool, stream: bool) -> None:
    """OpenAI refuses a thought whose search is missing. A client may also have its history from OpenAI itself."""
    items = [OPENAI_THOUGHT, SEARCHED, SAID]

    async def play(body: dict[str, Any], send: Send) -> None:
        if not body.get("stream"):
            return await reply(send, 200, answer_table.responses_body(items))
        await begin_stream(send)
        for event in answer_table.responses_events(items):
            await chunk(send, event)
        await chunk(send, b"", more=False)
        return None

    upstream = Provider(play)
    with served(upstream) as url:
        described = {
            "provider": "openai-responses",
            "model": "gpt-5.1",
            "base_url": f"{url}/v1",
            "key": "env:TABLE_KEY",
        }
        with running_gateway(tmp_path, models={"m": {**described, "cache": "off", **PRICES}}) as gateway:
            asked = {"model": "m", "tools": [{"type": "web_search"}], "store": False}
            answer = gateway.post("/v1/responses", {**asked, "input": "q", "stream": stream})
            output = events(answer.text)[-1]["response"]["output"] if stream else answer.json()["output"]
            # In a stream the thoughts are told once they are whole: right before the message.
            assert {item["type"] for item in output[:2]} == {"reasoning", "web_search_call"}
            assert [item["type"] for item in output[2:]] == ["message"]
            history = items if own_history else output
            again = [{"role": "user", "content": "q"}, *history, {"role": "user", "content": "and?"}]
            assert gateway.post("/v1/responses", {**asked, "input": again}).status_code == 200
    sent = upstream.bodies[-1]["input"]
    assert [item.get("type", item.get("role")) for item in sent] == [
        "user",
        "reasoning",
        "web_search_call",
        "assistant",
        "user",
    ]
    assert sent[1:3] == [OPENAI_THOUGHT, SEARCHED]


# What clients send that no model is asked of yet, and what they are told

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
FIND = {"type": "function", "name": "find", "parameters": {"type": "object"}}
CODEX = {
    "instructions": "You are a coding agent", "store": False, "tool_choice": "auto", "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium", "summary": "auto"},
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list the files"}]}],
    "tools": [
        {"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object"}},
        {"type": "custom", "name": "apply_patch", "description": "freeform", "format": GRAMMAR},
        {"type": "namespace", "name": "mcp__docs", "description": "", "tools": [FIND]},
        {"type": "web_search", "external_web_access": False}, {"type": "local_shell"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_codex_keeps_its_tools_and_gets_its_own_calls_back(tmp_path: Path, stream: bool) -> None:
    calls = [("a", "apply_patch", '{"input": "*** Begin"}'), ("b", "mcp__docs__find", '{"q": 1}'), ("c", "shell", "{}")]

    async def play(body: dict[str, Any], send: Send) -> None:
        made = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in calls
        ]
        if not body.get("stream"):
            return await reply(send, 200, completion("Now.", tool_calls=made))
        await begin_stream(send)
        await chunk(send, delta({"content": "Now."}))
        for index, call in enumerate(made):
            await chunk(send, delta({"tool_calls": [{"index": index, **call}]}))
        await chunk(send, delta({"content": " Go."}))
        await chunk(send, delta({}, "tool_calls"))
        await chunk(send, b"data: [DONE]\n\n", more=False)
        return None

    with running_gateway(tmp_path, play) as gateway:
        answer = gateway.post("/v1/responses", {"model": "small", **CODEX, "stream": stream})
        assert answer.status_code == 200, answer.text
        sent = gateway.provider.bodies[-1]
        told = events(answer.text) if stream else []
        output = (told[-1]["response"] if stream else answer.json())["output"]
        items = [{**item, "type": item["type"]} for item in output]
        again = [*CODEX["input"], *items, {"type": "custom_tool_call_output", "call_id": "a", "output": "done"}]
        assert gateway.post("/v1/responses", {"model": "small", **CODEX, "input": again}).status_code == 200
        history = gateway.provider.bodies[-1]["messages"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["shell", "apply_patch", "mcp__docs__find"]
    assert "lark" in sent["tools"][1]["function"]["description"]
    assert [item["type"] for item in output] == ["message", "custom_tool_call", "function_call", "function_call"]
    assert (output[1]["name"], output[1]["input"]) == ("apply_patch", "*** Begin")
    assert (output[2]["name"], output[2]["namespace"]) == ("find", "mcp__docs")
    assert [message["role"] for message in history] == ["system", "user", "assistant", "tool"]
    assert len(history[2]["tool_calls"]) == 3
    if stream:
        assert output[0]["content"][0]["text"] == "Now. Go."
        places = {event["item_id"]: event["output_index"] for event in told if "item_id" in event}
        assert [places[item["id"]] for item in output] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("finish", "message", "status", "kind"),
    [
        ("content_filter", {"content": "So f"}, "incomplete", "output_text"),
        ("length", {"content": "So f"}, "incomplete", "output_text"),
        ("stop", {"content": None, "refusal": "No."}, "completed", "refusal"),
    ],
)
def test_what_was_cut_filtered_or_refused_says_so(
    tmp_path: Path, finish: str, message: dict[str, Any], status: str, kind: str
) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if not body.get("stream"):
            whole = completion(**{"text": message["content"]}, **{k: v for k, v in message.items() if k != "content"})
            whole["choices"][0]["finish_reason"] = finish
            return await reply(send, 200, whole)
        await begin_stream(send)
        await chunk(send, delta(message))
        await chunk(send, delta({}, finish))
        await chunk(send, b"data: [DONE]\n\n", more=False)
        return None

    with running_gateway(tmp_path, play) as gateway:
        for stream in (False, True):
            answer = gateway.post("/v1/responses", {"model": "small", "input": "q", "stream": stream})
            whole = events(answer.text)[-1]["response"] if stream else answer.json()
            assert whole["status"] == status
            assert whole["output"][0]["content"][0]["type"] == kind
            reason = {"content_filter": "content_filter", "length": "max_output_tokens"}.get(finish)
            assert whole["incomplete_details"] == ({"reason": reason} if reason else None)


def test_anthropics_own_words_reach_anthropic_and_come_back(tmp_path: Path) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "https://a.example"}],
    }
    cited = {
        "type": "text",
        "text": "y",
        "citations": [{"type": "web_search_result_location", "url": "https://a.example", "cited_text": "y"}],
    }

    async def play(body: dict[str, Any], send: Send) -> None:
        usage = {"input_tokens": 9, "output_tokens": 1}
        whole = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "c",
            "stop_reason": "pause_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        if not body.get("stream"):
            return await reply(send, 200, {**whole, "content": [search, found, cited]})
        await begin_stream(send)
        for event in (
            {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {**search, "input": {}}},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '{"query": "q"}'},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": found},
            {"type": "content_block_stop", "index": 1},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "y"}},
            {
                "type": "content_block_delta",
                "index": 2,
                "delta": {"type": "citations_delta", "citation": cited["citations"][0]},
            },  # type: ignore[index]
            {"type": "content_block_stop", "index": 2},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "pause_turn", "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
        ):
            await chunk(send, event)
        await chunk(send, {"type": "message_stop"}, more=False)
        return None

    upstream = Provider(play)
    with served(upstream) as url:
        models = {
            "m": {
                "provider": "anthropic",
                "model": "claude-opus-4-6",
                "base_url": f"{url}/v1",
                "key": "env:TABLE_KEY",
                **PRICES,
            }
        }
        with running_gateway(tmp_path, models=models) as gateway:
            asked = {"model": "m", "max_tokens": 9, "messages": QUESTION, "container": "c_1"}
            whole = gateway.post("/v1/messages", asked).json()
            assert (whole["content"], whole["stop_reason"]) == ([search, found, cited], "pause_turn")
            told = events(gateway.post("/v1/messages", {**asked, "stream": True}).text)
            assert [event["content_block"] for event in told if event["type"] == "content_block_start"][:2] == [
                search,
                found,
            ]
            assert any(event.get("delta", {}).get("type") == "citations_delta" for event in told)
            assert told[-2]["delta"]["stop_reason"] == "pause_turn"
            turns = [*QUESTION, {"role": "assistant", "content": whole["content"]}, *QUESTION]
            assert gateway.post("/v1/messages", {**asked, "messages": turns}).status_code == 200
    assert upstream.bodies[-1]["messages"][1]["content"][:2] == [search, found]
    assert upstream.bodies[0]["container"] == "c_1"


def test_threads_are_refused_by_the_code_that_clients_know(tmp_path: Path) -> None:
    with gateways(tmp_path) as (gateway, upstream):
        refused = gateway.post(
            "/v1/messages", {"model": "chat", "max_tokens": 9, "messages": QUESTION, "thread": {"type": "new"}}
        )
        assert refused.status_code == 400
        assert refused.json()["error"]["details"]["error_code"] == "thread_unsupported_request"
        system = [*QUESTION, {"role": "assistant", "content": "a"}, {"role": "system", "content": MARK}, *QUESTION]
        for model in UPSTREAMS:  # Claude Code's rules in the middle of a conversation
            assert (
                gateway.post("/v1/messages", {"model": model, "max_tokens": 9, "messages": system}).status_code == 200
            )
            assert MARK in json.dumps(upstream.bodies[-1])


@pytest.mark.parametrize(
    "told",
    [
        "This model's maximum context length is 8192 tokens",
        "prompt is too long: 9 tokens > 8",
        "exceed_context_size_error",
    ],
)
def test_a_context_that_is_full_is_told_as_such(tmp_path: Path, told: str) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(send, 400, {"error": {"message": told, "type": "invalid_request_error"}})

    with running_gateway(tmp_path, play) as gateway:
        assert gateway.chat().json()["error"]["code"] == "context_length_exceeded"
        asked = {"model": "small", "max_tokens": 9, "messages": QUESTION}
        error = gateway.post("/v1/messages", asked).json()["error"]
        assert (error["type"], "context" in error["message"]) == ("invalid_request_error", True)
