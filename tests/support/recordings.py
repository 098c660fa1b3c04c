"""One answer of every provider of the table in its own words, whole and streamed, good and bad, and the usage that it
means.

The forms are those that the providers document or that their SDK packages' types describe (see docs/providers.md); ids
and numbers are made up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.types import Usage

TEXT = "The answer is Paris"


@dataclass(frozen=True)
class Recording:
    """`streamed` is the usage that the stream tells, where that is another one."""

    whole: dict[str, Any]
    events: tuple[bytes, ...]
    usage: Usage
    bad: dict[str, Any]
    says: str
    path: str = "/chat/completions"
    stream_path: str = ""
    thoughts: str = ""
    streamed: Usage | None = None


def sse(*events: Any, end: bool = True) -> tuple[bytes, ...]:
    """Server-sent events; bytes go in as they are."""
    lines = [
        event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n" for event in events
    ]
    return (*lines, b"data: [DONE]\n\n") if end else tuple(lines)


def named(*events: dict[str, Any]) -> tuple[bytes, ...]:
    """Events that carry their type as a name, too."""
    return tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def whole(usage: dict[str, Any] | None, *, message: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    told = {"role": "assistant", "content": TEXT, **(message or {})}
    choice = {"index": 0, "message": told, "finish_reason": "stop", "logprobs": None}
    body = {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1763700000,
        "model": "m-1",
        "choices": [choice],
        **fields,
    }
    return body if usage is None else {**body, "usage": usage}


def delta(content: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": "m-1",
        "choices": [choice],
        **fields,
    }


def last(usage: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The chunk that holds the usage and no choice."""
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": "m-1",
        "choices": [],
        "usage": usage,
        **fields,
    }


PIECES = (
    delta({"role": "assistant", "content": ""}),
    delta({"content": "The answer"}),
    delta({"content": " is Paris"}),
)
STOP = delta({}, "stop")
NESTED = {
    "error": {
        "message": "max_tokens is too large: 99999999",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "invalid_value",
    }
}
FLAT = {"object": "error", "message": "max_tokens is too large", "type": "BadRequestError", "param": None, "code": 400}
PLAIN = {"prompt_tokens": 120, "completion_tokens": 8, "total_tokens": 128}


def plain(
    usage: dict[str, Any], meant: Usage, *, bad: dict[str, Any] = NESTED, says: str = "max_tokens is too large"
) -> Recording:
    """A server that copies OpenAI's words."""
    return Recording(whole(usage), sse(*PIECES, STOP, last(usage)), meant, bad, says)


_OPENAI = {
    "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 192, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
    },
}  # fmt: skip
_OPENAI_MEANS = Usage(2006, 300, 1920, cache_write_tokens=64, reasoning_tokens=192)
_RESPONSES_USAGE = {
    "input_tokens": 2006, "input_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 64},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 192}, "total_tokens": 2306,
}  # fmt: skip
_RESPONSE = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.6", "incomplete_details": None,
    "error": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "France."}]},
        {"type": "message", "id": "msg_1", "role": "assistant",
        "content": [{"type": "output_text", "text": TEXT, "annotations": []}]},
    ],
    "usage": _RESPONSES_USAGE,
}  # fmt: skip
_ANTHROPIC_USAGE = {
    "input_tokens": 50, "cache_creation_input_tokens": 248, "cache_read_input_tokens": 1800, "output_tokens": 503,
    "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100}, "service_tier": "standard",
    "output_tokens_details": {"thinking_tokens": 400},
}  # fmt: skip
_ANTHROPIC_MEANS = Usage(2098, 503, 1800, cache_write_tokens=248, cache_write_1h_tokens=100, reasoning_tokens=400)
_THINKING = {"type": "thinking", "thinking": "France.", "signature": "c2ln"}
_GEMINI_USAGE = {
    "promptTokenCount": 1500, "cachedContentTokenCount": 1024, "candidatesTokenCount": 8, "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 12, "totalTokenCount": 1550,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1500}],
}  # fmt: skip
_GEMINI_MEANS = Usage(1512, 38, 1024, reasoning_tokens=30, tool_tokens=12)
_THOUGHTS = {"reasoning_content": "France."}


def _gemini(
    text: str, *, thought: str = "", finish: str | None = None, usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": thought, "thought": True}] if thought else []
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [*parts, {"text": text}]}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "modelVersion": "gemini-3-flash",
        "responseId": "r1",
        "usageMetadata": usage or {},
    }


