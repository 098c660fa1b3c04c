"""Tools, pictures, thoughts, forms of answers and cache marks in each dialect, checked against the types of the
providers' own SDK packages.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from orchestrator.backends.dialects import dialect_named
from orchestrator.errors import BackendRejected
from orchestrator.providers.table import PROVIDERS

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}},
}
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Paris"}'}},
    {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{broken"}},
]
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral",
    "ttl": "1h"}}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        ],
    },
    {
        "role": "assistant", "content": None, "tool_calls": CALLS, "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    {"role": "tool", "tool_call_id": "c2", "content": '{"what": "a cat"}'},
    {"role": "system", "content": "Notes: cats purr."},
    {"role": "user", "content": "So?"},
]  # fmt: skip
ASKED: dict[str, Any] = {
    "messages": CONVERSATION, "max_completion_tokens": 200, "temperature": 0.3, "stop": ["END"], "tools": [TOOL],
    "tool_choice": "required",
    "parallel_tool_calls": False, "reasoning_effort": "low", "user": "ann",
    "response_format": {"type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}},
}  # fmt: skip


def out(name: str, body: dict[str, Any], model: str = "m-1") -> dict[str, Any]:
    row = PROVIDERS[name]
    return dialect_named(row.dialect).outgoing(body, row, model, most_tokens=999).body


def read(name: str, *events: dict[str, Any]) -> list[dict[str, Any]]:
    reader = dialect_named(PROVIDERS[name].dialect).reader(PROVIDERS[name])
    return [chunk for event in events for chunk in reader.read(event)]


def test_anthropic_takes_it_as_its_own_package_would_send_it() -> None:
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    body = out("anthropic", ASKED, "claude-opus-4-5")
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(body)
    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use", "tool_use"]
    assert body["messages"][1]["content"][2]["input"] == {"arguments": "{broken"}
    last = body["messages"][2]["content"]
    assert [block["type"] for block in last] == ["tool_result", "tool_result", "text", "text"]
    assert last[2]["text"] == "Notes: cats purr."
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert (body["max_tokens"], body["stop_sequences"], body["metadata"]) == (200, ["END"], {"user_id": "ann"})


def test_anthropic_gets_at_most_four_marks_the_first_and_the_last() -> None:
    marked = [{"type": "text", "text": f"part {i}", "cache_control": {"type": "ephemeral"}} for i in range(7)]
    body = out(
        "anthropic", {"messages": [{"role": "system", "content": marked[:1]}, {"role": "user", "content": marked[1:]}]}
    )
    kept = [block["text"] for block in (*body["system"], *body["messages"][0]["content"]) if "cache_control" in block]
    assert kept == ["part 0", "part 4", "part 5", "part 6"]


def test_openai_takes_it_as_its_own_package_would_send_it() -> None:
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    body = out("openai", ASKED, "gpt-5.6")
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(body)
    assert body["messages"][0]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": "12h"}
    assert "cache_control" not in json.dumps(body)
    older = out("openai", ASKED, "gpt-4o")
    assert older["messages"][0]["content"] == "Be brief."  # it knows no breakpoints


def test_responses_takes_it_as_its_own_package_would_send_it() -> None:
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    body = out("openai-responses", {name: value for name, value in ASKED.items() if name != "stop"}, "gpt-4o")
    TypeAdapter(ResponseCreateParamsNonStreaming).validate_python(body)
    kinds = [item.get("type", item.get("role")) for item in body["input"]]
    assert kinds == [
        "system",
        "user",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "system",
        "user",
    ]
    assert body["text"]["format"]["type"] == "json_schema"
    assert body["store"] is False


def test_gemini_takes_it() -> None:
    body = out(
        "gemini", {name: value for name, value in ASKED.items() if name != "parallel_tool_calls"}, "gemini-2.5-flash"
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    assert body["contents"][1]["parts"][0] == {"functionCall": {"name": "look", "args": {"at": "Paris"}}}
    assert body["contents"][2]["parts"][:2] == [
        {"functionResponse": {"name": "look", "response": {"result": "a cat"}}},
        {"functionResponse": {"name": "look", "response": {"what": "a cat"}}},
    ]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    config = body["generationConfig"]
    assert (config["maxOutputTokens"], config["stopSequences"], config["responseMimeType"]) == (
        200,
        ["END"],
        "application/json",
    )
    assert config["thinkingConfig"] == {"thinkingBudget": 1024}
    assert out("gemini", {**ASKED, "parallel_tool_calls": None}, "gemini-3-pro")["generationConfig"][
        "thinkingConfig"
    ] == {"thinkingLevel": "low"}


def test_a_signature_that_gemini_gives_goes_back_to_it() -> None:
    row = PROVIDERS["gemini"]
    part = {"functionCall": {"name": "look", "args": {"at": "Paris"}}, "thoughtSignature": "c2ln"}
    payload = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    message = dialect_named("gemini").completion(payload, row)["choices"][0]["message"]
    body = out(
        "gemini",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                message,
                {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "x"},
            ]
        },
    )
    assert body["contents"][1]["parts"] == [part]
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "look"


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
    ],
)
def test_why_gemini_stopped(reason: str, means: str) -> None:
    payload = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
    assert dialect_named("gemini").completion(payload, PROVIDERS["gemini"])["choices"][0]["finish_reason"] == means
    assert read("gemini", payload)[0]["choices"][0]["finish_reason"] == means


def test_a_prompt_that_gemini_blocks_is_a_refusal_and_no_crash() -> None:
    payload = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    completion = dialect_named("gemini").completion(payload, PROVIDERS["gemini"])
    assert completion["choices"][0]["finish_reason"] == "content_filter"
    assert "SAFETY" in completion["choices"][0]["message"]["refusal"]
    assert completion["usage"]["prompt_tokens"] == 5
    assert read("gemini", payload)[0]["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("reason", "means"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("stop_sequence", "stop"), ("refusal", "content_filter"),
    ("pause_turn", "stop"),
     ("model_context_window_exceeded", "length")],
)  # fmt: skip
def test_why_anthropic_stopped(reason: str, means: str) -> None:
    payload = {
        "id": "m",
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": reason,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    assert (
        dialect_named("anthropic").completion(payload, PROVIDERS["anthropic"])["choices"][0]["finish_reason"] == means
    )


def begun(place: int, id: str, name: str) -> dict[str, Any]:
    """A call in a stream of responses."""
    item = {"type": "function_call", "call_id": id, "name": name, "arguments": ""}
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def called(chunks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(name, arguments) of the calls in a stream, put together as a client does."""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for piece in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(piece["index"], ["", ""])
                call[0] += piece["function"].get("name") or ""
                call[1] += piece["function"].get("arguments") or ""
    return [(name, arguments) for name, arguments in calls.values()]


