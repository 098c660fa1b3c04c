"""Usage in any provider's words -> `Usage`, and back in those of chat completions. Right to the token, or not at all.

What each counts (types of the SDK packages openai 3.54, anthropic 2.12, google-genai 3.4, groq 1.7, together 3.1; see
docs/providers.md):

- Chat completions: `prompt_tokens` include what was cached and what was written to the cache; `completion_tokens`
  include reasoning. Where they do not (the total is larger by just the reasoning), it is added. Caches are told of in
  `prompt_tokens_details`, flat (`cached_tokens`), as `prompt_cache_hit_tokens` (DeepSeek), or only in llama.cpp's
  `timings`.
- Responses: as above, with `input_tokens` and `output_tokens`.
- Anthropic: `input_tokens` are what is left after the last cache breakpoint: reads and writes come on top.
- Gemini: `promptTokenCount` includes the cached; thoughts are not in `candidatesTokenCount`, tool prompts not in the
  prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.types import Usage

FEW_TOKENS = 16  # an estimate of short texts may be so far off
MAX_TOKENS = 1_000_000_000  # what says more than this is no count of tokens


class _Impossible(ValueError):
    """A count that is no count."""


def usage_in(payload: JsonMapping) -> Usage | None:
    """The usage that an answer, or one event of a stream, reports wherever it does.

    `usage`, `usageMetadata`, Groq's `x_groq`.
    """
    found = payload.get("usage") or payload.get("usageMetadata")
    if not found:
        vendor = payload.get("x_groq")
        found = vendor.get("usage") if isinstance(vendor, dict) else None
    usage = usage_of(found)
    timings = payload.get("timings")
    if usage is not None and not usage.cached_tokens and isinstance(timings, dict):
        cached = timings.get("cache_n")  # llama.cpp reads what its slot still holds
        if isinstance(cached, int) and 0 < cached <= usage.prefill_tokens:
            return Usage(usage.prefill_tokens, usage.output_tokens, cached, reasoning_tokens=usage.reasoning_tokens)
    return usage


def usage_of(usage: JsonValue) -> Usage | None:
    """Reported usage, or `None` when it is missing or impossible (negative, not numbers, parts larger than the whole).

    Then it is estimated.
    """
    if not isinstance(usage, dict) or not usage:
        return None
    if not any(isinstance(value, int) and value for value in usage.values()):
        return None  # all zero: it was not counted
    try:
        if "prompt_tokens" in usage or "completion_tokens" in usage:
            return _chat(usage)
        if "input_tokens" in usage or "output_tokens" in usage:
            is_anthropic = (
                "cache_read_input_tokens" in usage
                or "cache_creation_input_tokens" in usage
                or "cache_creation" in usage
            )
            return _anthropic(usage) if is_anthropic else _responses(usage)
        if "promptTokenCount" in usage or "totalTokenCount" in usage:
            return _gemini(usage)
    except _Impossible:
        pass
    return None


def usage_of_all(reported: Usage, answers: int, read: Callable[[], int], written: Callable[[], int]) -> Usage:
    """What several answers of one call used: some servers (llama.cpp) tell that of one of them.

    Where they were much more than is told, both are estimated: `read` and `written` tell how.
    """
    if answers <= 1 or (about := written()) <= 2 * reported.output_tokens + FEW_TOKENS:
        return reported
    return Usage(
        max(read(), reported.prefill_tokens), max(about, reported.output_tokens), reported.cached_tokens, estimated=True
    )


def chat_usage(usage: Usage) -> JsonObject:
    """In the words of chat completions; one hour's cache writes stand beside the standard names."""
    found: dict[str, Any] = {
        "prompt_tokens": usage.prefill_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    for name, value in (("cache_write_1h_tokens", usage.cache_write_1h_tokens), ("tool_tokens", usage.tool_tokens)):
        if value:
            found["prompt_tokens_details"][name] = value
    if usage.audio_prefill_tokens:
        found["prompt_tokens_details"]["audio_tokens"] = usage.audio_prefill_tokens
    if usage.audio_output_tokens:
        found["completion_tokens_details"]["audio_tokens"] = usage.audio_output_tokens
    return found


def _count(holder: JsonValue, *names: str) -> int:
    """The first of `names` that is there, else 0. Raises `_Impossible` on what is no count."""
    if not isinstance(holder, dict):
        return 0
    for name in names:
        value = holder.get(name)
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS:
            raise _Impossible
        return value
    return 0


def _whole(usage: JsonObject, prompt: str, output: str) -> tuple[int, int]:
    """(tokens read, tokens written) of which both must be there: one alone is no bill."""
    if usage.get(prompt) is None or usage.get(output) is None:
        raise _Impossible
    return _count(usage, prompt), _count(usage, output)


def _chat(usage: JsonObject) -> Usage:
    prompt, output = _whole(usage, "prompt_tokens", "completion_tokens")
    if len(usage) == 3 and usage.get("total_tokens") == prompt + output:
        return Usage(prompt, output)  # most servers say no more
    reading, writing = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = _count(reading, "cached_tokens") or _count(
        usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    written = _count(reading, "cache_write_tokens", "cache_creation_tokens") or _count(
        usage, "cache_creation_input_tokens"
    )
    for_an_hour = _count(reading, "cache_write_1h_tokens")
    reasoning = _count(writing, "reasoning_tokens") or _count(usage, "reasoning_tokens")
    total = _count(usage, "total_tokens")
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    if cached + written > prompt:  # a bridge to Anthropic that counts as Anthropic does
        prompt += cached + written
    tools = _count(reading, "tool_tokens")
    return _checked(
        Usage(
            prompt, output, cached, False, written, for_an_hour, reasoning,
            _count(reading, "audio_tokens"), _count(writing, "audio_tokens"), tools,
        )
    )  # fmt: skip


def _responses(usage: JsonObject) -> Usage:
    prompt, output = _whole(usage, "input_tokens", "output_tokens")
    reading, writing = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return _checked(
        Usage(
            prompt,
            output,
            _count(reading, "cached_tokens"),
            cache_write_tokens=_count(reading, "cache_write_tokens"),
            reasoning_tokens=_count(writing, "reasoning_tokens", "thinking_tokens"),
        )
    )


def _anthropic(usage: JsonObject) -> Usage:
    fresh, output = _whole(usage, "input_tokens", "output_tokens")
    cached, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    split = usage.get("cache_creation")
    for_an_hour = _count(split, "ephemeral_1h_input_tokens")
    written = max(written, for_an_hour + _count(split, "ephemeral_5m_input_tokens"))
    return _checked(
        Usage(
            fresh + cached + written,
            output,
            cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=for_an_hour,
            reasoning_tokens=_count(usage.get("output_tokens_details"), "thinking_tokens"),
        )
    )


def _gemini(usage: JsonObject) -> Usage:
    prompt, thoughts = _count(usage, "promptTokenCount"), _count(usage, "thoughtsTokenCount")
    tools = _count(usage, "toolUsePromptTokenCount")
    written = _count(usage, "candidatesTokenCount", "responseTokenCount")
    return _checked(
        Usage(
            prompt + tools,
            written + thoughts,
            _count(usage, "cachedContentTokenCount"),
            reasoning_tokens=thoughts,
            audio_prefill_tokens=_sound(usage.get("promptTokensDetails")),
            audio_output_tokens=_sound(usage.get("candidatesTokensDetails")),
            tool_tokens=tools,
        )
    )


def _sound(details: JsonValue) -> int:
    rows = details if isinstance(details, list) else []
    return sum(_count(row, "tokenCount") for row in rows if isinstance(row, dict) and row.get("modality") == "AUDIO")


def _checked(usage: Usage) -> Usage:
    """Parts are not larger than what they are parts of."""
    if (
        usage.cached_tokens + usage.cache_write_tokens > usage.prefill_tokens
        or usage.cache_write_1h_tokens > usage.cache_write_tokens
    ):
        raise _Impossible
    if usage.reasoning_tokens > usage.output_tokens:
        raise _Impossible
    return usage