_GROQ = {
    "queue_time": 0.02, "prompt_tokens": 900, "prompt_time": 0.03, "completion_tokens": 8, "completion_time": 0.02,
    "total_tokens": 908,
    "total_time": 0.05, "prompt_tokens_details": {"cached_tokens": 768},
}  # fmt: skip
_DEEPSEEK = {
    "prompt_tokens": 900, "completion_tokens": 208, "total_tokens": 1108, "prompt_cache_hit_tokens": 832,
    "prompt_cache_miss_tokens": 68,
    "completion_tokens_details": {"reasoning_tokens": 200},
}  # fmt: skip
_ZAI = {**PLAIN, "prompt_tokens_details": {"cached_tokens": 64}}
_OPENROUTER = {
    **PLAIN,
    "cost": 0.00014,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
_TIMINGS = {"cache_n": 100, "prompt_n": 20, "prompt_ms": 12.5, "predicted_n": 8, "predicted_ms": 80.0}
_REASONED = (PIECES[0], delta({"reasoning": "France."}), *PIECES[1:])

RECORDINGS: dict[str, Recording] = {
    "openai": plain(_OPENAI, _OPENAI_MEANS),
    "azure": Recording(
        whole(_OPENAI, prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}]),
        sse({"id": "", "object": "", "choices": [], "prompt_filter_results": []}, *PIECES, STOP, last(_OPENAI)),
        _OPENAI_MEANS, {"error": {"code": "content_filter", "message": "The prompt triggered the content policy",
        "status": 400}}, "content policy",
    ),
    "openai-responses": Recording(
        _RESPONSE,
        named(
            {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": [],
            "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg_1"}},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "France."},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "The answer"},
            {"type": "response.output_text.delta", "output_index": 1, "delta": " is Paris"},
            {"type": "response.output_text.done", "output_index": 1, "text": TEXT},
            {"type": "response.completed", "response": _RESPONSE},
        ),
        _OPENAI_MEANS, NESTED, "max_tokens is too large", path="/responses", thoughts="France.",
    ),
    "anthropic": Recording(
        {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5",
            "stop_reason": "end_turn", "stop_sequence": None,
            "content": [_THINKING, {"type": "text", "text": TEXT}], "usage": _ANTHROPIC_USAGE,
        },
        named(
            {"type": "message_start", "message": {"id": "msg_1", "model": "claude-sonnet-5", "content": [],
                                                  "usage": {**_ANTHROPIC_USAGE, "output_tokens": 2,
                                                  "output_tokens_details": None}}},
            {"type": "content_block_start", "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "France."}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "The answer"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " is Paris"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
             "usage": {"output_tokens": 503, "output_tokens_details": {"thinking_tokens": 400}}},
            {"type": "message_stop"},
        ),
        _ANTHROPIC_MEANS, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "max_tokens: too large"}}, "too large",
        path="/messages", thoughts="France.",
    ),
    "gemini": Recording(
        _gemini(TEXT, thought="France.", finish="STOP", usage=_GEMINI_USAGE),
        sse(
            _gemini("The answer", thought="France.", usage={"promptTokenCount": 1500, "totalTokenCount": 1500}),
            _gemini(" is Paris", finish="STOP", usage=_GEMINI_USAGE),
            end=False,
        ),
        _GEMINI_MEANS, {"error": {"code": 400, "message": "Invalid value at 'generation_config'",
        "status": "INVALID_ARGUMENT"}}, "Invalid value",
        path="/models/m-1:generateContent", stream_path="/models/m-1:streamGenerateContent", thoughts="France.",
    ),
    "zai": Recording(
        whole(_ZAI, message=_THOUGHTS, request_id="r-1"),
        sse(PIECES[0], delta(_THOUGHTS), *PIECES[1:], delta({"content": ""}, "stop", usage=_ZAI)),
        Usage(120, 8, 64), {"error": {"code": "1210", "message": "API 调用参数有误"}}, "参数有误", thoughts="France.",
    ),
    "zhipu": Recording(
        whole(_ZAI, message=_THOUGHTS, request_id="r-1"),
        sse(PIECES[0], delta(_THOUGHTS), *PIECES[1:], delta({"content": ""}, "stop", usage=_ZAI)),
        Usage(120, 8, 64), {"error": {"code": "1210", "message": "API 调用参数有误"}}, "参数有误", thoughts="France.",
    ),
    "groq": Recording(
        whole(_GROQ, message={"reasoning": "France."}, x_groq={"id": "req_1"}, system_fingerprint="fp_1"),
        sse(
            delta({"role": "assistant", "content": ""}, x_groq={"id": "req_1"}), *_REASONED[1:],
            delta({}, "stop", x_groq={"id": "req_1", "usage": _GROQ}),
        ),
        Usage(900, 8, 768), NESTED, "max_tokens is too large", thoughts="France.",
    ),
    "together": Recording(
        whole({**PLAIN, "cached_tokens": 64}, message={"reasoning": "France."}),
        sse(*_REASONED, delta({}, "stop", usage={**PLAIN, "cached_tokens": 64})),
        Usage(120, 8, 64), NESTED, "max_tokens is too large", thoughts="France.",
    ),
    "fireworks": plain({**PLAIN, "prompt_tokens_details": {"cached_tokens": 96}}, Usage(120, 8, 96)),
    "mistral": Recording(
        whole({**PLAIN, "prompt_tokens_details": {"cached_tokens": 64}},
        message={"content": [{"type": "text", "text": TEXT}]}),
        sse(*PIECES, delta({"content": ""}, "stop", usage={**PLAIN, "prompt_tokens_details": {"cached_tokens": 64}})),
        Usage(120, 8, 64), {"object": "error", "message": {"detail": [{"msg": "max_tokens"}]},
        "type": "invalid_request_error"}, "max_tokens",
    ),
    "ai21": Recording(
        whole(PLAIN), sse(*PIECES, delta({}, "stop", usage=PLAIN)), Usage(120, 8),
        {"detail": "max_tokens is too large"}, "max_tokens is too large"
    ),
    "deepseek": Recording(
        whole(_DEEPSEEK, message=_THOUGHTS),
        sse(PIECES[0], delta(_THOUGHTS), *PIECES[1:], delta({}, "stop", usage=_DEEPSEEK)),
        Usage(900, 208, 832, reasoning_tokens=200), NESTED, "max_tokens is too large", thoughts="France.",
    ),
    "cerebras": Recording(
        whole(PLAIN, message={"reasoning": "France."},
        time_info={"queue_time": 0.001, "prompt_time": 0.01, "completion_time": 0.02}),
        sse(*_REASONED, STOP, last(PLAIN, time_info={"queue_time": 0.001})),
        Usage(120, 8), {"message": "max_tokens is too large", "type": "invalid_request_error", "param": "max_tokens",
        "code": "wrong"},
        "max_tokens is too large", thoughts="France.",
    ),
    "openrouter": Recording(
        whole(_OPENROUTER, message={"reasoning": "France."}, provider="Somebody"),
        sse(b": OPENROUTER PROCESSING\n\n", *_REASONED, STOP, last(_OPENROUTER)),
        Usage(120, 8, 64, reasoning_tokens=3),
        {"error": {"code": 400, "message": "max_tokens is too large", "metadata": {}}},
        "max_tokens is too large", thoughts="France.",
    ),
    "vllm": Recording(
        whole({**PLAIN, "prompt_tokens_details": {"cached_tokens": 112}}, message={"reasoning": "France."},
        kv_transfer_params=None),
        sse(*(event | {"usage": {**PLAIN, "completion_tokens": 1, "total_tokens": 121}} for event in _REASONED), STOP,
            last({**PLAIN, "prompt_tokens_details": {"cached_tokens": 112}})),
        Usage(120, 8, 112), {"error": {"message": "max_tokens is too large", "type": "BadRequestError", "param": None,
        "code": 400}},
        "max_tokens is too large", thoughts="France.",
    ),
    "sglang": Recording(
        whole({**PLAIN, "completion_tokens": 28, "total_tokens": 148, "reasoning_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 100}},
              message=_THOUGHTS),
        sse(PIECES[0], delta(_THOUGHTS), *PIECES[1:], STOP,
            last({**PLAIN, "completion_tokens": 28, "total_tokens": 148, "reasoning_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 100}})),
        Usage(120, 28, 100, reasoning_tokens=20), FLAT, "max_tokens is too large", thoughts="France.",
    ),
    "trtllm": plain({**PLAIN, "prompt_tokens_details": {"cached_tokens": 96}}, Usage(120, 8, 96), bad=FLAT),
    "llamacpp": Recording(
        whole(PLAIN, timings=_TIMINGS), sse(*PIECES, STOP, last(PLAIN, timings=_TIMINGS)), Usage(120, 8, 100),
        {"error": {"code": 400, "message": "max_tokens is too large", "type": "invalid_request_error"}},
        "max_tokens is too large",
    ),
    "ollama": Recording(
        whole(PLAIN, message={"reasoning": "France."}, system_fingerprint="fp_ollama"),
        sse(*_REASONED, STOP, last(PLAIN)), Usage(120, 8),
        {"error": {"message": "max_tokens is too large", "type": "invalid_request_error", "param": None, "code": None}},
        "max_tokens is too large", thoughts="France.",
    ),
    "triton": plain(PLAIN, Usage(120, 8), bad={"detail": "max_tokens is too large"}),
    "dynamo": plain({**PLAIN, "prompt_tokens_details": {"cached_tokens": 64}}, Usage(120, 8, 64),
    bad={"error": "max_tokens is too large"}),
    "lmstudio": plain(PLAIN, Usage(120, 8), bad={"error": "max_tokens is too large"}),
    "fastchat": Recording(
        whole(PLAIN), sse(*PIECES, STOP), Usage(120, 8),
        {"object": "error", "message": "max_tokens is too large", "code": 40302},
        "max_tokens is too large", streamed=Usage(estimated=True),
    ),
    "transformers": Recording(
        whole(PLAIN), sse(*PIECES, delta({}, "stop", usage=PLAIN)), Usage(120, 8),
        {"detail": "max_tokens is too large"}, "max_tokens is too large"
    ),
    "compatible": plain(PLAIN, Usage(120, 8)),
}  # fmt: skip