def test_parallel_calls_in_every_kind_of_stream() -> None:
    wanted = [("look", '{"at": "Paris"}'), ("find", "{}")]
    anthropic = read(
        "anthropic",
        {
            "type": "message_start",
            "message": {"id": "m", "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}},
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"at": '}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '"Paris"}'}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "t2", "name": "find", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    )
    assert called(anthropic) == wanted
    assert [chunk for chunk in anthropic if chunk["choices"]][-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert anthropic[-1]["usage"]["total_tokens"] == 29
    parts = [
        {"functionCall": {"name": "look", "args": {"at": "Paris"}}},
        {"functionCall": {"name": "find", "args": {}}},
    ]
    gemini = read(
        "gemini",
        {"candidates": [{"content": {"parts": parts[:1]}}]},
        {
            "candidates": [{"content": {"parts": parts[1:]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 20},
        },
    )
    assert called(gemini) == wanted
    assert [c["finish_reason"] for chunk in gemini for c in chunk["choices"]][-1] == "tool_calls"
    responses = read(
        "openai-responses",
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "function_call", "call_id": "t1", "name": "look", "arguments": ""},
        },
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"at": "Paris"}'},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {"type": "function_call", "call_id": "t2", "name": "find", "arguments": ""},
        },
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"},
        {
            "type": "response.completed",
            "response": {"status": "completed", "usage": {"input_tokens": 9, "output_tokens": 20, "total_tokens": 29}},
        },
    )
    assert called(responses) == wanted
    assert [c["finish_reason"] for chunk in responses for c in chunk["choices"]][-1] == "tool_calls"


def test_the_last_word_about_usage_counts_even_after_tools_that_the_provider_ran() -> None:
    begun = {
        "input_tokens": 9,
        "output_tokens": 1,
        "cache_creation_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 100},
    }
    final = {
        "input_tokens": 40,
        "output_tokens": 70,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 100,
    }
    chunks = read(
        "anthropic",
        {"type": "message_start", "message": {"usage": begun}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final},
        {"type": "message_stop"},
    )
    assert chunks[-1]["usage"]["prompt_tokens"] == 440
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 300}


@pytest.mark.parametrize("name", ["anthropic", "openai-responses"])
def test_sound_is_refused_where_nobody_would_hear_it(name: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "aaaa", "format": "wav"}}
    with pytest.raises(BackendRejected, match="input_audio"):
        out(name, {"messages": [{"role": "user", "content": [part]}]})


def test_errors_in_the_middle_of_streams() -> None:
    assert (
        "error"
        in read("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})[0]
    )
    assert "error" in read("gemini", {"error": {"code": 503, "message": "overloaded"}})[0]
    assert "error" in read("openai-responses", {"type": "response.failed", "response": {"error": {"message": "no"}}})[0]
    assert "error" in read("openai", {"error": {"message": "no"}})[0]
